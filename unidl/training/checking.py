"""Whether data fits the steps that will run on it: of Keras's own steps much is known, of a model's own nothing."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from unidl.data.batch_stream import Stream
from unidl.data.checks import NonFinite, ask_finite, ask_fits, check_numbers
from unidl.data.dataset import Split
from unidl.data.numbers import computed
from unidl.data.rows import Reading
from unidl.data.streaming import is_read_later
from unidl.data.trees import leaves, map_leaves
from unidl.data.watch import Watch
from unidl.data.whole_numbers import ask_whole_numbers
from unidl.errors import ModelError
from unidl.keras_internals import all_layers
from unidl.notices import uncoloured
from unidl.training.given import TrainingData
from unidl.training.settings import FitSettings
from unidl.training.value_range import ask_range

if TYPE_CHECKING:
    import keras

Step = Literal["train_step", "test_step", "predict_step"]


def checked(model: keras.Model, split: Split, name: str, *, step: Step, batch_size: int) -> Split:
    """Return the data as the model takes it; a model that has no weights yet gets them here.

    name: what messages call the data. step: the step that runs on it. A model that has one of its own is handed the
    data as it is, as by Keras; one with a `compute_loss` of its own may have any labels, or none. Each array is read
    once at most; the values of columns and of memory-mapped files are looked at as they are read for the steps, by the
    `watch` of what is returned. Raises `DataError` if the data does not fit, and `ModelError` if the model cannot be
    called on it.
    """
    return _examined(model, split, name, step, batch_size)[0]


def checked_for_training(model: keras.Model, given: TrainingData, settings: FitSettings) -> TrainingData:
    """The same for both halves of the data of a run, with the first row of each that is not finite."""
    size = settings.batch_size
    training = _examined(model, given.training, "training data", "train_step", size, finite=True)
    if given.validation is None:
        return TrainingData(training[0], not_finite=training[1])
    size = settings.validation_batch_size or size
    held_out = _examined(model, given.validation, "validation data", "test_step", size, finite=True)
    return TrainingData(training[0], held_out[0], training[1], held_out[1])


def _examined(
    model: keras.Model, split: Split, name: str, step: Step, batch_size: int, *, finite: bool = False
) -> tuple[Split, NonFinite | None]:
    """Return what `checked` does; and, if `finite` asks for it, the first row that is not finite."""
    if isinstance(split, Stream):
        return _examined_stream(model, split, name, step, batch_size, finite=finite)
    return _examined_rows(model, split, name, step, batch_size, finite=finite, learns=step == "train_step")


def _examined_stream(
    model: keras.Model, stream: Stream, name: str, step: Step, batch_size: int, *, finite: bool
) -> tuple[Split, NonFinite | None]:
    """The same for the first of the batches that others make; each of the others is examined when it is read."""
    made, seen = stream.look, Watch({}, ())

    def look(batch: Split, where: str) -> Split:
        looked, not_finite = _examined_rows(
            model, made(batch, where), where, step, len(batch), finite=True, learns=False, streamed=True
        )
        if not_finite is not None and seen.not_finite() is None:
            seen.not_finite = lambda: not_finite
        return looked

    first = Split(stream.x, stream.y, stream.sample_weight)
    learns = step == "train_step"
    first, not_finite = _examined_rows(
        model, first, name, step, batch_size, finite=finite, learns=learns, streamed=True
    )
    parts = {"x": first.x, "y": first.y, "sample_weight": first.sample_weight}
    return replace(stream, **parts, watch=seen, look=look, name=name), not_finite


def _examined_rows(
    model: keras.Model,
    split: Split,
    name: str,
    step: Step,
    batch_size: int,
    *,
    finite: bool,
    learns: bool,
    streamed: bool = False,
) -> tuple[Split, NonFinite | None]:
    # A new value for each call: an adapter keeps its rows on the device, and the arrays may change between calls.
    split, reading = copy(split), Reading()
    if has_own(model, step):
        check_numbers(split, name)
        if not _is_built(model) and not _lacks_call(model):
            _try_to_make_weights(model, split, batch_size)
    else:
        with_targets = step != "predict_step" and not has_own(model, "compute_loss")
        if not _is_built(model):
            ask_fits(Reading(), model, split, for_training=with_targets, name=name)  # only for types and shapes
            _make_weights(model, split, name, batch_size)
        ask_fits(reading, model, split, for_training=with_targets, name=name)
        ask_range(reading, model, split.x, name, learns=learns, streamed=streamed)
        if with_targets or step == "predict_step":
            split = _without_extra_inputs(model, split)
    held = ask_whole_numbers(reading, model, split, name)
    streams = any(is_read_later(leaf) for part in split.parts() for leaf in leaves(part))
    not_finite = ask_finite(reading, split, name, with_targets=step != "predict_step") if finite or streams else None
    reading.read()
    split, watch = held(), reading.watch()
    if watch is not None:
        watch.not_finite = not_finite or watch.not_finite
        split = replace(split, watch=watch)
    return split, not_finite() if finite and not_finite is not None else None


def has_own(model: keras.Model, method: str) -> bool:
    """Whether the class of a model has a method of its own in place of Keras's."""
    import keras

    return getattr(type(model), method) is not getattr(keras.Model, method)


def _is_built(model: keras.Model) -> bool:
    return all(layer.built for layer in all_layers(model))


def _lacks_call(model: keras.Model) -> bool:
    return not has_own(model, "call")


def _make_weights(model: keras.Model, split: Split, name: str, batch_size: int) -> None:
    if _lacks_call(model):
        raise ModelError(
            f"The model '{model.name}' has no call method, which its step needs. Give the class {type(model).__name__} "
            "a call method, or a step of its own."
        )
    try:
        _call(model, split, batch_size)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"The model '{model.name}' has no weights yet, and calling it on the first rows of the {name} to make them "
            f"failed: {uncoloured(str(error))}"
        ) from error


def _try_to_make_weights(model: keras.Model, split: Split, batch_size: int) -> None:
    """What calls the layers of a model with steps of its own is up to those, and may be something else."""
    try:
        _call(model, split, batch_size)
    except Exception:  # noqa: BLE001 - a model's own code may raise anything; its step is what counts, and will tell
        return


def _call(model: keras.Model, split: Split, batch_size: int) -> None:
    # Layers with a state from batch to batch are made for the size of a batch, and forget this call.
    stateful = [layer for layer in all_layers(model) if getattr(layer, "stateful", False)]
    count = batch_size if stateful else 1
    model(map_leaves(lambda leaf: computed(leaf[:count]), split.x), training=False)
    for layer in stateful:
        if hasattr(layer, "reset_state"):
            layer.reset_state()


def _without_extra_inputs(model: keras.Model, split: Split) -> Split:
    """Keras takes a dict with more arrays than the model has inputs; where the inputs are named by the keys of a dict
    as well, it would feed them by their place."""
    inputs = getattr(model, "input", None) if getattr(model, "inputs", None) else None
    if not (isinstance(inputs, dict) and isinstance(split.x, dict)) or set(inputs) == set(split.x):
        return split
    return replace(split, x={name: array for name, array in split.x.items() if name in inputs})
