"""What a precision is: one value that the core, each adapter and each reference read. `unidl.precision` has ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from unidl.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True)
class Precision:
    """The types of a computation, and what they need: a row of the table in `unidl.precision`.

    Losses, metrics and the final softmax of unidl's builders are float32 in all of them.

    Examples:
        >>> from unidl.backend import Precision
        >>> careful = Precision("careful", dtype_policy="mixed_bfloat16", compute_dtype="bfloat16")
        >>> careful.variable_dtype, careful.tf32
        ('float32', False)
    """

    name: str
    """What a person asks for."""
    dtype_policy: str
    """The Keras dtype policy of the layers."""
    compute_dtype: str = "float32"
    """The type that layers compute in: what a reference written by hand casts to, by autocast in PyTorch."""
    variable_dtype: str = "float32"
    """The type of weights, and of what an optimizer keeps beside them."""
    products: str = "float32"
    """The arithmetic of matrix products and convolutions of float32 tensors: "float32", or "tf32", which rounds their
    factors to 10 bits of mantissa."""
    loss_scaling: bool = False
    """Whether the loss is multiplied before the gradients are taken, since they would vanish otherwise."""
    unit_roundoff: float = 2.0**-24
    """Half the distance from 1 to the next number, of the type in which factors of products are held."""
    variable_roundoff: float = 2.0**-24
    """The same, of the type of the weights."""
    loss_tolerance: float = 1e-3
    """By how much of itself the loss of a first step may differ between implementations in `unidl compare`."""
    least_capability: tuple[int, int] | None = None
    """The compute capability of NVIDIA from which the arithmetic exists; None if every device has it."""
    why_not_on_cpu: str | None = None
    """Why only a GPU with a compute capability can compute like this; None if a CPU can as well."""
    automatic_from: tuple[int, int] | None = None
    """The compute capability from which "auto" chooses this; None if it never does."""
    why_not_train: str | None = None
    """Why no model is trained like this, and what to use instead; None if it is."""
    training_note: str | None = None
    """What a person who trains like this is told; None if there is nothing to tell."""

    @property
    def tf32(self) -> bool:
        """Whether float32 matrix products may round their factors to 10 bits of mantissa."""
        return self.products == "tf32"

    def products_in(self, framework: str, words: Mapping[str, T]) -> T:
        """Return a framework's own name for the arithmetic of float32 products.

        Args:
            framework: The framework's name, for the message.
            words: The framework's names, by `products`.

        Returns:
            The name for this precision.

        Raises:
            BackendError: If the framework has none for this precision.

        Examples:
            >>> from unidl.precision import named
            >>> named("tf32").products_in("PyTorch", {"float32": "ieee", "tf32": "tf32"})
            'tf32'
        """
        if self.products not in words:
            raise BackendError(
                f"{framework} cannot compute in precision {self.name!r}: it has no arithmetic {self.products!r} for "
                f"products of float32, only {', '.join(words)}. Choose another precision or another backend."
            )
        return words[self.products]

    def dtype_in(self, framework: str, dtypes: Mapping[str, T]) -> T:
        """Return the type in which a reference computes that lacks loss scaling and keeps its weights in float32.

        Args:
            framework: The framework's name, for the message.
            dtypes: The framework's own types by the names that `compute_dtype` has.

        Returns:
            The type for this precision.

        Raises:
            BackendError: For a precision that needs anything else, which a reference would otherwise silently compute
                in float32.

        Examples:
            >>> from unidl.precision import named
            >>> named("mixed_bfloat16").dtype_in("NumPy", {"float32": "f4", "bfloat16": "V2"})
            'V2'
        """
        why_not = None
        if self.compute_dtype not in dtypes:
            why_not = f"it computes in {', '.join(dtypes)}, not in {self.compute_dtype}"
        elif self.loss_scaling:
            why_not = "it scales no losses"
        elif self.variable_dtype != "float32":
            why_not = f"its weights are float32, not {self.variable_dtype}"
        if why_not is not None:
            raise BackendError(f"There is no reference in {self.name} in {framework}: {why_not}.")
        return dtypes[self.compute_dtype]
