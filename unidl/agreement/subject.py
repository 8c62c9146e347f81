"""The subject of a verification: a builder's model, a saved run, or the model returned by a user's function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import UsageError
from unidl.model_function import model_function
from unidl.models import builders

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Subject:
    """A model that any process can rebuild.

    name: a builder, a directory that `Trainer.save` wrote, or `model.py:build`, a function.
    arguments: of the builder or the function. input_shape, input_dtype: of one row, for a model with unknown inputs, or
    for a builder. trust: as in `load_model`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_shape: tuple[int, ...] | None = None
    input_dtype: str = "float32"
    trust: bool = False

    @property
    def is_saved(self) -> bool:
        """Whether its weights come from a saved run."""
        return self.name not in builders.names() and model_function(self.name) is None

    def require_there(self) -> None:
        """Raise `UsageError` if the model cannot be built, as far as can be checked without a framework."""
        function = model_function(self.name)
        path = Path(self.name)
        if function is not None:
            function.require_there()
            return
        if self.name in builders.names() or path.is_dir() or (path.suffix == ".keras" and path.is_file()):
            return
        raise UsageError(
            f"Cannot verify {self.name!r}: it is neither a builder ({', '.join(builders.names())}), nor the "
            "directory of a saved run, nor a function such as model.py:build."
        )

    def build(self) -> keras.Model:
        """Build it on the current backend. UNIDL_PRECISION sets the precision, even of a saved run."""
        function = model_function(self.name)
        if self.name in builders.names():
            return self._built()
        return self._loaded() if function is None else function.build(self.arguments)

    def _built(self) -> keras.Model:
        builder = builders.builder(self.name)
        shape: dict[str, Any] = {}
        if self.input_shape is not None and "input_shape" in builder.from_data:
            shape = {"input_shape": self.input_shape}
        elif self.input_shape is not None and "sequence_length" in builder.from_data:
            shape = {"sequence_length": self.input_shape[0]}
        return builder.build(**{**builder.verified_with, **shape, **self.arguments})

    def _loaded(self) -> keras.Model:
        from unidl.saving.saved import load_model

        return load_model(self.name, trust=self.trust)
