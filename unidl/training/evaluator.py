"""A model on one device, in one precision: evaluated and used by the adapter's compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from unidl import devices, registry
from unidl.backend import Device, TrainLoop, Trains, Tree
from unidl.data.dataset import tell_of_sources
from unidl.errors import BackendError
from unidl.keras_internals import metrics_in_order
from unidl.notices import notice
from unidl.ranks.joining import ranks
from unidl.scale.together import require_same_call
from unidl.training.arguments import callbacks_in, optional_whole, style_of, whole
from unidl.training.busy import using
from unidl.training.changed_images import averaged, evaluated_on_copies
from unidl.training.checking import checked
from unidl.training.columns import encoded_columns
from unidl.training.compiling import ensure_compiled
from unidl.training.evaluating import evaluated, predicted
from unidl.training.given import inputs, one_split, size_of_batches
from unidl.training.host_memory import keep_freed_memory
from unidl.training.image_bytes import bytes_scaled
from unidl.training.layer_rates import LayerRates
from unidl.training.loops import Loops
from unidl.training.non_finite import all_finite, require_finite_loss, require_finite_outputs
from unidl.training.order import steps_of
from unidl.training.progress import format_metrics
from unidl.training.progress_styles import make_progress
from unidl.training.repeating import Repeating
from unidl.training.running_precision import precision_of
from unidl.training.runs import build_for
from unidl.training.telling import Callbacks

if TYPE_CHECKING:
    import keras

EVALUATED_BATCH_SIZE = 256
"""Batch size of evaluation and prediction by default."""

Verbose = Literal["auto", 0, 1, 2]
"""Keras's words for how much is printed."""


class Evaluator:
    """What a `Trainer` does without training: see there for the arguments."""

    def __init__(
        self,
        model: keras.Model,
        device: str | None,
        precision: str | None,
        optimizer: Any,
        loss: Any,
        metrics: Any,
        rates: LayerRates | None = None,
    ) -> None:
        self.backend = registry.current()
        if not isinstance(self.backend, Trains):
            raise BackendError(f"Backend '{self.backend.name}' cannot train: its adapter has no compile_loop.")
        self.model = model
        self.placement = devices.resolve(device)
        self.precision = precision_of(model, precision, self.device)
        if self.device.kind == "cpu":
            keep_freed_memory()
        with self._context():
            ensure_compiled(model, optimizer, loss, metrics, rates)
        computed_by = f"{self.backend.name} on {self.device.id} in {self.precision.name}"
        self._loops = Loops(self.backend, model, self.placement, computed_by)
        self._repeating = Repeating(model)

    @property
    def device(self) -> Device:
        """The device that computes."""
        return self.placement.device

    @property
    def why_not_compiled(self) -> str | None:
        """Why this model's steps take Keras's plain path, or None if they do not."""
        return self._ready_loop().why_not_compiled

    def evaluate(
        self,
        data: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Verbose | None = None,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        return_dict: bool | None = None,
        *,
        x: Any = None,
        augmentations: int | None = None,
    ) -> Any:
        """Return the loss and the metrics on the given data.

        The positional arguments are those of `keras.Model.evaluate`: `evaluate(x, y, ...)`. Nothing is printed unless
        `verbose` says so.

        Args:
            data: The inputs x, an array (rows, ...) or a nest of such, beside `y`; or alone a `Split`, (x, y) or (x, y,
                sample_weight).
            y: The targets, an array (rows, ...) or a nest of such.
            batch_size: Rows per batch. If None, 256; with `steps`, the size at which that many steps cover all rows.
            verbose: How much is printed, as in Keras: "auto", 0, 1 or 2. If None, nothing.
            sample_weight: Weight of each row, (rows,) or (rows, steps), or a nest of such.
            steps: Maximum number of batches. If None, all.
            callbacks: Keras's callbacks.
            return_dict: False for a list of the values in Keras's order, or only the loss if there is nothing else.
            x: The inputs, as another name for `data`; a tuple is then several inputs.
            augmentations: Evaluate the outputs that `predict(augmentations=...)` returns: averages over this many
                augmented copies of each image, the same in each call. If None, the images as they are.

        Returns:
            Loss and metrics by their names, unless `return_dict` is False.

        Raises:
            DataError: If the data does not fit the model, or makes the loss NaN or infinite.
            ModelError: If `augmentations` is given for a model that does not begin with an augmentation.
            UsageError: If an argument cannot be used, or another thread uses the model.

        Examples:
            >>> import unidl
            >>> import keras
            >>> import numpy as np
            >>> double = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
            >>> trainer = unidl.Trainer(double, optimizer="sgd", loss="mean_squared_error")
            >>> trainer.evaluate(np.ones((4, 1)), np.full((4, 1), 3.0))
            {'loss': 4.0}
        """
        steps = optional_whole("steps", steps)
        size = optional_whole("batch_size", batch_size)
        reporter = make_progress("quiet" if verbose is None else style_of("auto", verbose))
        copies = optional_whole("augmentations", augmentations)
        with using(self.model, "evaluate"), self._context():
            split = one_split(data, y, sample_weight, x)
            size = size_of_batches(size, split, steps, EVALUATED_BATCH_SIZE)
            split = checked(self.model, split, "test data", step="test_step", batch_size=size)
            build_for(self.model, split, size)
            told = Callbacks(callbacks_in(callbacks), self.model, epochs=1, steps=steps_of(split, size, steps))
            told.tell("on_test_begin")
            require_same_call("evaluate", len(split), size)
            with bytes_scaled(self.model, split):
                loop = self._ready_loop()
                if copies is None:
                    metrics = evaluated(loop, split, size, told, steps=steps)
                else:
                    metrics = evaluated_on_copies(loop, self.model, split, size, copies, steps=steps)
            require_finite_loss(metrics, split, "test data")
            told.tell("on_test_end", metrics)
        reporter.message(f"{self.model.name}: {format_metrics(metrics)}")
        tell_of_sources(notice, split)
        return metrics if return_dict is not False else metrics_in_order(self.model, metrics)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Verbose | None = None,
        steps: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        *,
        augmentations: int | None = None,
    ) -> Tree:
        """Return the model's outputs.

        The arguments are those of `keras.Model.predict`.

        Args:
            x: The inputs, an array (rows, ...) or a nest of such; for a model that was trained on a table, also the raw
                columns by name, as in a pandas DataFrame or a dict of lists, with words and numbers as in the table.
            batch_size: Rows per batch. If None, 256; with `steps`, the size at which that many steps cover all rows.
            verbose: Has no effect: nothing is printed.
            steps: Maximum number of batches. If None, all.
            callbacks: Keras's callbacks.
            augmentations: Average the outputs over this many copies of each image, each changed at random by the
                `unidl.layers.Augmentation` that the model begins with. If None, the images as they are.

        Returns:
            The outputs as NumPy arrays (rows, ...), nested as the model's are, in the order of `x`.

        Raises:
            DataError: If the data does not fit the model, or makes an output NaN or infinite.
            UsageError: If an argument cannot be used, or another thread uses the model.

        Examples:
            >>> import unidl
            >>> import keras
            >>> import numpy as np
            >>> total = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
            >>> trainer = unidl.Trainer(total, optimizer="sgd", loss="mean_squared_error")
            >>> trainer.predict(np.ones((2, 3))).tolist()
            [[3.0], [3.0]]
        """
        if augmentations is not None:
            count = whole("augmentations", augmentations, minimum=1)
            with self._context():
                given = checked(self.model, inputs(x), "input", step="predict_step", batch_size=EVALUATED_BATCH_SIZE).x
                return averaged(lambda rows: self.predict(rows, batch_size, verbose, steps), self.model, given, count)
        style_of("auto", verbose)
        if batch_size is steps is callbacks is None:
            again = self._repeated(x)
            if again is not None:
                return again
        steps = optional_whole("steps", steps)
        size = optional_whole("batch_size", batch_size)
        with using(self.model, "predict"), self._context():
            split = inputs(encoded_columns(self.model, x))
            size = size_of_batches(size, split, steps, EVALUATED_BATCH_SIZE)
            split = checked(self.model, split, "input", step="predict_step", batch_size=size)
            told = Callbacks(callbacks_in(callbacks), self.model, epochs=1, steps=steps_of(split, size, steps))
            told.tell("on_predict_begin")
            require_same_call("predict", len(split), size)
            with bytes_scaled(self.model, split):
                outputs = predicted(self._ready_loop(), split, size, told, steps=steps)
            require_finite_outputs(outputs, split, "input")
            told.tell("on_predict_end")
            tell_of_sources(notice, split)
            self._repeating.learn(x, size)
            return outputs

    def _repeated(self, x: Any) -> Tree | None:
        """Return the outputs for rows of a form that has passed before; None if they have to be checked."""
        chunk = self._repeating.chunk(x)
        if chunk is None or self.placement.is_shared:
            return None
        with using(self.model, "predict"), self._context():
            outputs = self._ready_loop().predict(chunk)
        return outputs if all_finite(outputs) else None

    def _context(self) -> ExitStack:
        stack, own = ExitStack(), ranks()
        if own is not None:
            stack.enter_context(own.telling())
        stack.enter_context(self.backend.on(self.device))
        stack.enter_context(self.backend.precision(self.precision))
        return stack

    def _ready_loop(self) -> TrainLoop:
        """The loop for the model as it is compiled now."""
        return self._loops.of_model()
