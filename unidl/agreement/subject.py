"""What is verified: a model of a builder, a saved run, or what a function of somebody's returns."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError, UsageError

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
        return self.name not in BUILDERS and _function(self.name) is None

    def require_there(self) -> None:
        """Raise `UsageError` if nothing can be built, as far as that can be known without a framework."""
        function = _function(self.name)
        path = Path(self.name)
        if self.name in BUILDERS or (
            function is None and (path.is_dir() or (path.suffix == ".keras" and path.is_file()))
        ):
            return
        if function is not None and function[0].is_file():
            return
        if function is not None:
            raise UsageError(f"Cannot verify {self.name!r}: there is no file {function[0]}.")
        raise UsageError(
            f"Cannot verify {self.name!r}: it is neither a model to build ({', '.join(BUILDERS)}), nor the directory "
            "of a saved run, nor a function such as model.py:build."
        )

    def build(self) -> keras.Model:
        """Build it on the backend in use. The precision is that of UNIDL_PRECISION, also for a saved run."""
        function = _function(self.name)
        if self.name in BUILDERS:
            return self._built()
        return _called(*function, self.arguments) if function is not None else self._loaded()

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


def _function(name: str) -> tuple[Path, str] | None:
    """The file and the function of "model.py:build"."""
    file, colon, function = name.rpartition(":")
    return (Path(file), function) if colon and file.endswith(".py") and function.isidentifier() else None


def _called(file: Path, name: str, arguments: Mapping[str, Any]) -> keras.Model:
    import keras

    specification = importlib.util.spec_from_file_location(f"unidl_verified_{file.stem}", file)
    if specification is None or specification.loader is None:
        raise ModelError(f"Cannot verify {file}:{name}: Python cannot import {file}.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for a script, for good: this process is there for nothing else
    specification.loader.exec_module(module)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        raise ModelError(f"Cannot verify {file}:{name}: {file} has no function {name!r}.")
    model = function(**arguments)
    if not isinstance(model, keras.Model):
        raise ModelError(f"Cannot verify {file}:{name}: it returned a {type(model).__name__}, not a keras.Model.")
    return model
