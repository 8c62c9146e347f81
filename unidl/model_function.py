"""A user's function that returns a model, given as `model.py:build`."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unidl.errors import ModelError, UsageError
from unidl.notices import uncoloured
from unidl.paths import as_path

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ModelFunction:
    """The location of the function. Its file is imported on first use."""

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"

    def require_there(self) -> None:
        """Raise `UsageError` if the file does not exist."""
        if not self.file.is_file():
            raise UsageError(f"Cannot use {self}: the file {self.file} does not exist.")

    def sha256(self) -> str:
        """Return the hash of the file, without the modules it imports."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def parameters(self) -> Mapping[str, bool]:
        """Return the names of its arguments, and whether each is required."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        found = inspect.signature(self._function).parameters.values()
        return {one.name: one.default is one.empty for one in found if one.kind in kinds}

    def build(self, arguments: Mapping[str, Any]) -> keras.Model:
        """Call the function. Raises `ModelError` if the import fails, it does not exist, or it does not return a
        model."""
        import keras

        model = self._function(**arguments)
        if not isinstance(model, keras.Model):
            raise ModelError(f"Cannot use {self}: it returned a {type(model).__name__}, not a keras.Model.")
        return model

    def objects(self) -> dict[str, Any]:
        """Return the classes and functions defined in the file by name, for use as custom objects."""
        module = self._module
        return {
            name: value
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        }

    @property
    def _function(self) -> Callable[..., Any]:
        function = getattr(self._module, self.name, None)
        if not callable(function):
            raise ModelError(f"Cannot use {self}: {self.file} has no function {self.name!r}.")
        return function

    @cached_property
    def _module(self) -> ModuleType:
        specification = importlib.util.spec_from_file_location(f"unidl_model_{self.file.stem}", self.file)
        if specification is None or specification.loader is None:
            raise ModelError(f"Cannot use {self}: Python cannot import {self.file}.")
        module = importlib.util.module_from_spec(specification)
        sys.modules[specification.name] = module
        folder = str(self.file.resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)  # as for a script, and permanently: this process has no other purpose
        try:
            specification.loader.exec_module(module)
        except (ImportError, SyntaxError) as error:
            raise ModelError(
                f"Cannot use {self}: Python cannot import {self.file}: {uncoloured(str(error))}"
            ) from error
        return module


def model_function(word: str) -> ModelFunction | None:
    """Parse "model.py:build"; None if a string has another form."""
    file, colon, function = word.rpartition(":")
    if colon and file.endswith(".py") and function.isidentifier():
        return ModelFunction(as_path(file), function)
    return None
