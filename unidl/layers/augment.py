"""Augmentation of images and clips in the training step: all geometry sampled once, all colour in one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from unidl import sampling
from unidl.errors import UsageError
from unidl.layers.affine import product
from unidl.layers.colour import Colour, tint
from unidl.layers.draws import next_key, ops, uniform
from unidl.layers.geometry import Geometry
from unidl.layers.images import BYTE, ImageLayer, is_bytes
from unidl.layers.own_stream import OwnStream, require_seed
from unidl.layers.pixels import Blur, Pixels
from unidl.layers.steps import Size, Step, steps_of
from unidl.shortening import shown


@keras.saving.register_keras_serializable("unidl")
class Augmentation(OwnStream, ImageLayer):
    """Change images at random while training, each by numbers of its own; in inference they pass as they are.

    The geometry of all steps is composed into one matrix an image, in the order of the steps, and the image is sampled
    once, which is both faster and sharper than a sampling for each. Then come blurs, then all colours, as one matrix an
    image, cut off at black and white, then erasing and the changes of tones of RandAugment.

    The numbers come from a hash of the seed and the number of the call, computed in the step itself: no arrays have to
    travel from the host, every backend draws the same bits, and since the number of the call is saved with the model, a
    run that goes on repeats no draw and leaves none out.

    Args:
        steps: values such as `[Flip(), Rotation(0.1), Brightness(0.2)]`, or words, "flip,rotation=0.1,brightness=0.2".
        fill: what lies beyond the edges of an image: "reflect", "nearest" or "constant".
        fill_value: the grey of "constant", from 0 to 1.
        value_range: of the images that come out: (0, 1), or what the layers behind expect, such as (0, 255).
        seed: from 0 to 2**31 - 1. Without one it follows from the name of the layer.
        **kwargs: what every layer of Keras takes, such as name and dtype.

    Call it on images (batch, height, width, channels), or on clips (batch, frames, height, width, channels), whose
    frames are all changed alike: uint8 from 0 to 255, for which the model needs `keras.Input(shape, dtype="uint8")`, or
    floats from 0 to 1. It returns floats of the same shape in `value_range`.

    Raises:
        UsageError: for a step, a fill or a range that cannot be.
        ModelError: for inputs that are neither images nor clips, and for a seed that not every backend has.

    Examples:
        >>> from unidl import layers
        >>> import keras
        >>> inputs = keras.Input((224, 224, 3), dtype="uint8")
        >>> images = layers.Augmentation("flip,rotation=0.05,zoom=0.2,contrast=0.2", seed=1)(inputs)
        >>> images.shape, images.dtype
        ((None, 224, 224, 3), 'float32')
    """

    def __init__(
        self,
        steps: str | Iterable[Step | Mapping[str, Any]],
        *,
        fill: str = "reflect",
        fill_value: float = 0.0,
        value_range: Sequence[float] = (0.0, 1.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        require_seed(type(self).__name__, seed)
        super().__init__(**kwargs)
        self.steps = steps_of(steps)
        self.fill, self.fill_value = _fill(fill, fill_value)
        self.value_range = _range(value_range)
        self.seed = self.seed if seed is None else seed
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        return self._ranged(self._augmented(images) if training else self._shares_of(images))

    @property
    def draws(self) -> int:
        """Numbers that one image needs."""
        return sum(step.draws for step in self.steps)

    def changed(self, images: Any, numbers: Any) -> Any:
        """Return images changed by given numbers in place of drawn ones.

        Args:
            images: Images (batch, height, width, channels), or clips.
            numbers: Numbers from 0 to 1, of shape (draws, batch).

        Returns:
            The images, in `value_range`.

        Examples:
            >>> import numpy as np
            >>> import unidl
            >>> turn = unidl.layers.Augmentation("rotation=0.1")
            >>> images = np.zeros((2, 4, 4, 1), "float32")
            >>> turn.changed(images, np.full((turn.draws, 2), 0.5)).shape == images.shape
            True
        """
        return self._ranged(self._augmented(images, numbers))

    def _ranged(self, shares: Any) -> Any:
        low, high = self.value_range
        return ops.cast(shares if (low, high) == (0.0, 1.0) else shares * (high - low) + low, self.compute_dtype)

    def _augmented(self, images: Any, given: Any = None) -> Any:
        """The images changed, from 0 to 1. given: numbers in place of drawn ones."""
        self._require_images(images)
        scale, real = BYTE if is_bytes(images) else 1.0, self._real_type
        *around, height, width, channels = ops.shape(images)
        channels, batch = images.shape[-1], around[0]
        drawn = list(self._drawn(batch, real, given))
        values = images
        moves = [(step, numbers) for step, numbers in drawn if isinstance(step, Geometry)]
        if moves:
            affine = product(step.affine(numbers, Size(height, width)) for step, numbers in moves)
            matrices = affine.matrices(batch, Size(height, width), real)
            if len(around) == 2:
                matrices = ops.repeat(matrices, around[1], axis=0)
            flat = ops.reshape(images, (-1, height, width, channels))
            values = sampling.bilinear(flat, matrices, self.fill, self.fill_value * scale)
        clips = ops.reshape(ops.cast(values, real), (batch, -1, height, width, channels))
        clips = _through(clips, ((step, numbers) for step, numbers in drawn if isinstance(step, Blur)), scale)
        clips = self._coloured(clips, drawn, scale)
        rest = ((step, numbers) for step, numbers in drawn if isinstance(step, Pixels) and not isinstance(step, Blur))
        return ops.reshape(_through(clips, rest, 1.0), ops.shape(images))

    def _drawn(self, batch: Any, real: str, given: Any) -> Iterator[tuple[Step, Any]]:
        """Each step with its numbers from 0 to 1, (draws, batch)."""
        if given is None:
            given = uniform((self.draws, batch), next_key(self.seed_generator), 0.0, 1.0, rows=1)
        numbers = ops.cast(given, real)
        first = 0
        for step in self.steps:
            yield step, numbers[first : first + step.draws]
            first += step.draws

    def _coloured(self, clips: Any, drawn: Sequence[tuple[Step, Any]], scale: float) -> Any:
        """The clips in their new colours, from 0 to 1."""
        colours = [(step, numbers) for step, numbers in drawn if isinstance(step, Colour)]
        if not colours:
            return clips if scale == 1.0 else clips / scale
        channels = clips.shape[-1]
        batch = ops.shape(clips)[0]
        places = ops.reshape(clips, (batch, -1, channels))
        mean = ops.mean(places, axis=1) / scale if any(step.needs_mean for step, _ in colours) else None
        found = tint(colours, channels, mean)
        places = found._replace(gain=found.gain / scale).applied(places)
        return ops.reshape(ops.clip(places, 0.0, 1.0), ops.shape(clips))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "steps": [step.to_config() for step in self.steps],
            "fill": self.fill,
            "fill_value": self.fill_value,
            "value_range": list(self.value_range),
            "seed": self.seed,
        }


def _through(clips: Any, steps: Iterable[tuple[Any, Any]], scale: float) -> Any:
    for step, numbers in steps:
        clips = step.applied(clips, numbers, scale)
    return clips


def _fill(fill: Any, value: Any) -> tuple[str, float]:
    if fill not in sampling.FILLS:
        raise UsageError(f"Cannot use Augmentation(fill={shown(fill)}): it must be one of {', '.join(sampling.FILLS)}.")
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"Cannot use Augmentation(fill_value={shown(value)}): it must be a grey from 0 to 1.")
    return fill, float(value)


def _range(given: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise UsageError(
            f"Cannot use Augmentation(value_range={shown(given)}): it must be two numbers, the smaller one first."
        )
    return low, high
