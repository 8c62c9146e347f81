"""RandAugment: a few changes of an image, chosen for each image anew, all of one strength (Cubuk et al. 2020,
"RandAugment: Practical automated data augmentation with a reduced search space")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from unidl.layers.affine import Affine, product, turn
from unidl.layers.colour import Colour, Tint, contrasted, saturated
from unidl.layers.draws import ops
from unidl.layers.geometry import Geometry
from unidl.layers.pixels import Pixels
from unidl.layers.steps import Size, number, refused, register
from unidl.layers.tones import equalized, inverted, posterized, sharpened, solarized, stretched

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

TONES: dict[str, Callable[[Any, float, Any], Any]] = {
    "posterize": lambda clips, share, way: posterized(clips, share),
    "solarize": lambda clips, share, way: solarized(clips, share),
    "equalize": lambda clips, share, way: equalized(clips),
    "autocontrast": lambda clips, share, way: stretched(clips),
    "invert": lambda clips, share, way: inverted(clips),
    "sharpness": lambda clips, share, way: sharpened(clips, 1.0 + 0.9 * share * way),
}
"""What is chosen from besides, unless `operations` is "matrices". share: how far it goes, from 0 to 1; way: 1 or -1."""

OPERATIONS = ("all", "matrices")

MOST = 8
"""Changes of one image."""


@register
@dataclass(frozen=True)
class RandAugment(Geometry, Colour, Pixels):
    """Choose a few changes of geometry, colours and tones for each image.

    They are turn, shear, shift, brightness, contrast, saturation, posterize, solarize, equalize, autocontrast, invert,
    sharpness, or nothing. All but the last six are matrices, so that the image is still sampled once. Those six come
    after them, on the levels from 0 to 255 that Pillow has: a level that samplers of two backends round to either side
    may end far apart. They are computed for all images and taken for some, which takes time.

    Args:
        count: how many changes an image gets.
        magnitude: how far they go, from 0 to 1; 1 is 30 degrees, say.
        operations: "all", or "matrices" for those that are matrices alone, which are fast.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.RandAugment(3)
        RandAugment(count=3, magnitude=0.3, operations='all')
    """

    count: float = 2
    magnitude: float = 0.3
    operations: str = "all"
    word: ClassVar[str] = "randaugment"
    needs_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or self.count not in range(1, MOST + 1):
            raise refused(self, "count", self.count, f"it must be a whole number from 1 to {MOST}")
        number(self, "magnitude", self.magnitude, low=0, high=1)
        if self.operations not in OPERATIONS:
            raise refused(self, "operations", self.operations, f"it must be {' or '.join(map(repr, OPERATIONS))}")

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

    def applied(self, clips: Any, drawn: Any, scale: float) -> Any:
        if self.operations == "matrices":
            return clips
        share = float(self.magnitude)
        for which, way in self._changes(drawn):
            way = ops.reshape(way, (-1, 1, 1, 1, 1))
            changed = clips
            for place, change in enumerate(TONES.values(), start=len(STRONGEST)):
                is_chosen = ops.reshape(ops.equal(which, place), (-1, 1, 1, 1, 1))
                changed = ops.where(is_chosen, change(clips, share, way), changed)
            clips = changed
        return clips

    def _chosen(self, drawn: Any) -> list[dict[str, Any]]:
        """How far each change goes in each image (batch,), all but the chosen one not at all; once for each change."""
        return [
            {
                name: strongest * self.magnitude * way * ops.cast(ops.equal(which, place), drawn.dtype)
                for place, (name, strongest) in enumerate(STRONGEST.items())
            }
            for which, way in self._changes(drawn)
        ]

    def _changes(self, drawn: Any) -> Iterator[tuple[Any, Any]]:
        """The number of each change and its direction, 1 or -1, both (batch,)."""
        kinds = len(STRONGEST) + (len(TONES) if self.operations == "all" else 0)
        for change in range(int(self.count)):
            which = ops.floor(drawn[2 * change] * kinds)
            yield which, 1.0 - 2.0 * ops.cast(drawn[2 * change + 1] < 0.5, drawn.dtype)
