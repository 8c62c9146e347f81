"""RandAugment: a few changes of an image, chosen for each image anew, all of one strength (Cubuk et al. 2020,
"RandAugment: Practical automated data augmentation with a reduced search space")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from unidl.layers.affine import Affine, product, turn
from unidl.layers.colour import Colour, Tint, contrasted, saturated
from unidl.layers.draws import ops
from unidl.layers.geometry import Geometry
from unidl.layers.steps import Size, number, refused, register

STRONGEST = {
    "nothing": 0.0,
    "rotation": 30 / 360,
    "shear across": 0.3,
    "shear down": 0.3,
    "translation across": 0.45,
    "translation down": 0.45,
    "brightness": 0.5,
    "contrast": 0.9,
    "saturation": 0.9,
}
"""What is chosen from, and how far each goes at the magnitude 1, either way: the paper's, but for brightness, which it
multiplies and we add."""

MOST = 8
"""Changes of one image."""


@register
@dataclass(frozen=True)
class RandAugment(Geometry, Colour):
    """Choose a few changes for each image: turn, shear, shift, brightness, contrast, saturation, or nothing.

    All of them are matrices, so that the image is still sampled once. What the paper has besides (equalize, solarize,
    posterize, sharpness, autocontrast) is not, and is not chosen.

    Args:
        count: how many changes an image gets.
        magnitude: how far they go, from 0 to 1; 1 is 30 degrees, say.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.RandAugment(3)
        RandAugment(count=3, magnitude=0.3)
    """

    count: float = 2
    magnitude: float = 0.3
    word: ClassVar[str] = "randaugment"
    needs_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or self.count not in range(1, MOST + 1):
            raise refused(self, "count", self.count, f"it must be a whole number from 1 to {MOST}")
        number(self, "magnitude", self.magnitude, low=0, high=1)

    @property
    def draws(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - it follows from the count
        """Two numbers a change: which it is, and in which direction it goes."""
        return 2 * int(self.count)

    def affine(self, drawn: Any, size: Size) -> Affine:
        height, width = (ops.cast(side, drawn.dtype) for side in size)
        parts = []
        for chosen in self._chosen(drawn):
            cosine, sine = turn(chosen["rotation"])
            parts.append(
                Affine(
                    a=cosine,
                    b=chosen["shear across"] - sine,
                    c=chosen["translation across"] * width,
                    d=chosen["shear down"] + sine,
                    e=cosine,
                    f=chosen["translation down"] * height,
                )
            )
        return product(parts)

    def after(self, before: Tint, drawn: Any, channels: int, mean: Any) -> Tint:
        for chosen in self._chosen(drawn):
            before = before._replace(shift=before.shift + chosen["brightness"][:, None])
            before = contrasted(before, 1.0 + chosen["contrast"], channels, mean)
            before = saturated(before, 1.0 + chosen["saturation"], channels)
        return before

    def _chosen(self, drawn: Any) -> list[dict[str, Any]]:
        """How far each change goes in each image (batch,), all but the chosen one not at all; once for each change."""
        found = []
        for change in range(int(self.count)):
            which = ops.floor(drawn[2 * change] * len(STRONGEST))
            way = self.magnitude * (1.0 - 2.0 * ops.cast(drawn[2 * change + 1] < 0.5, drawn.dtype))
            found.append(
                {
                    name: strongest * way * ops.cast(ops.equal(which, place), drawn.dtype)
                    for place, (name, strongest) in enumerate(STRONGEST.items())
                }
            )
        return found
