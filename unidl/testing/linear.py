"""Linear regression by gradient descent on the backend and in NumPy, which provides the expected results."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidl import registry
from unidl.backend import Batches, Tree

LEARNING_RATE = 0.1


class LinearCase:
    """Linear regression by gradient descent, on the backend as a Keras model and beside it in NumPy.

    Args:
        steps: Number of steps.
        batch: Rows per batch.
        seed: Determines the data, their order and the initial weights.

    Attributes:
        model (keras.Model): The model (batch, 3) to (batch, 2), compiled.
        data (Batches): The rows: x (steps * batch, 3) and y (steps * batch, 2), float32.
        rows (numpy.ndarray): The batch of each step, (steps, batch).

    Examples:
        >>> from unidl.testing import LinearCase
        >>> case = LinearCase(steps=3, batch=4)
        >>> kernel, bias, losses = case.expected()
        >>> kernel.shape, bias.shape, len(losses), losses[2] < losses[0]
        ((3, 2), (2,), 3, True)
    """

    def __init__(self, *, steps: int, batch: int, seed: int = 0) -> None:
        registry.current()
        import keras

        generator = np.random.default_rng(seed)
        rows = steps * batch
        self.data = Batches(
            generator.normal(size=(rows, 3)).astype(np.float32),
            generator.normal(size=(rows, 2)).astype(np.float32),
        )
        self.rows = generator.permutation(rows).reshape(steps, batch)
        inputs = keras.Input((3,))
        self.model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
        self.model.set_weights([generator.normal(size=(3, 2)), generator.normal(size=(2,))])
        self.model.compile(optimizer=keras.optimizers.SGD(LEARNING_RATE), loss="mean_squared_error")
        self._start = self.weights()

    def weights(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the weights of the Keras model.

        Returns:
            Kernel (3, 2) and bias (2,).
        """
        from keras import ops

        kernel, bias = (np.array(ops.convert_to_numpy(variable.value)) for variable in self.model.weights)
        return kernel, bias

    def expected(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[float]]:
        """Take all steps in NumPy.

        Returns:
            Kernel (3, 2) and bias (2,) after all steps, and the loss before each.
        """
        kernel, bias = self._start
        losses: list[float] = []
        for rows in self.rows:
            kernel, bias, loss = self.stepped(kernel, bias, rows)
            losses.append(loss)
        return kernel, bias, losses

    def stepped(
        self, kernel: Any, bias: Any, rows: Any, row_weights: Any = None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float]:
        """Take one step of gradient descent on the mean over rows and outputs of the squared error.

        Args:
            kernel: The kernel before, (3, 2).
            bias: The bias before, (2,).
            rows: The numbers of the rows of the batch, (batch,).
            row_weights: Weight of each row, (batch,). If None, equal weights.

        Returns:
            Kernel and bias after the step, and the loss before it.
        """
        x, y = self.data.x[rows].astype(np.float64), self.data.y[rows].astype(np.float64)
        weights = np.ones(len(rows)) if row_weights is None else row_weights
        error = x @ kernel + bias - y
        slope = 2 * error * weights[:, None] / error.size
        loss = float(np.mean(np.mean(error**2, axis=1) * weights))
        return kernel - LEARNING_RATE * x.T @ slope, bias - LEARNING_RATE * slope.sum(axis=0), loss

    def outputs(self, kernel: Any, bias: Any, rows: Any) -> np.ndarray[Any, Any]:
        """Return the outputs of the model for some rows.

        Args:
            kernel: The kernel, (3, 2).
            bias: The bias, (2,).
            rows: The numbers of the rows, (batch,).

        Returns:
            The outputs, (batch, 2).
        """
        return self.data.x[rows] @ kernel + bias

    def loss(self, kernel: Any, bias: Any, rows: Any) -> float:
        """Return the mean squared error on some rows.

        Args:
            kernel: The kernel, (3, 2).
            bias: The bias, (2,).
            rows: The numbers of the rows, (batch,).

        Returns:
            The loss.
        """
        return float(np.mean((self.outputs(kernel, bias, rows) - self.data.y[rows]) ** 2))


class NestedCase:
    """Two linear regressions in one model, with separate inputs and outputs identified by keys."""

    def __init__(self, *, steps: int, batch: int) -> None:
        registry.current()
        import keras

        self.cases = {"one": LinearCase(steps=steps, batch=batch), "two": LinearCase(steps=steps, batch=batch, seed=1)}
        self.rows = self.cases["one"].rows
        data = {name: case.data for name, case in self.cases.items()}
        # In a different order than the model's, since keys and not positions identify them.
        self.data = Batches({name: data[name].x for name in ("two", "one")}, {name: data[name].y for name in data})
        inputs = {name: keras.Input((3,), name=name) for name in data}
        outputs = {name: keras.layers.Dense(2, name=f"dense_{name}")(inputs[name]) for name in data}
        self.model = keras.Model(inputs, outputs)
        for name, case in self.cases.items():
            self._dense(name).set_weights(case.weights())
        losses = dict.fromkeys(data, "mean_squared_error")
        self.model.compile(optimizer=keras.optimizers.SGD(LEARNING_RATE), loss=losses)

    def weights(self) -> dict[str, list[np.ndarray[Any, Any]]]:
        """Return kernel and bias of each."""
        from keras import ops

        return {
            name: [np.array(ops.convert_to_numpy(weight.value)) for weight in self._dense(name).weights]
            for name in self.cases
        }

    def expected(self) -> dict[str, list[np.ndarray[Any, Any]]]:
        """Return kernel and bias of each after all steps on the rows of `self.rows`."""
        found: dict[str, list[np.ndarray[Any, Any]]] = {}
        for name, case in self.cases.items():
            kernel, bias = case.weights()
            for rows in self.rows:
                kernel, bias, _ = case.stepped(kernel, bias, rows)
            found[name] = [kernel, bias]
        return found

    def loss(self, rows: Any) -> float:
        """Return the loss of the untrained model on `rows`: the sum of both."""
        return sum(case.loss(*case.weights(), rows) for case in self.cases.values())

    def outputs(self, rows: Any) -> Tree:
        """Return the outputs of the untrained model for `rows`."""
        return {name: case.outputs(*case.weights(), rows) for name, case in self.cases.items()}

    def _dense(self, name: str) -> Any:
        return self.model.get_layer(f"dense_{name}")
