"""Predict what a sensor will measure, from a window of a series: once a window, and at each of its steps.

The series are the vibration of a machine and its temperature, both with noise. The errors are compared with those of
two simple rules: "it stays as it is" and linear regression on the whole window. Where the speed of the machine changes,
a rule must first find the speed, which is not linear. Where it does not, linear regression is hard to beat.

    python examples/sensors.py [EPOCHS [STEPS]]    STEPS: length of the series
"""

import sys

import numpy as np
from sklearn.linear_model import LinearRegression

from unidl import Trainer, build_lstm
from unidl.data import Windows

import keras  # isort: skip - after unidl, which selects the backend

LENGTH = 24
"""Steps of a window."""
AHEAD = 4
"""How many steps ahead the prediction is."""
BATCH_SIZE = 64
MACHINES = {"changing speed": 1.0, "constant speed": 0.0}


def measurements(steps: int, change: float) -> np.ndarray:
    """Return vibration and temperature, (steps, 2). change: how much the speed changes."""
    generator = np.random.default_rng(0)
    time = np.arange(steps)
    speed = 0.5 + change * (0.25 * np.sin(2 * np.pi * time / 400) + 0.1 * np.sin(2 * np.pi * time / 97))
    phase = np.cumsum(speed)
    vibration = np.sin(phase) + 0.5 * np.sin(2 * phase)
    temperature = 0.5 * np.sin(2 * np.pi * time / 1000) + speed
    return np.stack([vibration, temperature], axis=1) + generator.normal(scale=0.05, size=(steps, 2))


def network(train: Windows, test: np.ndarray, each_step: bool, epochs: int) -> np.ndarray:
    """Train an LSTM, and return what it predicts for the windows of the test."""
    output = "steps" if each_step else "last"
    model = build_lstm(None, LENGTH, features=2, targets=1, units=64, output=output)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-len(train) // BATCH_SIZE))
    trainer = Trainer(model, loss="mean_squared_error", optimizer=keras.optimizers.Adam(rate))
    trainer.fit(train, epochs=epochs, batch_size=BATCH_SIZE, progress="quiet")
    return trainer.predict(test)


def linear(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict by linear regression: one for each step, on all steps of the window up to it."""
    if y.ndim == 2:
        return LinearRegression().fit(x.reshape(len(x), -1), y).predict(test.reshape(len(test), -1))
    return np.stack([linear(x[:, :end], y[:, end - 1], test[:, :end]) for end in range(1, LENGTH + 1)], axis=1)


def errors(series: np.ndarray, each_step: bool, epochs: int) -> dict[str, float]:
    """Return the root of the mean squared error of each way to predict the vibration, on the last fifth of a series."""
    first = len(series) * 4 // 5
    train, test = (
        Windows(part, LENGTH, targets=part[:, :1], horizon=AHEAD, each_step=each_step)
        for part in (series[:first], series[first:])
    )
    known, new = (part.read(np.arange(len(part))) for part in (train, test))
    found = {
        "stays as it is": new.x[..., :1] if each_step else new.x[:, -1, :1],
        "linear regression": linear(known.x, known.y, new.x),
        "LSTM": network(train, new.x, each_step, epochs),
    }
    return {name: float(np.sqrt(np.mean((values - new.y) ** 2))) for name, values in found.items()}


def compare(epochs: int, steps: int) -> dict[tuple[str, bool], dict[str, float]]:
    """Return the errors on each machine, with one prediction a window and with one at each step."""
    cases = ((machine, each_step) for machine in MACHINES for each_step in (False, True))
    return {case: errors(measurements(steps, MACHINES[case[0]]), case[1], epochs) for case in cases}


def main() -> None:
    epochs, steps = (*map(int, sys.argv[1:]), *(20, 6000)[len(sys.argv) - 1 :])
    found = compare(epochs, steps)
    print(f"error of the vibration {AHEAD} steps ahead: once a window of {LENGTH} steps, and at each of its steps")
    for machine in MACHINES:
        print(machine)
        for name, once in found[machine, False].items():
            print(f"  {name:18} {once:.3f}  {found[machine, True][name]:.3f}", flush=True)


if __name__ == "__main__":
    main()
