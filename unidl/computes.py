"""The role of anything that computes outputs: a Keras model on a backend, or an exported file on a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

BATCH = "batch"
"""The name of the first axis."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output. shape: with the batch axis first; None for an axis of any size. dtype: NumPy's name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def axes(self) -> tuple[int | str, ...]:
        """The sizes of the axes; those of any size by name: "batch", then "length", then the number of the axis."""
        names = (BATCH, "length", *(f"axis_{number}" for number in range(2, len(self.shape))))
        return tuple(name if size is None else size for name, size in zip(names, self.shape, strict=False))


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a model, in the order in which they are passed and returned."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def has_free_length(self) -> bool:
        """Whether an axis besides the batch can have any size."""
        return any(size is None for tensor in self.inputs for size in tensor.shape[1:])


@runtime_checkable
class Computes(Protocol):
    """What computes outputs. A certificate, a prediction and a comparison take either kind."""

    @property
    def interface(self) -> Interface:
        """The inputs and outputs."""
        ...

    def outputs(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Return the outputs for a batch of rows. inputs: one array (batch, ...) for each input of the interface."""
        ...
