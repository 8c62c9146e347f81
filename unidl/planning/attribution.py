"""To which layer each moment of a training step belongs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from unidl.backend import Operation
from unidl.layer_paths import walk

if TYPE_CHECKING:
    import keras

OPTIMIZER, LOSS, OTHER = "(optimizer)", "(loss)", "(other)"


class Places:
    """Finds the layer of an operation by the names around it."""

    def __init__(self, model: keras.Model) -> None:
        names = {path: layer.name for path, layer in walk(model)}
        self._chains: dict[str, list[str]] = {}
        for path in names:
            parts = path.split("/")
            self._chains[path] = [names["/".join(parts[: count + 1])] for count in range(len(parts))] if path else []
        optimizer = getattr(model, "optimizer", None)
        inner = getattr(optimizer, "inner_optimizer", None)
        # Also without the number that Keras gives to the second one of a process, which an adapter may cut off.
        self._optimizers = _unnumbered({one.name for one in (optimizer, inner) if one is not None})
        self._losses = _unnumbered({"compile_loss", *_loss_names(model)})
        self._found: dict[str, str] = {}

    def of(self, scope: str) -> str:
        """Return the path of the innermost layer of a scope, or one of the names for what is no layer."""
        if scope not in self._found:
            self._found[scope] = self._look_up(scope.split("/"))
        return self._found[scope]

    def _look_up(self, words: Sequence[str]) -> str:
        best = max(
            (path for path, chain in self._chains.items() if chain and _in_order(chain, words)),
            key=lambda path: len(self._chains[path]),
            default=None,
        )
        if best is not None:
            return best
        if self._optimizers.intersection(words):
            return OPTIMIZER
        return LOSS if self._losses.intersection(words) else OTHER


def _unnumbered(names: set[str]) -> set[str]:
    return names | {re.sub(r"_\d+$", "", name) for name in names}


def _loss_names(model: keras.Model) -> set[str]:
    import keras

    found: set[str] = set()
    for loss in keras.tree.flatten(getattr(model, "loss", None)):
        try:
            one = keras.losses.get(loss)
        except (TypeError, ValueError):
            continue
        found.add(getattr(one, "name", None) or getattr(one, "__name__", ""))
    return found - {""}


def _in_order(chain: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether the names of a chain come in this order among the words."""
    rest = iter(words)
    return all(any(name == word for word in rest) for name in chain)


def seconds_by_place(operations: Iterable[Operation], places: Places) -> dict[str, float]:
    """Return for each place how long operations of it ran.

    Of operations inside one another on a lane the innermost counts; a moment in which several lanes work is shared
    among them, so that the sum is the time in which anything ran.
    """
    pieces = [piece for lane in _lanes(operations) for piece in _innermost(lane)]
    moments = sorted({moment for start, end, _ in pieces for moment in (start, end)})
    starting: dict[float, list[int]] = defaultdict(list)
    ending: dict[float, list[int]] = defaultdict(list)
    for number, (start, end, _) in enumerate(pieces):
        starting[start].append(number)
        ending[end].append(number)
    found: dict[str, float] = defaultdict(float)
    running: set[int] = set()
    for moment, following in pairwise(moments):
        running.difference_update(ending[moment])
        running.update(starting[moment])
        for number in running:
            found[places.of(pieces[number][2].scope)] += (following - moment) / len(running)
    return dict(found)


def _lanes(operations: Iterable[Operation]) -> Iterable[list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.end_seconds > operation.start_seconds:
            found[operation.lane].append(operation)
    return found.values()


def _innermost(lane: list[Operation]) -> list[tuple[float, float, Operation]]:
    """Cut the operations of a lane into pieces that do not overlap, each of the innermost operation."""
    pieces: list[tuple[float, float, Operation]] = []
    open_ones: list[Operation] = []
    now = 0.0

    def until(moment: float) -> None:
        nonlocal now
        while open_ones and now < moment:
            last = open_ones[-1]
            stop = min(last.end_seconds, moment)
            if stop > now:
                pieces.append((now, stop, last))
                now = stop
            if last.end_seconds <= now:
                open_ones.pop()
        now = max(now, moment)

    for operation in sorted(lane, key=lambda one: (one.start_seconds, -one.end_seconds)):
        until(operation.start_seconds)
        open_ones.append(operation)
    until(max(one.end_seconds for one in lane))
    return pieces
