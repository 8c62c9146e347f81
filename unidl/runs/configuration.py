"""What a run is, as one frozen value: what somebody asked for, and the model's recipe where nobody said anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import SavedModelError, UsageError
from unidl.model_function import model_function
from unidl.models import builders
from unidl.runs.kinds import FOUND, RUN, require

if TYPE_CHECKING:
    from unidl.training.stage import Stage

ALWAYS_KEPT = 14
"""So many of the fields are in every run.json, None or not; of the others those that mean something for the model."""


@dataclass(frozen=True)
class RunConfiguration:
    """What is trained on what, and how. Make one with `of`, which knows the recipes.

    model: the name of a builder, "model.py:build" or a saved model. data: as in `load_data`. epochs, batch_size,
    learning_rate, schedule ("constant" or "cosine"), clip_norm, accumulate (batches a step), early_stopping (epochs):
    None leaves it as the model is compiled. dropout: the share of units that are dropped. image_size: height and width,
    in pixels. seed: decides every random draw. plot: whether curves are drawn. save_every_steps: of checkpoints.

    base, weights, precompute_frozen: of a model on a base; None for others. model_sha256, model_arguments: of the file
    that "model.py:build" names, and what the function was called with. data_origin: what the data says of itself.
    precision: as in `Trainer`; None until it is settled. stages: what `unidl.training.fit_stages` does, as in
    "head:3,all:5@1e-5*0.9"; the epochs are then those of the stages. report: whether the run gets a report on the
    test rows.

    Raises `UsageError` for a value that a setting cannot have.
    """

    model: str
    data: str
    epochs: int
    batch_size: int
    learning_rate: float | None = None
    schedule: str | None = None
    clip_norm: float | None = None
    accumulate: int | None = None
    early_stopping: int | None = None
    dropout: float = 0.0
    image_size: int | None = None
    seed: int = 0
    plot: bool = False
    save_every_steps: int | None = None
    base: str | None = None
    weights: str | None = None
    precompute_frozen: bool | None = None
    model_sha256: str | None = None
    model_arguments: dict[str, Any] | None = None
    data_origin: dict[str, Any] | None = None
    precision: str | None = None
    stages: str | None = None
    report: bool | None = None

    def __post_init__(self) -> None:
        needed = {field.name for field in fields(self) if field.default is not None}
        for name, kind in (RUN | FOUND).items():
            value = getattr(self, name)
            if value is not None or name in needed:
                require(name, value, kind)
        self.read_stages()

    @classmethod
    def of(cls, **given: Any) -> RunConfiguration:
        """Return what is asked for, with the recipe of the model where nothing is; None counts as nothing.

        given: any of the fields that say what a run is. Paths become absolute, since a run is used from other
        directories as well. Raises `UsageError` for a setting that does not exist, has a value that it cannot have, or
        means nothing for this model; and where the model or the data is missing.
        """
        from unidl.models.builder import OWN

        asked = {name: value for name, value in given.items() if value is not None}
        unknown = [name for name in asked if name not in RUN]
        if unknown:
            raise UsageError(f"There is no setting {unknown[0]!r}. Known: {', '.join(RUN)}.")
        for name, value in asked.items():
            require(name, value, RUN[name])
        if "model" not in asked:
            raise UsageError(
                f"Which model? One of {', '.join(builders.names())}; model.py:build of your own; or a saved model."
            )
        model = asked["model"]
        require_meaning(asked)
        builder = builders.find(model)
        settings = asdict(OWN if builder is None else builder.recipe) | asked
        if builder is not None and builder.base is not None:
            settings["base"] = _resolved(settings.get("base", builder.base))
            settings["weights"] = _resolved(settings.get("weights", "imagenet"))
        if builder is None:
            settings |= _own(model)
        if builder is None or builder.base is not None:
            # In stages it is done wherever it can be, unless somebody says otherwise.
            settings["precompute_frozen"] = settings.get("precompute_frozen", None if "stages" in asked else False)
        else:
            settings["precompute_frozen"] = None
        if "stages" in asked:
            settings["epochs"] = _epochs(asked)
        if settings["data"] is None:
            raise UsageError(f"On what data? `unidl train {model}` needs --data: it has no recipe that says it.")
        settings["data"] = _data(settings["data"])
        return cls(**settings)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfiguration:
        """Return what `to_json` gave, of this version or one before. Raises `SavedModelError` if it did not."""
        known = {field.name for field in fields(cls)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise SavedModelError(
                f"The configuration of the run says {unknown[0]!r}, which this version of unidl does not know. Go on "
                "with the version that began it."
            )
        missing = [field.name for field in fields(cls)[:4] if field.name not in values]
        if missing:
            raise SavedModelError(f"The configuration of the run does not say its {missing[0]!r}.")
        try:
            return cls(**values)
        except UsageError as error:
            raise SavedModelError(f"The configuration of the run is damaged. {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return what run.json and checkpoints keep: every setting that means something for the model."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = list(values)[:ALWAYS_KEPT]
        return {name: value for name, value in values.items() if name in kept or value is not None}

    def options(self) -> dict[str, Any]:
        """Return what has to be asked for to get this run again."""
        said = {name: value for name, value in self.to_json().items() if name in RUN and value is not None}
        return {name: value for name, value in said.items() if name != "epochs" or self.stages is None}

    def read_stages(self) -> list[Stage]:
        """Return the stages, each with the learning rate, the schedule and the early stopping of the run where it says
        nothing of its own; none for a run without. Raises `UsageError` for a text that says none."""
        if self.stages is None:
            return []
        from unidl.training.stage import stages_in

        stages: list[Stage] = []
        for stage in stages_in(self.stages):
            rate = stage.learning_rate or self.learning_rate
            schedule: Any = (self.schedule or "constant") if rate is not None else "constant"
            stages.append(replace(stage, learning_rate=rate, schedule=schedule, early_stopping=self.early_stopping))
        return stages

    @property
    def builder(self) -> Any:
        """The `Builder` of the model; None for a model of somebody's own."""
        return builders.find(self.model)


FOR_SOME = ("base", "trust", "weights", "precompute_frozen", "image_size", "dropout")
"""The settings that mean something for some models only."""

FOR_OWN = ("precompute_frozen", "image_size")
"""Those of them that mean something for a model of somebody's own."""


def require_meaning(asked: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a setting that would do nothing. asked: the model, and what is asked for."""
    model = asked["model"]
    builder = builders.find(model)
    for name in FOR_SOME:
        if builder is None and (name in FOR_OWN or (name == "trust" and model_function(model) is None)):
            continue
        if asked.get(name) not in (None, False, 0.0) and not (builder is not None and builder.takes(name)):
            models = [one for one in builders.OURS if builders.builder(one).takes(name)]
            raise UsageError(
                f"Cannot use --{name.replace('_', '-')} with `unidl train {model}`: it is for "
                f"{' and '.join(f'`unidl train {one}`' for one in models)}. Leave it out."
            )


def _epochs(asked: Mapping[str, Any]) -> int:
    """How many epochs the stages have that are asked for."""
    from unidl.training.stage import stages_in

    if "epochs" in asked:
        raise UsageError("Cannot use --epochs with --stages, which say how many epochs each has. Leave it out.")
    return sum(stage.epochs for stage in stages_in(asked["stages"]))


def _own(model: str) -> dict[str, Any]:
    """What finds a model of somebody's own again, from any directory."""
    function = model_function(model)
    if function is None:
        return {"model": _resolved(model)}
    function.require_there()
    return {"model": f"{function.file.resolve()}:{function.name}", "model_sha256": function.sha256()}


def _data(word: str) -> str:
    from unidl.data.load import names

    return word if word in names() else _resolved(word)


def _resolved(word: str) -> str:
    """A path that is found from any directory; a name as it is."""
    path = Path(word)
    return str(path.resolve()) if path.exists() else word
