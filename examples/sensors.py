"""Predict what a sensor will measure, from a window of a series: once a window, and at each of its steps.

The series are the vibration of a machine whose speed changes, and its temperature, both with noise. The errors are
compared with those of two simple rules: "it stays as it is" and linear regression.

    python examples/sensors.py [EPOCHS [STEPS]]    STEPS: length of the series
"""

import sys

import numpy as np
from sklearn.linear_model import LinearRegression

from unidl import Trainer, build_lstm
from unidl.data import Windows

LENGTH = 24
"""Steps of a window."""
AHEAD = 4
"""How many steps ahead the prediction is."""


def measurements(steps: int) -> np.ndarray:
    """Return vibration and temperature, (steps, 2)."""
    generator = np.random.default_rng(0)
    time = np.arange(steps)
    speed = 0.5 + 0.25 * np.sin(2 * np.pi * time / 400) + 0.1 * np.sin(2 * np.pi * time / 97)
    phase = np.cumsum(speed)
    vibration = np.sin(phase) + 0.5 * np.sin(2 * phase)
    temperature = 0.5 * np.sin(2 * np.pi * time / 1000) + time / steps + speed
    return np.stack([vibration, temperature], axis=1) + generator.normal(scale=0.05, size=(steps, 2))


def predictions(train: Windows, test: np.ndarray, each_step: bool, epochs: int) -> np.ndarray:
    """Train an LSTM, and return what it predicts for the windows of the test."""
    output = "steps" if each_step else "last"
    model = build_lstm(None, LENGTH, features=2, targets=1, units=64, output=output)
    trainer = Trainer(model, loss="mean_squared_error", optimizer="adam")
    trainer.fit(train, epochs=epochs, batch_size=64, progress="quiet")
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
        "LSTM": predictions(train, new.x, each_step, epochs),
    }
    return {name: float(np.sqrt(np.mean((values - new.y) ** 2))) for name, values in found.items()}


def main() -> None:
    epochs, steps = (*map(int, sys.argv[1:]), *(20, 6000)[len(sys.argv) - 1 :])
    series = measurements(steps)
    once, each = (errors(series, each_step, epochs) for each_step in (False, True))
    print(f"error of the vibration {AHEAD} steps ahead: once a window of {LENGTH} steps, and at each of its steps")
    for name in once:
        print(f"  {name:18} {once[name]:.3f}  {each[name]:.3f}")


if __name__ == "__main__":
    main()
