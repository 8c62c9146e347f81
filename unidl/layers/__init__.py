"""Layers that draw random numbers, the same bits on every backend: dropout, noise, and augmentation of images; and what
a transformer needs beside attention.

Those that draw are Keras's own layers of these names, whose draws come from `unidl.layers.draws`. Give each a seed:
neither the trainer's nor `keras.utils.set_random_seed` reaches them, and without one a layer draws what its name says.

Importing this package imports Keras, on the backend in use: the first call that needs one decides which, as everywhere.
"""

from unidl import registry

registry.current()  # before Keras is imported, which would settle the backend by itself

from unidl.layers.augment import Augmentation  # noqa: E402
from unidl.layers.augmentation import (  # noqa: E402
    RandomBrightness,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from unidl.layers.colour import Brightness, Contrast, Grayscale, Hue, Saturation  # noqa: E402
from unidl.layers.colour_spaces import ColourSpace  # noqa: E402
from unidl.layers.dropout import (  # noqa: E402
    AlphaDropout,
    Dropout,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from unidl.layers.gaussian import GaussianDropout, GaussianNoise  # noqa: E402
from unidl.layers.geometry import Crop, Flip, Rotation, Shear, Translation, Zoom  # noqa: E402
from unidl.layers.mixing import CutMix, Mixup  # noqa: E402
from unidl.layers.own_stream import foreign_draws  # noqa: E402
from unidl.layers.pixels import Blur, Erasing  # noqa: E402
from unidl.layers.preparing import CenterCrop, Normalize, Resize  # noqa: E402
from unidl.layers.random_augment import RandAugment  # noqa: E402
from unidl.layers.sequences import AttentionMask, PositionEmbedding, TokenPooling  # noqa: E402

__all__ = [
    "AlphaDropout",
    "AttentionMask",
    "Augmentation",
    "Blur",
    "Brightness",
    "CenterCrop",
    "ColourSpace",
    "Contrast",
    "Crop",
    "CutMix",
    "Dropout",
    "Erasing",
    "Flip",
    "GaussianDropout",
    "GaussianNoise",
    "Grayscale",
    "Hue",
    "Mixup",
    "Normalize",
    "PositionEmbedding",
    "RandAugment",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "Resize",
    "Rotation",
    "Saturation",
    "Shear",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "TokenPooling",
    "Translation",
    "Zoom",
    "foreign_draws",
]
