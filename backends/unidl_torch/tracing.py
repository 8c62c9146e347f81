"""Keras's steps as flat lists of PyTorch operations: traced once per batch shape, run without Keras's layers.

Keras needs about 3 ms of Python per training step, whatever it computes. The trace contains the same operations,
forward, backward and optimizer, and changes the Keras variables in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import torch

from unidl.backend import Tree
from unidl.model_state import PythonValues
from unidl_torch.traced import Leaves, Traced, UntraceableError, leaves_of, nested

TOLERANCE = 1e-2
"""Largest difference between two steps from the same weights, relative to the size of the step. The operations are
the same; where sums round differently, Adam takes a full step for a gradient that is almost zero."""

OPERATIONS_A_BATCH = 500
"""Operations whose tracing takes as long as about a hundred of Keras's steps: for each such part of the longest trace
so far, one more batch of a new shape is run by Keras, since the last batch of an epoch occurs only once per epoch."""

MOST_WORDS = 160
"""Maximum characters of an error message; some of PyTorch's are a page long."""


class Step:
    """One kind of step: run by Keras for the first batches of a shape, then by the trace, provided that it
    agrees with Keras on a batch and a state other than those it was traced with.

    by_keras: takes the step on a batch. compute: the same without the parts that only Keras's loop needs. variables:
    returns those that it reads or changes. after: number of batches of a shape before tracing, which takes the time of
    several steps. lengths: lengths of the traces of this model, to which those of this step are added.
    """

    def __init__(
        self,
        by_keras: Callable[[Tree], Tree],
        compute: Callable[[Tree], Tree],
        variables: Callable[[], Sequence[keras.Variable]],
        *,
        after: int,
        gradients: bool = False,
        lengths: list[int],
    ) -> None:
        self._by_keras, self._compute, self._variables = by_keras, compute, variables
        self._after, self._gradients, self._lengths = after, gradients, lengths
        self._seen: Counter[Any] = Counter()
        self._untried: dict[Any, Traced] = {}
        self._traced: dict[Any, Traced] = {}
        self.why_not_traced: str | None = None

    def take(self, form: Tree, batches: Iterable[Leaves], values: PythonValues) -> list[Tree]:
        """Take a step on each batch and return their results. form: nesting of the tensors of a batch, with
        None where there is no tensor. values: the current Python values of the model."""
        for traced in self._traced.values():
            traced.bind()
        try:
            with torch.set_grad_enabled(self._gradients):
                return [self._taken(form, leaves, values) for leaves in batches]
        finally:
            for traced in self._traced.values():
                traced.tell_of_writes()

    def again(self, leaves: Leaves, values: PythonValues, device: torch.device) -> Tree | None:
        """Take a step on a batch by its trace, without what only Keras's step needs; None if it has no trace, or the
        variables are not where it needs them. values: as for `take`, so that they are read before."""
        traced = self._traced.get(_key(leaves))
        if traced is None or traced.is_recorded or self._gradients:
            return None
        traced.bind()
        if not traced.is_on(device):
            return None
        with torch.no_grad():
            results = traced(leaves)
        traced.tell_of_writes()
        return results

    def forget(self) -> None:
        """Discard the traces because their assumptions have changed."""
        self._seen.clear()
        self._untried.clear()
        self._traced.clear()

    def _taken(self, form: Tree, leaves: Leaves, values: PythonValues) -> Tree:
        key = _key(leaves)
        traced = self._traced.get(key)
        if traced is not None:
            return traced(leaves)
        batch = nested(form, leaves)
        if self.why_not_traced is None and key in self._untried:
            return self._compared(key, batch)
        after = max(self._after, max(self._lengths, default=0) // OPERATIONS_A_BATCH)
        if self.why_not_traced is None and self._seen[key] >= after:
            return self._trace(key, batch, values)
        self._seen[key] += 1
        return self._by_keras(batch)

    def _trace(self, key: Any, batch: Tree, values: PythonValues) -> Tree:
        """Trace the step of a batch, and run it with Keras."""
        variables = list({id(variable): variable for variable in self._variables()}.values())
        values.changed()
        try:
            self._untried[key] = Traced(self._compute, variables, _copied(batch), gradients=self._gradients)
            self._lengths.append(self._untried[key].operations)
        except UntraceableError as error:
            self.why_not_traced = f"the step cannot be traced: {error}"
        except Exception as error:  # noqa: BLE001 - user code may raise anything; the reason is recorded
            self.why_not_traced = f"the step cannot be traced: {_sentence(error)}"
        values.restore()  # a layer may count its calls
        results = self._by_keras(batch)
        counted = values.changed()
        if counted and self.why_not_traced is None:
            self.why_not_traced = f"the step changes {counted[0]} in Python, which a trace would not repeat"
        return results

    def _compared(self, key: Any, batch: Tree) -> Tree:
        """Run the step of a batch with Keras, and compare the result with that of the trace."""
        traced = self._untried.pop(key)
        values, found = traced.tried(_copied(batch))
        self.why_not_traced, results = disagreement(traced.variables, values, found, lambda: self._by_keras(batch))
        if self.why_not_traced is None:
            self._traced[key] = traced
            traced.bind()
        return results


def _key(leaves: Leaves) -> Any:
    return tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def disagreement(
    variables: Sequence[keras.Variable], values: Sequence[torch.Tensor], results: Tree, compute: Callable[[], Tree]
) -> tuple[str | None, Tree]:
    """Run the step with Keras; return how the trace differs, or None, and Keras's result.

    values, results: the variables after the trace, and its result.
    """
    before = [variable.value.detach().clone() for variable in variables]
    expected = compute()
    for variable, old, other in zip(variables, before, values, strict=True):
        new = variable.value.detach()
        if not _near(new - old, new - other, TOLERANCE, old):
            return f"the traced step updates '{variable.path}' differently than Keras", expected
    for one, other in zip(leaves_of(expected), leaves_of(results), strict=True):
        if not _near(one, one - other, TOLERANCE, one):
            return "the traced step returns a different result than Keras", expected
    return None, expected


def _near(way: torch.Tensor, apart: torch.Tensor, share: float, scale: torch.Tensor) -> bool:
    size, allowed, difference = (torch.linalg.vector_norm(value.double()) for value in (way, scale, apart))
    return bool(difference <= share * size + 1e-6 * allowed)


def _sentence(error: Exception) -> str:
    """Return an error message as one line, truncated."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
    return said if len(said) <= MOST_WORDS else f"{said[:MOST_WORDS]} ..."


def _copied(batch: Tree) -> Tree:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf.clone(), batch)
