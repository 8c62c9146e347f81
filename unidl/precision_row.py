"""The `Precision` value, read by the core, the adapters and the references. `unidl.precision` defines unidl's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from unidl.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True)
class Precision:
    """A precision: which dtype each computation uses, and its requirements. A row of the table in `unidl.precision`.

    Losses, metrics and the final softmax of unidl's builders are float32 in all of them.

    Examples:
        >>> from unidl.backend import Precision
        >>> careful = Precision("careful", dtype_policy="mixed_bfloat16", compute_dtype="bfloat16")
        >>> careful.variable_dtype, careful.tf32
        ('float32', False)
    """

    name: str
    """The name that users pass."""
    dtype_policy: str
    """The Keras dtype policy of the layers."""
    compute_dtype: str = "float32"
    """The dtype in which layers compute; hand-written references cast to it, in PyTorch with autocast."""
    variable_dtype: str = "float32"
    """The dtype of weights and optimizer state."""
    products: str = "float32"
    """The arithmetic of float32 matrix products and convolutions: "float32", or "tf32", which rounds their
    factors to 10 bits of mantissa."""
    loss_scaling: bool = False
    """Whether the loss is scaled before gradients are computed, since they would underflow otherwise."""
    unit_roundoff: float = 2.0**-24
    """Half the distance from 1 to the next number in the dtype of the factors of products."""
    variable_roundoff: float = 2.0**-24
    """The same in the dtype of the weights."""
    loss_tolerance: float = 1e-3
    """Allowed relative difference of the loss of the first steps between implementations in `unidl compare`."""
    least_capability: tuple[int, int] | None = None
    """Minimum NVIDIA compute capability for this arithmetic; None if every device supports it."""
    why_not_on_cpu: str | None = None
    """Why only a GPU with a compute capability supports this; None if a CPU does as well."""
    automatic_from: tuple[int, int] | None = None
    """Minimum compute capability for which "auto" selects this; None if it never does."""
    why_not_train: str | None = None
    """Why training is not supported, and what to use instead; None if it is."""
    training_note: str | None = None
    """A note logged when training in this precision; None if there is none."""

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
                f"{framework} cannot compute in precision {self.name!r}: it does not support {self.products!r} for "
                f"float32 products, only {', '.join(words)}. Choose another precision or another backend."
            )
        return words[self.products]

    def dtype_in(self, framework: str, dtypes: Mapping[str, T]) -> T:
        """Return the dtype in which a reference without loss scaling and with float32 weights computes.

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
            why_not = "it does not support loss scaling"
        elif self.variable_dtype != "float32":
            why_not = f"its weights are float32, not {self.variable_dtype}"
        if why_not is not None:
            raise BackendError(f"There is no reference in {self.name} in {framework}: {why_not}.")
        return dtypes[self.compute_dtype]
