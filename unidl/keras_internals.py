"""All private names of Keras that the core uses. They are accessed only here.

Each entry states why it is needed and what happens without it. "Needed": without it unidl does not work with that
Keras, and the `AttributeError` or `ImportError` names what is missing. Nothing private is looked up when this module is
imported, nor is Keras, so a change in Keras affects only the entry concerned. Each adapter has a module of this name
for what only its framework needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unidl.keras_places import module

# Tensors.


def tensor_attribute(tensor: Any, name: str) -> Any:
    """Read what `set_tensor_attribute` wrote, or None. JAX arrays accept no attributes, and Keras has a table for them,
    which it uses for masks. Without it: a layer does not know how its inputs were computed and
    uses the default implementation."""
    table = module("keras.src.backend.common.tensor_attributes")
    return None if table is None else table.get_tensor_attr(tensor, name)


def set_tensor_attribute(tensor: Any, name: str, value: Any) -> None:
    """Attach a value to a tensor for a later layer to read; see `tensor_attribute`."""
    table = module("keras.src.backend.common.tensor_attributes")
    if table is not None:
        table.set_tensor_attr(tensor, name, value)


def carry_mask(old: Any, new: Any) -> None:
    """Copy the mask of a tensor to its replacement. Needed to observe layers that receive a mask."""
    from keras.src.backend.common import masking

    mask = masking.get_keras_mask(old)
    if mask is not None:
        masking.set_keras_mask(new, mask)


def symbolic_mask(tensor: Any) -> Any:
    """Return the mask of a tensor of a functional model, or None. Without it: a model with a mask may be split."""
    return getattr(tensor, "_keras_mask", None)


# Layers.


def all_layers(layer: Any, *, include_self: bool = True, recursive: bool = True) -> list[Any]:
    """Return a layer or model and all layers inside it. Needed: `Model.layers` does not include layers inside a layer
    that is not a model, such as the cell of an LSTM."""
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def seed_generators(layer: Any) -> Sequence[Any]:
    """Return the seed generators of a layer. Needed: nothing else shows that a layer is random."""
    return layer._seed_generators


def statistics_of(layer: Any) -> Sequence[Any]:
    """Return the layer's own non-trainable variables, without those of inner layers. Needed: the public
    list mixes both."""
    return layer._non_trainable_variables


def takes_training(layer: Any) -> bool:
    """Return whether `call` has an argument `training`. Needed: passing it to a layer without one is an error."""
    return bool(layer._call_has_training_arg)


def calls_of(layer: Any) -> Iterable[Any]:
    """Return the nodes of a functional model in which a layer is called. Without it: none, and tokens are not checked
    against the size of an Embedding."""
    return getattr(layer, "_inbound_nodes", ())


# Variables without values.


@contextmanager
def without_values() -> Iterator[None]:
    """Create variables without values, for models of which only the shapes are read. Needed: Keras gives values to them
    at the end of the next stateless scope unless they leave its list."""
    import keras

    state = module("keras.src.backend.common.global_state")
    pending = list(state.get_global_attribute("uninitialized_variables") or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        state.set_global_attribute("uninitialized_variables", pending)


def has_value(variable: Any) -> bool:
    """Return whether a variable has a value. Without it: yes."""
    return getattr(variable, "_value", variable) is not None


# Functional models.


def functional_of(model: Any) -> Any:
    """Return the functional model inside a Sequential, or the model itself if it is functional; else None.
    Needed to split a model: the class of `keras.Model(inputs, outputs)` has no public name."""
    import keras
    from keras.src.models.functional import Functional

    found = getattr(model, "_functional", None) if type(model) is keras.Sequential else model
    return found if type(found) is Functional else None


def inputs_of(functional: Any) -> Any:
    """Return the nest of inputs. Needed: `inputs` is a flat list."""
    return functional._inputs_struct


def outputs_of(functional: Any) -> Any:
    """Return the nest of outputs. Needed: `outputs` is a flat list."""
    return functional._outputs_struct


def nodes_of(functional: Any) -> Iterator[Any]:
    """Yield the calls of layers and operations in topological order. Needed: there is no public list."""
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        yield from (node for node in functional._nodes_by_depth[depth] if not node.is_input)


# Attributes that `compile` and `fit` set.


def compiled_parts(model: Any) -> tuple[Any, ...]:
    """Return the optimizer and other objects that every `compile` creates, to detect that a model was compiled. Needed:
    Keras gives no notification."""
    return model.optimizer, model._compile_loss, model._compile_metrics, model._loss_tracker


def compile_arguments(model: Any) -> dict[str, Any]:
    """Return the arguments of the last `compile`. Needed: `get_compile_config` returns configs instead of objects."""
    return dict(model._compile_config.config)


def create_variables(model: Any, batch: Any) -> None:
    """Create the weights, metrics and optimizer slots that a first batch creates in `fit`. Needed: no public method
    does this without taking a step."""
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

    model._symbolic_build(data_batch=keras.tree.map_structure(_as_computed, batch))


def _as_computed(leaf: Any) -> Any:
    """Return the shape of an array and the type in which the framework computes it: JAX has no 64 bits unless told to,
    and from 0.11 on warns where Keras asks for them."""
    import keras  # pyright: ignore[reportMissingTypeStubs] - Keras ships none

    if leaf is None:
        return None
    given = keras.backend.standardize_dtype(leaf.dtype)
    if given not in ("int64", "uint64", "float64"):
        return leaf
    tensor: Any = keras.ops.convert_to_tensor(np.zeros(1, given))
    return keras.KerasTensor(leaf.shape, keras.backend.standardize_dtype(tensor.dtype))


def compute_loss(model: Any, **arguments: Any) -> Any:
    """Return the loss as a training step computes it. Needed: an overridden `compute_loss` may lack `training`, and
    Keras decides here whether to pass it."""
    return model._compute_loss(**arguments)


def track_loss(model: Any, loss: Any, rows: int) -> None:
    """Update the loss metric with a batch, as a training step does. Needed: the metric has no public name."""
    model._loss_tracker.update_state(loss, sample_weight=rows)


def loss_means(model: Any) -> list[Any]:
    """Return the metrics that hold mean losses: of the model, and of each output if there are several. Needed to train
    over several devices: they have no public name."""
    losses = getattr(model, "_compile_loss", None)
    means = [getattr(model, "_loss_tracker", None), *(losses.metrics if losses is not None else ())]
    return [mean for mean in means if mean is not None]


MOMENTS = "_moments"
"""The method of a BatchNormalization for its statistics. Needed to train over several devices, each with some rows."""


def normalized_axes(layer: Any) -> tuple[int, ...]:
    """Return the axes over which a BatchNormalization takes its statistics. Needed to train over several devices."""
    return tuple(layer._reduction_axes)


def metrics_in_order(model: Any, logs: dict[str, Any]) -> list[Any]:
    """Return metrics as `evaluate` returns them. Needed for `evaluate(return_dict=False)`."""
    return model._flatten_metrics_in_order(logs)


def first_epoch_of(model: Any) -> int | None:
    """Return the epoch at which BackupAndRestore resumes, which it stores here. Without it: None."""
    return getattr(model, "_initial_epoch", None)


def forget_first_epoch(model: Any) -> None:
    """Forget the epoch of an earlier `fit`."""
    model._initial_epoch = None


MODEL_HISTORY = ("history", "_initial_epoch")
"""Attributes that `fit` adds to a model, whose changes a loop ignores."""

PART_BOOKKEEPING = frozenset({"built", "_lock", "_variables", "_trainable_variables", "_trainable_variables_indices"})
"""Attributes of metrics and optimizers that Keras changes itself. Without one of them: the steps of a model are traced
once more than needed."""

FREEZES = "_trainable"
"""The attribute behind `Layer.trainable`, which counts as a value that users change."""

INNER_MODULES = ("keras.src.utils", "keras.src.trainers", "keras.src.backend", "keras.src.ops")
"""Modules whose objects hold internal state. Without one of them: steps are traced more often."""

CALLBACK_STATE = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    "ReduceLROnPlateau": ("wait", "cooldown_counter", "best"),
    "SwapEMAWeights": ("_ema_weights_in_model",),
    "ModelCheckpoint": ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
}
"""Attributes that Keras's own callbacks change during training; they have no public state. Without one of
them: a resumed run starts with the initial value of that attribute."""

CALLBACK_OWN = ("_model", "params")
"""Attributes that Keras sets in each callback, which are not part of the callback's state."""


# Losses and optimizers.


def loss_options(loss: Any) -> dict[str, Any]:
    """Return the arguments that a loss passes to its function, such as `from_logits`. Without it: none, and labels are
    checked as for the defaults."""
    return getattr(loss, "_fn_kwargs", {})


def rate_of(optimizer: Any) -> Any:
    """Return the learning rate as given: a variable, a schedule or a function; None if the optimizer has none.
    Needed: the public attribute evaluates a schedule."""
    return getattr(optimizer, "_learning_rate", None)


def set_schedule(optimizer: Any, schedule: Any) -> None:
    """Replace the schedule of an optimizer. Needed: the public attribute does not allow it."""
    optimizer._learning_rate = schedule


def place_of(optimizer: Any, variable: Any) -> int:
    """Return the slots of an optimizer that belong to a variable. Needed: its public variables are a flat list."""
    return optimizer._get_variable_index(variable)


def variables_of(optimizer: Any) -> Any:
    """Return the weights for which an optimizer has state; None if unknown. Without it: an optimizer is
    assumed to fit the model, and Keras raises an error if it does not."""
    return getattr(optimizer, "_trainable_variables", None)


# Saving.


@contextmanager
def describing() -> Iterator[None]:
    """Serialize and build objects shared by layers once, as in `Model.save`, and make Keras reject
    configs that contain code. Needed: shared layers would be built twice; and
    `enable_unsafe_deserialization` takes precedence over the public argument."""
    from keras.src.saving import serialization_lib

    with serialization_lib.SafeModeScope(True), serialization_lib.ObjectSharingScope():
        yield


def write_weights(model: Any, file: Any, visited: set[int]) -> None:
    """Write a `.weights.h5` file to an open file, without the objects in `visited`. Needed: `Model.save_weights` writes
    to a path and includes the optimizer."""
    from keras.src.saving import saving_lib

    store: Any = saving_lib.H5IOStore(file, mode="w")
    saving_lib._save_state(model, store, None, "", visited_saveables=visited)
    store.close()


def read_weights(model: Any, file: Any, visited: set[int]) -> list[Exception]:
    """Read what `write_weights` wrote, and return the errors that layers raised. Needed for the same reason."""
    from keras.src.saving import saving_lib

    errors: dict[int, tuple[Any, Exception]] = {}
    store: Any = saving_lib.H5IOStore(file, mode="r")
    try:
        saving_lib._load_state(
            *(model, store, None, ""), visited_saveables=visited, failed_saveables=set[int](), error_msgs=errors
        )
    finally:
        store.close()
    return [error for _, error in errors.values()]


# What a verification changes to compute in float64. All needed: no setting overrides an explicit "float32" of a layer.


def policy_module() -> Any:
    """Return the module whose `get` creates the dtype policy that a layer requests."""
    return module("keras.src.dtype_policies")


def operation_module() -> Any:
    """Return the module of operations used by Keras's own layers; `keras.ops` has copies of its names."""
    return module("keras.src.ops")


def numpy_module() -> Any:
    """Return the backend's module of NumPy operations."""
    backend = module("keras.src.backend")
    return backend.ops.numpy if hasattr(backend, "ops") else backend.numpy  # from Keras 3.16 on: the first


def view_class() -> Any:
    """Return the operation that reinterprets the bits of a tensor."""
    from keras.src.ops.numpy import View

    return View


def shortened_types() -> dict[str, str]:
    """Return the table by which Keras converts float64 results to float32."""
    from keras.src.backend.common import dtypes

    return dtypes.BIT64_TO_BIT32_DTYPE


# Names.


@contextmanager
def uncounted_names() -> Iterator[None]:
    """Create layers without affecting the names of later ones, such as "dense_1" after "dense", on which their
    initial weights depend. Without it: names keep counting."""
    state = module("keras.src.backend.common.global_state")
    kept = dict(state.get_global_attribute("object_name_uids") or {}) if state else {}
    try:
        yield
    finally:
        now = state.get_global_attribute("object_name_uids") if state else None
        if now is not None:
            now.clear()
            now.update(kept)
