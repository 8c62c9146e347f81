"""The model that a plan is about: built by shapes, its weights without values, so that a large one takes no memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unidl import registry
from unidl.errors import UsageError
from unidl.model_function import model_function
from unidl.models import builders
from unidl.planning.costs import ModelCost, costs
from unidl.planning.shapes import calls_of_model, shapes_only

if TYPE_CHECKING:
    import keras

    from unidl.runs.configuration import RunConfiguration

APPLICATION_BATCH = 32
"""Rows of a batch for a network of keras.applications, unless they are given."""


@dataclass(frozen=True)
class Subject:
    """A model with what its recipe and data say: batch size, epochs, and rows of an epoch, None if unknown."""

    cost: ModelCost
    batch_size: int
    epochs: int | None
    rows: int | None
    configuration: RunConfiguration | None = None
    """What `unidl train` would run; None for a network of keras.applications."""


def subject(model: str, *, image_size: int | None = None, trust: bool = False, **settings: Any) -> Subject:
    """Build a model by shapes and return what it costs.

    model: as in `unidl train`, or a name of keras.applications, all of which learns. image_size: height and width.
    settings: of a run, such as data or base; None for those not given.
    Raises `UsageError`, `ModelError` or `DataError` as `unidl train` does.
    """
    registry.current()
    if _is_application(model):
        return _application(model, image_size, settings)
    from unidl.runs.configuration import RunConfiguration, require_meaning
    from unidl.runs.model_and_data import model_and_data

    asked = {name: value for name, value in settings.items() if value is not None}
    builder = builders.find(model)
    require_meaning({"model": model, "image_size": image_size, "trust": trust, **asked})
    if builder is not None and builder.base is not None:
        asked["weights"] = "none"  # values of weights cost nothing more
    configuration = RunConfiguration.of(model=model, image_size=image_size, **asked)
    saved = builder is None and model_function(model) is None
    if saved:  # its file has the values, and says whether they are all there
        built, data, _ = model_and_data(configuration, trust=trust)
    else:
        with shapes_only():
            built, data, _ = model_and_data(configuration, trust=trust)
    cost = costs(built, calls_of_model(built, data.train.x))
    return Subject(cost, configuration.batch_size, configuration.epochs, len(data.train), configuration)


def cost_of(model: keras.Model, rows: Any = None) -> ModelCost:
    """Return what a built model costs. rows: a tree of arrays (n, ...) that it takes, if it does not say so."""
    return costs(model, calls_of_model(model, rows))


def _is_application(model: str) -> bool:
    from unidl.models.bases import applications

    return builders.find(model) is None and model_function(model) is None and model in applications()


def _application(name: str, image_size: int | None, settings: dict[str, Any]) -> Subject:
    import keras

    given = [
        option for option, value in settings.items() if value is not None and option not in ("batch_size", "epochs")
    ]
    if given:
        raise UsageError(
            f"Cannot use --{given[0].replace('_', '-')} with {name}: a network of keras.applications is planned by "
            f"itself. For one with a head of its own, use `unidl plan transfer --base {name} --data ...`."
        )
    size = None if image_size is None else (image_size, image_size, 3)
    with shapes_only():
        model = getattr(keras.applications, name)(weights=None, input_shape=size)
    return Subject(cost_of(model), settings.get("batch_size") or APPLICATION_BATCH, settings.get("epochs"), None)
