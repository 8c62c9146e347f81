"""The configuration of a run as one frozen value: requested settings, completed by the model's recipe."""

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
    from unidl.layers.mixing import Mix
    from unidl.training.stage import Stage

ALWAYS_KEPT = 14
"""Number of leading fields that every run.json contains, even if None; the others are stored if they apply."""


@dataclass(frozen=True)
class RunConfiguration:
    """What is trained, on which data, and how. Create one with `of`, which applies the recipes.

    model: the name of a builder, "model.py:build" or a saved model. data: as in `load_data`. epochs, batch_size,
    learning_rate, schedule ("constant" or "cosine"), clip_norm, accumulate (batches per step), early_stopping (epochs):
    None keeps the model's compiled setting. dropout: the dropout rate. image_size: height and width,
    in pixels. seed: determines every random draw. plot: whether to draw curves. save_every_steps: checkpoint interval.

    augment: augmentation of the images in training, in words. mixup, cutmix: their alpha, of a training on mixed
    batches. base, weights, precompute_frozen: of a model on a base;
    None for others. model_sha256, model_arguments: of the file that "model.py:build" names, and what the function was
    called with. data_origin: what the data says of itself. precision: as in `Trainer`; None until it is settled.
    workers, processes, on_error, frames, target, missing, text: as in `load_data`; categories: likewise, with commas
    between the names. stages: what `unidl.training.fit_stages` does, as in "head:3,all:5@1e-5*0.9"; the epochs are then
    those of the stages. report: whether the run gets a report on the test rows. lora_rank: as in `build_transfer`.
    feature_variants: as in `Trainer.fit`.

    Raises `UsageError` for an invalid value.
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
    workers: int | None = None
    processes: bool | None = None
    on_error: str | None = None
    frames: int | None = None
    target: str | None = None
    categories: str | None = None
    missing: str | None = None
    text: str | None = None
    augment: str | None = None
    stages: str | None = None
    report: bool | None = None
    mixup: float | None = None
    cutmix: float | None = None
    lora_rank: int | None = None
    feature_variants: int | None = None

    def __post_init__(self) -> None:
        needed = {field.name for field in fields(self) if field.default is not None}
        for name, kind in (RUN | FOUND).items():
            value = getattr(self, name)
            if value is not None or name in needed:
                require(name, value, kind)
        self.read_stages()
        self.mixes()

    @classmethod
    def of(cls, **given: Any) -> RunConfiguration:
        """Return a configuration of the given settings; missing ones and None are filled from the model's recipe.

        given: any of the fields that describe a run. Paths become absolute, since a run is also used from other
        directories. Raises `UsageError` for a setting that does not exist, has an invalid value, or
        does not apply to this model, and if the model or the data is missing.
        """
        from unidl.models.builder import OWN

        asked = {name: value for name, value in given.items() if value is not None}
        unknown = [name for name in asked if name not in RUN]
        if unknown:
            raise UsageError(f"Unknown setting {unknown[0]!r}. Known: {', '.join(RUN)}.")
        for name, value in asked.items():
            require(name, value, RUN[name])
        if "augment" in asked:
            from unidl.layers.steps import steps_of

            steps_of(asked["augment"])
        if "model" not in asked:
            raise UsageError(
                f"No model given. Pass one of {', '.join(builders.names())}; a function such as model.py:build; or a "
                f"saved model."
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
            # In stages it is done wherever it can be, unless the caller says otherwise.
            settings["precompute_frozen"] = settings.get("precompute_frozen", None if "stages" in asked else False)
        else:
            settings["precompute_frozen"] = None
        if "stages" in asked:
            settings["epochs"] = _epochs(asked)
        if settings["data"] is None:
            raise UsageError(f"No data given. `unidl train {model}` needs --data, since the model has no recipe.")
        settings["data"] = _data(settings["data"])
        return cls(**settings)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfiguration:
        """Parse the value of `to_json` of this or an earlier version. Raises `SavedModelError` if it is invalid."""
        known = {field.name for field in fields(cls)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise SavedModelError(
                f"The configuration of the run contains {unknown[0]!r}, which this version of unidl does not know. "
                "Resume with the version that started it."
            )
        missing = [field.name for field in fields(cls)[:4] if field.name not in values]
        if missing:
            raise SavedModelError(f"The configuration of the run lacks {missing[0]!r}.")
        try:
            return cls(**values)
        except UsageError as error:
            raise SavedModelError(f"The configuration of the run is damaged. {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the value stored in run.json and checkpoints: every setting that applies to the model."""
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

    def mixes(self) -> list[Mix] | None:
        """Return how batches are mixed; None for no mix. Raises `UsageError` for an alpha out of range."""
        if self.mixup is None and self.cutmix is None:
            return None
        from unidl.layers import CutMix, Mixup

        given = ((Mixup, self.mixup), (CutMix, self.cutmix))
        return [kind(alpha) for kind, alpha in given if alpha is not None]

    def data_options(self) -> dict[str, Any]:
        """Return the arguments of `load_data` that were given, but for the size of images."""
        return data_options({name: getattr(self, name) for name in FOR_DATA})

    @property
    def builder(self) -> Any:
        """The `Builder` of the model; None for a user's own model."""
        return builders.find(self.model)


FOR_DATA = ("workers", "processes", "on_error", "frames", "target", "categories", "missing", "text")
"""The settings that are passed on to `load_data`."""


def data_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load_data` that settings of a run ask for, but for the size of images."""
    found = {name: settings[name] for name in FOR_DATA if settings.get(name) is not None}
    if "categories" in found:
        found["categories"] = [name.strip() for name in found["categories"].split(",") if name.strip()]
    return found


FOR_SOME = (
    *("base", "trust", "weights", "precompute_frozen", "image_size", "dropout", "augment", "mixup", "cutmix"),
    *("lora_rank", "feature_variants"),
)
"""The settings that mean something for some models only."""

FOR_OWN = ("precompute_frozen", "feature_variants", "image_size", "mixup", "cutmix")
"""Those of them that apply to a user's own model."""


def require_meaning(asked: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a setting that would have no effect. asked: the model and the requested settings."""
    model = asked["model"]
    builder = builders.find(model)
    for name in FOR_SOME:
        if builder is None and (name in FOR_OWN or (name == "trust" and model_function(model) is None)):
            continue
        if asked.get(name) not in (None, False, 0.0) and not (builder is not None and builder.takes(name)):
            models = [one for one in builders.OURS if builders.builder(one).takes(name)]
            raise UsageError(
                f"Cannot use --{name.replace('_', '-')} with `unidl train {model}`: it applies only to "
                f"{' and '.join(f'`unidl train {one}`' for one in models)}. Leave it out."
            )


def _epochs(asked: Mapping[str, Any]) -> int:
    """How many epochs the stages have that are asked for."""
    from unidl.training.stage import stages_in

    if "epochs" in asked:
        raise UsageError("Cannot use --epochs with --stages, which say how many epochs each has. Leave it out.")
    return sum(stage.epochs for stage in stages_in(asked["stages"]))


def _own(model: str) -> dict[str, Any]:
    """Return settings that locate a user's own model from any directory."""
    function = model_function(model)
    if function is None:
        return {"model": _resolved(model)}
    function.require_there()
    return {"model": f"{function.file.resolve()}:{function.name}", "model_sha256": function.sha256()}


def _data(word: str) -> str:
    from unidl.data.load import names

    return word if word in names() else _resolved(word)


def _resolved(word: str) -> str:
    """Return a path as an absolute path, and a name unchanged."""
    path = Path(word)
    return str(path.resolve()) if path.exists() else word
