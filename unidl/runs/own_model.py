"""Users' own models for a run: returned by a function, or saved."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from unidl.errors import DataError, ModelError, SavedModelError, UsageError
from unidl.model_function import ModelFunction, model_function
from unidl.shortening import listed

if TYPE_CHECKING:
    import keras

    from unidl.data import Dataset
    from unidl.models.records import Record
    from unidl.runs.configuration import RunConfiguration

Given: TypeAlias = dict[str, Any]
"""Arguments of a function that returns a model."""

log = logging.getLogger("unidl")

ARGUMENTS = ("input_shape", "classes", "vocabulary_size", "sequence_length", "seed")
"""Arguments passed to a function, each if it has a parameter of that name."""


def own_model_and_data(
    configuration: RunConfiguration, size: tuple[int, int] | None, *, trust: bool
) -> tuple[keras.Model, Dataset, Given | None]:
    """Load the data and build the model for it. If the model does not depend on the data, load the data in its form.

    Also returns the arguments of the function as JSON values. Its weights are drawn by Keras's random generators,
    seeded with the seed of the run."""
    import keras

    from unidl import load_data, load_model

    function = model_function(configuration.model)
    if function is None:
        model = load_model(configuration.model, trust=trust)
        return model, for_heads(_in_form_of(model, configuration, size), model), None
    wanted = function.parameters()
    _require_known(function, wanted)
    keras.utils.set_random_seed(configuration.seed % 2**32)
    if not set(wanted) & set(ARGUMENTS[:-1]):
        given = {"seed": configuration.seed} if "seed" in wanted else {}
        model = function.build(given)
        data = _in_form_of(model, configuration, size)
    else:
        data = load_data(configuration.data, image_size=size, **configuration.data_options())
        given = _arguments(function, wanted, data, configuration.seed)
        model = function.build(given)
    _require_rebuildable(model, data)
    data = for_heads(data, model)
    return model, data, {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def compiled_by_options(
    model: keras.Model, data: Dataset, configuration: RunConfiguration, batches: int
) -> dict[str, Any]:
    """Return the arguments of `Trainer` that differ from the compiled model: the options, and everything that an
    uncompiled model lacks. batches: number in the whole training."""
    from unidl.models.records import record_of

    told: dict[str, Any] = {}
    if not model.compiled and record_of(model).architecture is None:
        told = as_classifier(model, data)
    options = {name: getattr(configuration, name) for name in ("learning_rate", "schedule", "clip_norm", "accumulate")}
    if any(value is not None for value in options.values()):
        told["optimizer"] = _optimizer(model, options, batches)
    return told


def load_run(path: Path, *, trust: bool, compiled: bool = False) -> keras.Model:
    """Load a saved model as `load_model` does; that of a function, if trusted, with the custom classes of its file.

    compiled: whether to compile it with the loss and metrics that the function uses, if any.
    """
    from unidl import load_model

    configuration = configuration_of_run(path) if trust else {}
    function = model_function(str(configuration.get("model")))
    if function is None:
        return load_model(path, trust=trust)
    if not function.file.is_file():
        log.warning("%s, which built the model of %s, no longer exists", function.file, path)
        return load_model(path, trust=trust)
    tell_if_changed(function, configuration, path)
    model = load_model(path, trust=trust, custom_objects=function.objects())
    given = configuration.get("model_arguments")
    if compiled and isinstance(given, dict):
        from unidl.training.compiling import compile_like

        made = function.build(
            {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        )
        if made.compiled:
            compile_like(model, made)
    return model


def tell_if_changed(function: ModelFunction, configuration: Mapping[str, Any], run: Path) -> None:
    """Warn if the file has changed since the run was started."""
    if function.sha256() != configuration.get("model_sha256"):
        log.warning("%s has changed since the run in %s was started with it", function.file, run)


def _in_form_of(model: keras.Model, configuration: RunConfiguration, size: tuple[int, int] | None) -> Dataset:
    """The data in the form that a model takes, if it says so."""
    from unidl import load_data
    from unidl.models.records import record_of

    name, options, form = (
        configuration.data,
        configuration.data_options(),
        form_of(record_of(model), getattr(model, "input_shape", None)),
    )
    if "table" in form:  # another table would give other numbers to the same words
        return load_data(name, **options | form)
    if size is None and form:
        with contextlib.suppress(UsageError):  # another kind of data: what it is the model has to take
            return load_data(name, **options | form)
    return load_data(name, image_size=size, **options)


def form_of(record: Record, shape: Any) -> dict[str, Any]:
    """Return the arguments of `load_data` that convert data to the form that a model takes. shape: of its inputs, with
    the batch axis; anything but a tuple for several inputs."""
    if record.table is not None:
        return {"table": record.table}
    if record.tokenizer is not None:
        return {"tokenizer": record.tokenizer, "sequence_length": record.tokenizer.sequence_length}
    if record.vocabulary:
        # A vocabulary built from another text would number the words differently.
        return {"vocabulary": record.vocabulary, "sequence_length": shape[1] if isinstance(shape, tuple) else None}
    if isinstance(shape, tuple) and len(shape) in (4, 5) and None not in shape[1:]:
        form = {"image_size": shape[-3:-1], "channels": shape[-1]}
        return form | ({"frames": shape[1]} if len(shape) == 5 else {})
    return {}


def _require_known(function: ModelFunction, wanted: Mapping[str, bool]) -> None:
    unknown = [name for name, needed in wanted.items() if needed and name not in ARGUMENTS]
    if unknown:
        raise UsageError(
            f"Cannot call {function}: it requires the argument {unknown[0]!r}, but only "
            f"{', '.join(ARGUMENTS)} can be passed. Give {unknown[0]!r} a default."
        )


def _arguments(function: ModelFunction, wanted: Mapping[str, bool], data: Dataset, seed: int) -> dict[str, Any]:
    from unidl.data.classes import class_count
    from unidl.data.trees import map_leaves

    # Of a table with numbers and categories, the shape of each by its name.
    given: dict[str, Any] = {"input_shape": map_leaves(lambda array: array.shape[1:], data.train.x), "seed": seed}
    if data.vocabulary:
        given |= {"vocabulary_size": len(data.vocabulary), "classes": class_count(data)}
        given["sequence_length"] = data.train.x.shape[1]
    elif "classes" in wanted and (wanted["classes"] or _has_classes(data)):
        given["classes"] = class_count(data)
    for name in ("vocabulary_size", "sequence_length"):
        if wanted.get(name) and name not in given:
            raise DataError(f"Cannot call {function}: it needs {name}, but '{data.name}' is {data.kind}, not text.")
    return {name: value for name, value in given.items() if name in wanted}


def _has_classes(data: Dataset) -> bool:
    y = data.train.y
    is_array = not isinstance(y, dict)
    return bool(data.class_names or data.vocabulary) or (is_array and y.ndim == 1 and y.dtype.kind in "iu")


def _require_rebuildable(model: keras.Model, data: Dataset) -> None:
    """Raise `SavedModelError` if the model could not be saved, to find out before training."""
    from unidl.data.trees import map_leaves
    from unidl.saving.saved_architecture import describe

    if not model.built:
        try:
            model(map_leaves(lambda array: array[:1], data.train.x), training=False)
        except (ValueError, TypeError) as error:
            raise ModelError(f"Calling the model '{model.name}' on the first row failed: {error}") from error
    try:
        describe(model)
    except SavedModelError as error:
        raise SavedModelError(f"The run was not started because its model cannot be saved. {error}") from error


def for_heads(data: Dataset, model: keras.Model) -> Dataset:
    """Return data with several labels of a row as one array a label, if those are the outputs of the model."""
    outputs = getattr(model, "output_names", None) or ()
    output = getattr(model, "output", None)
    names = list(output) if isinstance(output, dict) else list(outputs)
    if len(names) < 2 or sorted(names) != sorted(data.class_names) or isinstance(data.train.y, dict):
        return data
    halves = (
        replace(
            half,
            y={name: half.y[:, [place]].astype("int32") for place, name in enumerate(half.class_names)},
            class_names=(),
            head_names=dict.fromkeys(half.class_names, ("0", "1")),
        )
        for half in (data.train, data.test)
    )
    return replace(data, **dict(zip(("train", "test"), halves, strict=True)))


def as_classifier(model: keras.Model, data: Dataset) -> dict[str, Any]:
    """Return loss and metrics for an uncompiled model: those of a classifier, if the data has classes."""
    import keras

    if not _has_classes(data):
        because = f"has several things to predict, {listed(data.train.y)}" if isinstance(data.train.y, dict) else ""
        raise ModelError(
            f"The model '{model.name}' is not compiled, and its loss cannot be chosen because '{data.name}' "
            f"{because or 'has no classes'}: call model.compile in the function that returns it."
        )
    outputs = getattr(model, "output_shape", None)
    from unidl.data.classes import class_count

    classes = class_count(data)
    if isinstance(outputs, tuple) and outputs[-1] is not None and outputs[-1] < classes:
        raise ModelError(
            f"The model '{model.name}' is not compiled, and it has {outputs[-1]} outputs for the {classes} classes of "
            f"'{data.name}'. Use {classes} outputs, or call model.compile in the function that returns it."
        )
    last = model.layers[-1] if model.layers else None
    logits = getattr(last, "activation", None) is keras.activations.linear
    log.info(
        "%s is not compiled: using sparse categorical crossentropy on %s",
        model.name,
        "logits" if logits else "probabilities",
    )
    return {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=logits), "metrics": ["accuracy"]}


def _optimizer(model: keras.Model, options: Mapping[str, Any], batches: int) -> Any:
    """Return the optimizer that the model was compiled with, else Adam, with the options applied."""
    import keras

    chosen: Any = (model.optimizer if model.compiled else None) or keras.optimizers.Adam()
    scaled = isinstance(chosen, keras.optimizers.LossScaleOptimizer)
    inner = chosen.inner_optimizer if scaled else chosen
    settings = inner.get_config()
    rate = options["learning_rate"]
    if rate is None and options["schedule"] is not None:
        if not isinstance(settings["learning_rate"], float):
            raise UsageError(
                f"Cannot use --schedule {options['schedule']}: the optimizer of '{model.name}' already has a "
                "schedule. Also pass --learning-rate, or leave --schedule out."
            )
        rate = settings["learning_rate"]
    if rate is not None:
        cosine = options["schedule"] == "cosine"
        settings["learning_rate"] = keras.optimizers.schedules.CosineDecay(rate, batches) if cosine else rate
    if options["clip_norm"] is not None:
        settings |= {"clipnorm": options["clip_norm"], "clipvalue": None, "global_clipnorm": None}
    if options["accumulate"] is not None:
        settings["gradient_accumulation_steps"] = None if options["accumulate"] == 1 else options["accumulate"]
    made = type(inner).from_config(settings)
    return keras.optimizers.LossScaleOptimizer(made) if scaled else made


def configuration_of_run(path: Path) -> dict[str, Any]:
    """Return the options of `unidl train`; empty if it did not write this."""
    from unidl.saving.directories import location
    from unidl.training.run_directory import RUN, read_run

    if not path.is_file() and (location(path) / RUN).is_file():
        return read_run(path)["configuration"]
    return {}
