"""What our loop costs beside the compiled step: 10 000 steps of a tiny model, by `Trainer.fit` and by the bare step.

Both shuffle the rows and read the loss at the end; only ours checks data, metrics and callbacks, and keeps a history.
Rounds take turns; the ratio is the median of those of the rounds, with its range.

    UNIDL_BACKEND=jax python benchmarks/loop_overhead.py [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from unidl import Trainer, registry
from unidl.training.order import epoch_order

STEPS = 10_000
BATCH = 32


def trainer_and_data() -> tuple[Trainer, tuple[np.ndarray, np.ndarray]]:
    """A model of 1 377 parameters, and data for 10 000 steps."""
    registry.current()
    keras: Any = import_module("keras")
    layers = keras.layers
    model = keras.Sequential([keras.Input((10,)), layers.Dense(32, "relu"), layers.Dense(32, "relu"), layers.Dense(1)])
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(STEPS * BATCH, 10)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True)
    return Trainer(model, optimizer="adam", loss="mean_squared_error", device="cpu"), (x, y)


def bare(trainer: Trainer, data: tuple[np.ndarray, np.ndarray]) -> Callable[[], None]:
    """The same steps by what the adapter has compiled, called in the shortest way: nobody looks at anything."""
    run = globals()[f"bare_{trainer.backend.name}"](trainer._ready_loop(), data)
    return lambda: run(epoch_order(len(data[0]), seed=0, epoch=0, shuffle=True).reshape(STEPS, BATCH))


def bare_jax(loop: Any, data: Any) -> Callable[[np.ndarray], None]:
    jax: Any = import_module("jax")
    on_device = jax.device_put(data)
    most = loop.steps_per_dispatch

    def run(order: np.ndarray) -> None:
        state = jax.tree.map(jax.numpy.copy, loop._read_weights())
        for first in range(0, STEPS, most):
            rows = np.zeros((most, BATCH), np.int32)
            chunk = order[first : first + most]
            rows[: len(chunk)] = chunk
            state, _ = loop._train_many(state, on_device, rows, len(chunk))
        jax.block_until_ready(state)

    return run


def bare_torch(loop: Any, data: Any) -> Callable[[np.ndarray], None]:
    torch: Any = import_module("torch")
    [traced] = loop._train._traced.values()
    x, y = (torch.from_numpy(array) for array in data)

    def run(order: np.ndarray) -> None:
        values = [variable.value.detach() for variable in traced._variables]
        with torch.enable_grad():
            for step in torch.from_numpy(order):
                traced._graph.forward(values, [x[step], y[step]])

    return run


def bare_tensorflow(loop: Any, data: Any) -> Callable[[np.ndarray], None]:
    tf: Any = import_module("tensorflow")
    tensors = tuple(tf.convert_to_tensor(array) for array in data)
    most = loop.steps_per_dispatch

    def run(order: np.ndarray) -> None:
        for first in range(0, STEPS, most):
            rows = np.zeros((most, BATCH), np.int32)
            chunk = order[first : first + most]
            rows[: len(chunk)] = chunk
            logs = loop._train_many(tensors, tf.constant(rows), tf.constant(len(chunk)))
        logs["loss"].numpy()

    return run


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    trainer, data = trainer_and_data()

    def fit() -> None:
        trainer.fit(data, batch_size=BATCH, progress="quiet")

    fit()
    with trainer._context():
        step = bare(trainer, data)
        step()
        times = [(seconds(fit), seconds(step)) for _ in range(rounds)]
    ratios = sorted(ours / theirs for ours, theirs in times)
    ours, theirs = (1e6 * float(np.median(column)) / STEPS for column in zip(*times, strict=True))
    print(
        f"{trainer.backend.name}: {ours:.1f} us a step by Trainer.fit, {theirs:.1f} us by the bare step, ratio "
        f"{float(np.median(ratios)):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f}) in {rounds} rounds"
    )


if __name__ == "__main__":
    main()
