"""Mixup and CutMix: images of a batch, and their labels, mixed with one another in the training step.

A batch is mixed with itself in reverse order, by one share for all its rows, as in timm: row i with row n - 1 - i. A
batch that holds i mixed with j holds j mixed with i as well, so that exchanging both changes no more than the order of
its rows. That is done wherever the partner would have the larger share: the label of a row is always the one with the
larger share of its image, and accuracy, which is computed with the labels as they are, counts the majority.

Shares come from a table of quantiles of the Beta distribution, computed by NumPy and looked up by bits of the hash that
all layers draw with: powers and gamma functions, which samplers need, differ between backends in their last bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np

from unidl.errors import ModelError, UsageError
from unidl.layers.draws import next_key, ops, uniform
from unidl.layers.own_stream import OwnStream, require_seed
from unidl.layers.steps import Size, number
from unidl.shortening import shown

PLACES = 2**12
"""Quantiles in a table, each as likely as the others."""

GRID = 2**16
"""Parts in which a density is summed up: a quantile is then right to 1e-8."""

SMALLEST_ALPHA, LARGEST_ALPHA = 0.01, 100.0
"""Below, hardly any image is mixed; above, all are mixed half and half."""

DRAWS = 5
"""Numbers from 0 to 1 a batch: which mix, whether it is applied, the share, and the middle of a box."""


class Shares(NamedTuple):
    """What a row keeps of itself: each of its pixels, a number or (height, width); and its label, a scalar."""

    pixels: Any
    label: Any


@dataclass(frozen=True)
class Mix:
    """One way to mix a batch. word: its name in a run."""

    alpha: float = 1.0
    probability: float = 1.0
    word: ClassVar[str]
    needs_images: ClassVar[bool] = False

    def __post_init__(self) -> None:
        number(self, "alpha", self.alpha, low=SMALLEST_ALPHA, high=LARGEST_ALPHA)
        number(self, "probability", self.probability, low=0, high=1)

    def to_config(self) -> dict[str, Any]:
        """Describe the mix in JSON values.

        Returns:
            The word of the mix under "mix", and its arguments by their names.

        Examples:
            >>> from unidl import layers
            >>> layers.Mixup(0.2).to_config()
            {'mix': 'mixup', 'alpha': 0.2, 'probability': 1.0}
        """
        return {"mix": self.word, **{name: float(value) for name, value in asdict(self).items()}}

    def _shares(self, drawn: Any, size: Size | None) -> Shares:
        """The shares of a batch. drawn: numbers from 0 to 1: one for the share, and two for a place. size: of the
        images, in pixels; None for rows that are not images."""
        raise NotImplementedError


@dataclass(frozen=True)
class Mixup(Mix):
    """Add two images, and their labels, in proportion.

    An image becomes share * x_i + (1 - share) * x_j, with share ~ Beta(alpha, alpha) (Zhang et al. 2018, "mixup: Beyond
    Empirical Risk Minimization"). The share is drawn anew for each batch; the larger of share and 1 - share goes to the
    row whose label counts for metrics.

    Args:
        alpha: from 0.01 to 100; at 0.2 most images are nearly their own, at 1 all shares are equally likely.
        probability: the share of batches, among those for which this mix is chosen, that are mixed.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.Mixup(0.2)
        Mixup(alpha=0.2, probability=1.0)
    """

    word: ClassVar[str] = "mixup"

    def _shares(self, drawn: Any, size: Size | None) -> Shares:
        share = _looked_up(drawn[0], _shares_of(float(self.alpha)))
        share = ops.maximum(share, 1.0 - share)
        return Shares(share, share)


@dataclass(frozen=True)
class CutMix(Mix):
    """Put a box of another image into each image.

    This is that of Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features". The box is sqrt(1 - share) times as high and as wide as the image, share ~ Beta(alpha, alpha), its middle
    is anywhere, and what lies beyond the edges is cut off; the label has the share of the pixels that are left. Where
    the box is the larger part, the two images are exchanged. Box and share are drawn anew for each batch.

    Args:
        alpha: from 0.01 to 100; at 1 all shares are equally likely.
        probability: the share of batches, among those for which this mix is chosen, that are mixed.

    Raises:
        UsageError: for a value that cannot be.

    Examples:
        >>> from unidl import layers
        >>> layers.CutMix()
        CutMix(alpha=1.0, probability=1.0)
    """

    word: ClassVar[str] = "cutmix"
    needs_images: ClassVar[bool] = True

    def _shares(self, drawn: Any, size: Size | None) -> Shares:
        if size is None:
            raise ModelError("Cannot use CutMix: it needs images (batch, height, width, channels), or clips.")
        side = _looked_up(drawn[0], np.sqrt(1.0 - _shares_of(float(self.alpha))).astype(np.float32))
        spans: list[Any] = []
        area = total = 1.0
        for length, place in zip(size, (drawn[1], drawn[2]), strict=True):
            whole = ops.cast(length, drawn.dtype)
            half = ops.floor(ops.floor(side * whole) / 2.0)
            middle = ops.floor(place * whole)
            first, end = ops.maximum(middle - half, 0.0), ops.minimum(middle + half, whole)
            pixels = ops.cast(ops.arange(length), drawn.dtype)
            spans.append(ops.logical_and(pixels >= first, pixels < end))
            area, total = area * (end - first), total * whole
        exchanged = 2.0 * area > total  # whole numbers, which no compiler rounds
        inside = ops.logical_and(spans[0][:, None], spans[1][None, :])
        own = ops.cast(ops.equal(inside, exchanged), drawn.dtype)
        return Shares(own, ops.where(exchanged, area, total - area) / total)


MIXES: dict[str, type[Mix]] = {kind.word: kind for kind in (Mixup, CutMix)}
"""By the word in a run."""


def mixes_of(given: Mix | Mapping[str, Any] | Iterable[Any]) -> tuple[Mix, ...]:
    """Return mixes that are given as one value or several, or as their configs; each once.

    Raises `UsageError` for anything else, and for none at all.
    """
    several = [given] if isinstance(given, (Mix, Mapping, str)) or not isinstance(given, Iterable) else list(given)
    found: tuple[Any, ...] = tuple(_from_config(one) if isinstance(one, Mapping) else one for one in several)
    for one in found:
        if type(one) not in MIXES.values():
            raise UsageError(
                f"Cannot mix with {shown(one)}: give unidl.layers.Mixup(0.2), unidl.layers.CutMix(1.0), or a list of "
                "both."
            )
    if not found or len({type(one) for one in found}) != len(found):
        raise UsageError(f"Cannot mix with {shown(list(found))}: give Mixup, CutMix, or both, each once.")
    return found


def _from_config(config: Mapping[str, Any]) -> Mix:
    values = dict(config)
    kind = MIXES.get(str(values.pop("mix", None)))
    if kind is None or not set(values) <= {"alpha", "probability"}:
        raise UsageError(f"Cannot mix with {shown(dict(config))}: it must be what `to_config` of a mix gives.")
    return kind(**values)


@keras.saving.register_keras_serializable("unidl")
class Mixing(OwnStream, keras.layers.Layer):
    """Mixes the rows of a batch in training, by one of `mixes`, each as likely as the others; in inference they pass.

    share: what the labels of the last batch keep; see `unidl.training.mixed_batches` for the loss.
    """

    def __init__(self, mixes: Any, *, seed: int | None = None, **kwargs: Any) -> None:
        require_seed(type(self).__name__, seed)
        super().__init__(**{"autocast": False} | kwargs)
        self.mixes = mixes_of(mixes)
        self.seed = self.seed if seed is None else seed
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.share = self.add_weight(
            shape=(), initializer="ones", trainable=False, dtype="float32", name="share", autocast=False
        )
        self.built = True

    def call(self, values: Any, training: bool = False) -> Any:
        if not training:
            return values
        given = keras.backend.standardize_dtype(values.dtype)
        real = "float64" if given == "float64" else "float32"
        axes = len(values.shape)
        size = Size(*ops.shape(values)[axes - 3 : axes - 1]) if axes in (4, 5) else None
        shares = self._drawn(size, real)
        self.share.assign(ops.cast(shares.label, "float32"))
        own = shares.pixels
        if len(own.shape):
            own = ops.reshape(own, (*(1,) * (axes - 3), *ops.shape(own), 1))
        mixed = ops.cast(values, real)
        mixed = mixed * own + ops.flip(mixed, axis=0) * (1.0 - own)
        return ops.cast(mixed if "float" in given else ops.round(mixed), given)

    def _drawn(self, size: Size | None, real: str) -> Shares:
        drawn = ops.cast(uniform((DRAWS,), next_key(self.seed_generator), 0.0, 1.0, rows=None), real)
        which = ops.floor(drawn[0] * len(self.mixes))
        pixels = label = ops.ones((), real)
        for place, mix in enumerate(self.mixes):
            chosen = ops.logical_and(ops.equal(which, place), drawn[1] < mix.probability)
            shares = mix._shares(drawn[2:], size)
            pixels = ops.where(chosen, shares.pixels, pixels)
            label = ops.where(chosen, shares.label, label)
        return Shares(pixels, label)

    def compute_output_spec(self, values: Any, training: bool = False) -> Any:
        return keras.KerasTensor(values.shape, dtype=values.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mixes": [mix.to_config() for mix in self.mixes], "seed": self.seed}


def _looked_up(drawn: Any, table: np.ndarray) -> Any:
    place = ops.cast(ops.floor(drawn * len(table)), "int32")
    return ops.take(ops.convert_to_tensor(table, dtype=drawn.dtype), place)


@cache
def _shares_of(alpha: float) -> np.ndarray:
    """The middles of equally likely parts of Beta(alpha, alpha), from small to large, as float32.

    The density x**(alpha - 1) * (1 - x)**(alpha - 1) is summed up from 0 to 1/2, the other half is its mirror image.
    Below 1 it is infinite at 0: there the sum is over x**alpha, in which (1 - x)**(alpha - 1) / alpha is left of it.
    """
    if alpha < 1:
        grid = np.linspace(0.0, 0.5**alpha, GRID + 1)
        places = grid ** (1.0 / alpha)
        density = (1.0 - places) ** (alpha - 1.0)
    else:
        grid = places = np.linspace(0.0, 0.5, GRID + 1)
        density = (4.0 * places * (1.0 - places)) ** (alpha - 1.0)
    sums = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2.0 * np.diff(grid))])
    below = np.interp((np.arange(PLACES // 2) + 0.5) / PLACES, sums / (2.0 * sums[-1]), grid)
    below = below ** (1.0 / alpha) if alpha < 1 else below
    return np.concatenate([below, 1.0 - below[::-1]]).astype(np.float32)
