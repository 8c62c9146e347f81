"""Exported files run by PyTorch, without Keras."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Run = Callable[[Sequence[np.ndarray[Any, Any]]], Sequence[Any]]


def open_pt2(content: bytes) -> tuple[Run, dict[str, str]]:
    """Return a function from inputs to outputs, and the version of PyTorch. Loading may run code that the file
    holds."""
    module = torch.export.load(io.BytesIO(content)).module()

    def run(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        with torch.no_grad():
            return [one.numpy() for one in module(*(torch.tensor(array) for array in arrays))]

    return run, {"torch": torch.__version__}
