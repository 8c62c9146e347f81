"""Image data sets that Keras downloads."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from unidl import registry
from unidl.data.arrays import prepare_y
from unidl.data.dataset import Dataset, Split
from unidl.data.images import check_form, reform
from unidl.data.value_range import scaled_bytes
from unidl.errors import DataError
from unidl.shortening import shortened

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class _Source:
    """The URL from which Keras 3.15.1 downloads a data set, and the location of its files in Keras's cache."""

    address: str
    local: str
    class_names: tuple[str, ...]


_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SOURCES = {
    "mnist": _Source(_GOOGLE + "mnist.npz", "mnist.npz", _DIGITS),
    "fashion_mnist": _Source(_GOOGLE, "fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", _CLOTHES),
    "cifar10": _Source(_TORONTO + "cifar-10-python.tar.gz", "cifar-10-batches-py-target_archive", _CIFAR_10),
    # Keras loads the indices of the hundred classes without their names.
    "cifar100": _Source(
        _TORONTO + "cifar-100-python.tar.gz",
        "cifar-100-python-target_archive",
        tuple(str(label) for label in range(100)),
    ),
}


def load_keras_images(name: str, *, image_size: tuple[int, int] | None = None, channels: int | None = None) -> Dataset:
    """Return a data set of `keras.datasets` with its own split, downloaded on first use.

    x: (n, height, width, channels) float32 in [0, 1]; y: (n,) int32. Raises `DataError` if there is no local
    copy and the download fails.
    """
    check_form(image_size, channels)
    registry.current()
    import keras

    loaded = _download(name, getattr(keras.datasets, name))
    digest = hashlib.sha256()
    splits: list[Split] = []
    for images, labels in loaded:
        digest.update(np.ascontiguousarray(images).tobytes())
        digest.update(np.ascontiguousarray(labels).tobytes())
        if images.ndim == 4 and keras.config.image_data_format() == "channels_first":
            images = np.moveaxis(images, 1, 3)
        x = reform(scaled_bytes(images)[0], image_size, channels)
        splits.append(Split(x, prepare_y(labels), class_names=SOURCES[name].class_names))
    origin = {
        "source": f"keras.datasets.{name}",
        "address": SOURCES[name].address,
        "keras": keras.__version__,
        "sha256": digest.hexdigest(),
    }
    return Dataset(name, "images", splits[0], splits[1], origin)


def _download(name: str, module: ModuleType) -> Any:
    """Return ((x_train, y_train), (x_test, y_test)) from Keras."""
    try:
        return module.load_data()
    except Exception as error:
        # keras.utils.get_file raises a bare Exception without a network, and various errors for damaged files.
        source = SOURCES[name]
        cache = os.path.join(os.environ.get("KERAS_HOME", os.path.join("~", ".keras")), "datasets")
        raise DataError(
            f"Cannot load '{name}': the download by Keras failed: {shortened(error)}\n"
            f"Keras downloads it from {source.address} unless {os.path.join(cache, source.local)} exists; "
            "copy it there from a machine with a network, or use 'digits', which needs no download."
        ) from error
