"""One stage of a fine-tuning, as a value: which part of the model learns, for how long, and how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unidl.errors import UsageError
from unidl.finite import is_number
from unidl.shortening import shown
from unidl.training.arguments import optional_whole, whole
from unidl.training.layer_rates import LayerRates

SYNTAX = "PART:EPOCHS[@RATE][*DECAY][~WARMUP]"
"""How a stage is written on the command line."""
EXAMPLE = "head:3,block5:5@1e-4,all:5@1e-5*0.9"

_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
_WRITTEN = re.compile(
    rf"(?P<part>[^:,@*~]+):(?P<epochs>[0-9]+)"
    rf"(?:@(?P<rate>{_NUMBER}))?(?:\*(?P<decay>{_NUMBER}))?(?:~(?P<warmup>{_NUMBER}))?"
)


@dataclass(frozen=True)
class Stage:
    """One stage of `fit_stages`.

    Args:
        epochs: How many epochs the stage has.
        unfreeze: The part of the model that learns: "head", what is behind the base of a transfer model; "all"; or the
            name of a layer or of a block of layers, such as "block5", from which on all learn. None leaves the model
            as the stage before has left it. The batch normalization of a base stays frozen, and so runs in inference
            mode.
        learning_rate: That of the optimizer at the start of the stage, whose state begins anew; None for the rate or
            the schedule that it was given.
        schedule: "constant", or "cosine" down to 0 at the end of the stage.
        warmup_epochs: How many epochs, such as 0.5, the learning rate takes to rise from 0.
        layer_decay: Factor of the learning rate from layer to layer, from the outputs to the inputs, as in `Trainer`.
        rate_factors: Factor of the learning rate by the name of a layer, as in `Trainer`.
        early_stopping: End the stage after this many epochs without a better validation loss, with its best weights.
        batch_size: Rows per step. If None, the same number as for the other stages.

    Raises:
        UsageError: If a value cannot be used.

    Examples:
        >>> import unidl
        >>> stage = unidl.Stage(5, "block5", learning_rate=1e-4, layer_decay=0.9)
        >>> str(stage), stage.to_json()["epochs"], stage.rates().decay
        ('block5:5@0.0001*0.9', 5, 0.9)
    """

    epochs: int
    unfreeze: str | None = None
    learning_rate: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    layer_decay: float | None = None
    rate_factors: Mapping[str, float] | None = None
    early_stopping: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        whole("epochs", self.epochs)
        optional_whole("early_stopping", self.early_stopping)
        optional_whole("batch_size", self.batch_size)
        if self.unfreeze is not None and (not isinstance(self.unfreeze, str) or not self.unfreeze):
            raise UsageError(
                f"Cannot use unfreeze={shown(self.unfreeze)}: it must be 'head', 'all' or the name of a layer."
            )
        if self.learning_rate is not None and not (is_number(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(f"Cannot use learning_rate={shown(self.learning_rate)}: it must be a number above 0.")
        if self.schedule not in ("constant", "cosine"):
            raise UsageError(f"Cannot use schedule={shown(self.schedule)}. Allowed: 'constant', 'cosine'.")
        if not is_number(self.warmup_epochs) or not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(
                f"Cannot use warmup_epochs={shown(self.warmup_epochs)}: it must be a number from 0 up to the "
                f"{self.epochs} epochs of the stage."
            )
        if self.learning_rate is None and (self.schedule != "constant" or self.warmup_epochs):
            raise UsageError("Cannot use schedule= or warmup_epochs= without learning_rate=: pass it to the stage too.")
        self.rates()

    def rates(self) -> LayerRates | None:
        """Return the learning rates of the layers.

        Returns:
            The factors by layer and the decay; None if all layers have the same rate.
        """
        return LayerRates.of(self.rate_factors, self.layer_decay)

    def to_json(self) -> dict[str, Any]:
        """Return the arguments as JSON values.

        Returns:
            The arguments by their names.
        """
        values = asdict(self)
        return values | {"rate_factors": None if self.rate_factors is None else dict(self.rate_factors)}

    def __str__(self) -> str:
        """The stage as the command line writes it, without what that cannot say."""
        rate = "" if self.learning_rate is None else f"@{self.learning_rate:g}"
        decay = "" if self.layer_decay is None else f"*{self.layer_decay:g}"
        warmup = f"~{self.warmup_epochs:g}" if self.warmup_epochs else ""
        return f"{self.unfreeze or 'as it is'}:{self.epochs}{rate}{decay}{warmup}"


def stages_in(words: str) -> list[Stage]:
    """Return the stages that a text says, as "head:3,block5:5@1e-4,all:5@1e-5*0.9". Raises `UsageError`.

    Each is the part of the model that learns, the number of its epochs, and if need be behind "@" its learning rate,
    behind "*" the decay of that from layer to layer, and behind "~" the epochs that it takes to rise.
    """
    stages: list[Stage] = []
    for word in words.split(","):
        match = _WRITTEN.fullmatch(word.strip())
        if match is None:
            raise UsageError(f"Cannot read the stage {word.strip()!r}: it must be {SYNTAX}, as in {EXAMPLE}.")
        said = {name: float(value) for name in ("rate", "decay", "warmup") if (value := match[name]) is not None}
        stages.append(
            Stage(
                int(match["epochs"]),
                match["part"].strip(),
                learning_rate=said.get("rate"),
                layer_decay=said.get("decay"),
                warmup_epochs=said.get("warmup", 0.0),
            )
        )
    return stages


def require_stages(stages: Any) -> list[Stage]:
    """Return the stages as a list. Raises `UsageError` unless each is one."""
    found = list(stages) if isinstance(stages, Sequence) and not isinstance(stages, str) else []
    if isinstance(stages, str):
        return stages_in(stages)
    if not found or not all(isinstance(stage, Stage) for stage in found):
        raise UsageError(
            f"Cannot use stages={shown(stages)}: it must be a list of unidl.training.Stage, such as [Stage(epochs=3, "
            f"unfreeze='head'), Stage(epochs=5, unfreeze='all', learning_rate=1e-5)], or a text such as {EXAMPLE!r}."
        )
    return found
