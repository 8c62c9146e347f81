"""Keras's steps as flat lists of PyTorch's operations: traced once a batch shape, run without Keras's layers.

Keras spends some 3 ms of Python on each training step, whatever it computes. The trace holds the same operations,
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
"""Largest difference between two steps from the same weights, as a share of how far the step goes. The operations are
the same; where sums end differently, Adam makes a whole step of a gradient that is almost zero."""

OPERATIONS_A_BATCH = 500
"""To trace so many takes as long as Keras's own step of some hundred: after each such part of the longest trace so far,
another batch of a new shape is left to Keras, since the last batch of an epoch comes once in each."""

MOST_WORDS = 160
"""Of what an error says; some of PyTorch's are a page long."""


class Step:
    """One kind of step: as Keras takes it for the first batches of a shape, then as it was traced, if the trace
    computes what Keras computes on another batch than the one it was made of, from another state.

    by_keras: takes the step on a batch. compute: the same without what only Keras's own loop needs. variables: gives
    those that it reads or changes. after: how many batches of a shape come first; tracing takes some steps' time.
    lengths: of the traces of this model, to which those of this step are added.
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
        """Take a step on each batch, and return what each returns. form: how the tensors of a batch are nested, with
        None where there is none. values: those of the model, as they are now."""
        for traced in self._traced.values():
            traced.bind()
        try:
            with torch.set_grad_enabled(self._gradients):
                return [self._taken(form, leaves, values) for leaves in batches]
        finally:
            for traced in self._traced.values():
                traced.tell_of_writes()

    def forget(self) -> None:
        """Trace anew: what the traces were made of has changed."""
        self._seen.clear()
        self._untried.clear()
        self._traced.clear()

    def _taken(self, form: Tree, leaves: Leaves, values: PythonValues) -> Tree:
        key = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
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
        """Trace the step of a batch, and take it as Keras does."""
        variables = list({id(variable): variable for variable in self._variables()}.values())
        values.changed()
        try:
            self._untried[key] = Traced(self._compute, variables, _copied(batch), gradients=self._gradients)
            self._lengths.append(self._untried[key].operations)
        except UntraceableError as error:
            self.why_not_traced = f"the step cannot be traced: {error}"
        except Exception as error:  # noqa: BLE001 - a model's own code may raise anything; the reason is kept
            self.why_not_traced = f"the step cannot be traced: {_sentence(error)}"
        values.restore()  # a layer may count its calls
        results = self._by_keras(batch)
        counted = values.changed()
        if counted and self.why_not_traced is None:
            self.why_not_traced = f"the step changes {counted[0]} in Python, which a trace would not repeat"
        return results

    def _compared(self, key: Any, batch: Tree) -> Tree:
        """Take the step of a batch as Keras does, and compare what the trace would have made of it."""
        traced = self._untried.pop(key)
        values, found = traced.tried(_copied(batch))
        self.why_not_traced, results = disagreement(traced.variables, values, found, lambda: self._by_keras(batch))
        if self.why_not_traced is None:
            self._traced[key] = traced
            traced.bind()
        return results


def disagreement(
    variables: Sequence[keras.Variable], values: Sequence[torch.Tensor], results: Tree, compute: Callable[[], Tree]
) -> tuple[str | None, Tree]:
    """Compute as Keras does; say in what way that differs, or None if it does not, and what Keras returned.

    values, results: what the trace has made of the variables, and what it returned.
    """
    before = [variable.value.detach().clone() for variable in variables]
    expected = compute()
    for variable, old, other in zip(variables, before, values, strict=True):
        new = variable.value.detach()
        if not _near(new - old, new - other, TOLERANCE, old):
            return f"the traced step changes '{variable.path}' in another way than Keras", expected
    for one, other in zip(leaves_of(expected), leaves_of(results), strict=True):
        if not _near(one, one - other, TOLERANCE, one):
            return "the traced step returns something else than Keras", expected
    return None, expected


def _near(way: torch.Tensor, apart: torch.Tensor, share: float, scale: torch.Tensor) -> bool:
    size, allowed, difference = (torch.linalg.vector_norm(value.double()) for value in (way, scale, apart))
    return bool(difference <= share * size + 1e-6 * allowed)


def _sentence(error: Exception) -> str:
    """What an error says, on one line, as far as a person reads it."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
    return said if len(said) <= MOST_WORDS else f"{said[:MOST_WORDS]} ..."


def _copied(batch: Tree) -> Tree:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf.clone(), batch)
