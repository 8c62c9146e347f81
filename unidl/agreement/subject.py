"""What is verified: a model of a builder, a saved run, or what a function of somebody's returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import UsageError
from unidl.model_function import model_function

if TYPE_CHECKING:
    import keras

BUILDERS = ("cnn", "lstm", "transfer")


@dataclass(frozen=True)
class Subject:
    """A model that any process can build.

    name: a builder, a directory that `Trainer.save` wrote, or `model.py:build`, a function.
    arguments: of the builder or the function. input_shape, input_dtype: of one row, for a model that does not tell, or
    for a builder. trust: as in `load_model`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_shape: tuple[int, ...] | None = None
    input_dtype: str = "float32"
    trust: bool = False

    @property
    def is_saved(self) -> bool:
        """Whether its weights are those of a run."""
        return self.name not in BUILDERS and model_function(self.name) is None

    def require_there(self) -> None:
        """Raise `UsageError` if nothing can be built, as far as that can be known without a framework."""
        function = model_function(self.name)
        path = Path(self.name)
        if function is not None:
            function.require_there()
            return
        if self.name in BUILDERS or path.is_dir() or (path.suffix == ".keras" and path.is_file()):
            return
        raise UsageError(
            f"Cannot verify {self.name!r}: it is neither a model to build ({', '.join(BUILDERS)}), nor the directory "
            "of a saved run, nor a function such as model.py:build."
        )

    def build(self) -> keras.Model:
        """Build it on the backend in use. The precision is that of UNIDL_PRECISION, also for a saved run."""
        function = model_function(self.name)
        if self.name in BUILDERS:
            return self._built()
        return self._loaded() if function is None else function.build(self.arguments)

    def _built(self) -> keras.Model:
        from unidl import build_cnn, build_lstm, build_transfer

        options: dict[str, Any] = dict(self.arguments)
        shape = self.input_shape
        if self.name == "lstm":
            return build_lstm(**options if shape is None else {"sequence_length": shape[0], **options})
        if shape is not None:
            options = {"input_shape": shape, **options}
        if self.name == "cnn":
            return build_cnn(**options)
        # Nothing is downloaded: what a network computes does not depend on whose weights it has.
        options = {"weights": None, **options}
        return build_transfer(**options)

    def _loaded(self) -> keras.Model:
        from unidl.saving.saved import load_model

        return load_model(self.name, trust=self.trust)
