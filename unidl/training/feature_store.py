"""The features of a frozen front, kept as long as they are what the front gives: in memory, or in mapped files."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidl.backend import Tree
from unidl.cache import cache_folder
from unidl.data.dataset import Split
from unidl.data.numbers import computed
from unidl.data.source import Column
from unidl.data.trees import leaves, map_leaves, named_leaves
from unidl.errors import DataError
from unidl.models.records import record_of

if TYPE_CHECKING:
    import keras

    from unidl.model_state import PythonValues

MOST_KEPT = 4
"""Sets of features whose files stay in the cache, the newest ones: each may be as large as the memory."""
READ_BYTES = 2**24
"""Of data that is hashed at a time."""

Key = dict[str, str]
"""What the features depend on, and a hash or a word for each."""

PARTS = {
    "variants": "the number of variants of each image is another",
    "weights": "the weights of the frozen layers are others",
    "layers": "the frozen layers, or the preprocessing among them, are others",
    "data": "the data is other data",
    "batch size": "the batches have another size",
    "computed by": "the backend, the device or the precision is another",
}
"""The parts of a key, and how each is told when it has changed."""


@dataclass
class _Kept:
    key: Key
    x: Tree
    values: PythonValues
    folder: Path | None = None


class FeatureStore:
    """Those of the rows to train on and of those to validate on, the last ones of each."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def take(self, role: str, key: Key | None) -> tuple[Tree | None, str | None]:
        """Return the features that are kept for this key; or None and, if others were kept, why they are dropped now.
        role: "training" or "validation"."""
        found = self._kept.get(role)
        if found is None:
            return None, None
        changed = next((PARTS[part] for part in PARTS if key is not None and found.key[part] != key[part]), None)
        if changed is None and found.values.changed():
            changed = PARTS["layers"]
        if key is not None and changed is None:
            return found.x, None
        self.drop(role)
        return None, changed

    def put(self, role: str, key: Key, x: Tree, front: keras.Model, folder: Path | None = None) -> None:
        """Keep features. folder: of the files that they are mapped from."""
        from unidl.model_state import PythonValues

        self._kept[role] = _Kept(key, x, PythonValues(front), folder)

    def drop(self, role: str | None = None) -> None:
        """Forget the features of a role, or all of them, and remove their files."""
        for name in [role] if role is not None else list(self._kept):
            dropped = self._kept.pop(name, None)
            if dropped is not None and dropped.folder is not None:
                shutil.rmtree(dropped.folder, ignore_errors=True)


def key_of(
    front: keras.Model, weights: str, data: Split, batch_size: int, computed_by: str, variants: int | None = None
) -> Key | None:
    """Return what the features of some rows depend on; None if a layer does not say what it computes. weights: their
    hash. variants: of each image; None for the images themselves."""
    import keras

    try:
        told = keras.saving.serialize_keras_object(front), record_of(front).value_range  # of images of bytes
        layers = json.dumps(told, sort_keys=True, default=repr)
    except Exception:  # noqa: BLE001 - the get_config of a user's layer may raise anything; then nothing is kept
        return None
    return {
        "variants": str(variants),
        "weights": weights,
        "layers": hashlib.sha256(layers.encode()).hexdigest(),
        "data": _hash_of(data.x),
        "batch size": str(batch_size),
        "computed by": computed_by,
    }


def folder_of(key: Key | None) -> Path:
    """Return where features of this key lie in the cache; a place of its own for those without."""
    name = secrets.token_hex(16) if key is None else hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    return cache_folder() / "features" / name


def mapped(folder: Path) -> Tree | None:
    """Return the features whose files are in a folder, as mapped arrays; None if there are none."""
    if not folder.is_dir():
        return None
    arrays = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    return arrays[0] if len(arrays) == 1 else arrays


def written(folder: Path, parts: Iterable[Tree], rows: int, size_bytes: int) -> Tree:
    """Write features to files as they come, and return them as mapped arrays; the folder appears whole or not at all.

    parts: of the rows, one after the other, of so many rows in all. Raises `DataError` if the disk is too small.
    """
    temporary = folder.with_name(f"{folder.name}.part-{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        free_bytes = shutil.disk_usage(temporary).free
        if size_bytes > free_bytes:
            raise DataError(
                f"The features of the frozen layers take {size_bytes / 2**30:.1f} GiB, more than half of the memory "
                f"that is free, and {folder.parent} has room for {free_bytes / 2**30:.1f} GiB. Train without "
                "precompute_frozen=True, with a model that pools its features, or set UNIDL_CACHE_DIR to a larger disk."
            )
        _write(temporary, parts, rows)
        temporary.replace(folder)
    except OSError as error:
        raise DataError(f"Cannot keep the features of the frozen layers in {folder}: {error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _forget_oldest(folder.parent)
    return mapped(folder)


def _write(folder: Path, parts: Iterable[Tree], rows: int) -> None:
    files: list[Any] = []
    first = 0
    for part in parts:
        arrays = leaves(part)
        if not files:
            files = [
                np.lib.format.open_memmap(folder / f"{place:03d}.npy", "w+", array.dtype, (rows, *array.shape[1:]))
                for place, array in enumerate(arrays)
            ]
        for file, array in zip(files, arrays, strict=True):
            file[first : first + len(array)] = array
        first += len(arrays[0])
    for file in files:
        file.flush()


def _forget_oldest(folder: Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in kept[MOST_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _hash_of(tree: Tree) -> str:
    """The hash of every number: one row that has changed makes other features. Of a column it is what its source says
    of itself."""
    found = hashlib.sha256()

    def add(array: Any) -> None:
        if isinstance(array, Column):
            found.update(f"{array.source.fingerprint()} {array.number} {array.shape} {array.dtype}".encode())
            return
        found.update(f"{array.shape} {array.dtype}".encode())
        rows = max(1, READ_BYTES * len(array) // max(array.nbytes, 1))
        for first in range(0, len(array), rows):
            found.update(np.ascontiguousarray(computed(array[first : first + rows])).data)

    found.update(repr([name for name, _ in named_leaves(tree, "x")]).encode())
    map_leaves(add, tree)
    return found.hexdigest()
