"""What must be the same on all ranks before they train: compared by digests, so that a difference is an error at once
instead of a run that goes wrong, or waits for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from unidl.errors import RankError, UsageError
from unidl.ranks.exchange import Ranks

if TYPE_CHECKING:
    import keras

HINTS = {
    "model": "Build it equally on all ranks; layers that draw their first weights need a seed: call "
    "keras.utils.set_random_seed(0) before the model is built.",
    "data": "Load the same data in the same order on all ranks: each takes its own rows of each batch.",
    "settings": "Call fit with the same arguments on all ranks.",
    "checkpoint": "All ranks read the same folder: put it where every machine sees it.",
    "call": "All ranks must make the same calls of fit, evaluate and predict.",
    "versions": "Install the same versions on all machines.",
    "program": "Start the same program on all machines.",
    "device": "Use a GPU on all ranks, or the CPU: pass device= or set UNIDL_DEVICE.",
}
"""What to do about a difference, by what differs."""

LONGEST_TEXT = 60
"""Characters of a value that are sent and shown; a digest stands for the rest."""


def require_alike(ranks: Ranks, said: Mapping[str, Any]) -> None:
    """Raise `UsageError`, on every rank, if what one says differs from what rank 0 says. said: JSON values by what they
    describe, one of `HINTS`."""
    own = {name: dict(_leaves(value)) for name, value in said.items()}
    words = ranks.exchange("the comparison of " + ", ".join(own), own)
    for rank, word in enumerate(words):
        for name, first in words[0].items():
            difference = _difference(rank, word.get(name, {}), first)
            if difference is not None:
                raise UsageError(
                    f"The {name} of rank {rank} differs from that of rank 0: {difference}.\n{HINTS.get(name, '')}"
                )


def _difference(rank: int, other: Mapping[str, str], first: Mapping[str, str]) -> str | None:
    """Return the first value that differs, in words."""
    for place in (*first, *(place for place in other if place not in first)):
        if other.get(place) == first.get(place):
            continue
        there, here = (_readable(values.get(place)) for values in (other, first))
        what = f"{place} " if place else ""
        return f"{what}is {there} there, and {here} on rank 0"
    return None


def _readable(value: str | None) -> str:
    return "missing" if value is None else value


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The parts of a JSON value by where they are in it."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{place}, {name}" if place else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in value):
        parts: Sequence[Any] = value
        for number, part in enumerate(parts):
            yield from _leaves(part, f"{place}[{number}]")
    else:
        text = json.dumps(value, sort_keys=True, default=_without_address)
        short = text[:LONGEST_TEXT]
        yield place, short if short == text else f"{short}... (digest {_digest(text.encode())[:8]})"


def _without_address(value: Any) -> Any:
    """A number of NumPy, or the type of an object: what it prints may hold its address, which differs between ranks."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "shape", None) == () else type(value).__name__


def require_same_weights(ranks: Ranks, model: keras.Model, when: str) -> None:
    """Raise `RankError`, on every rank, if the weights of the ranks differ. when: the end of the sentence."""
    words = ranks.exchange("the comparison of weights", digest_of(model))
    for rank, word in enumerate(words):
        if word != words[0]:
            raise RankError(
                f"The weights of rank {rank} differ from those of rank 0 {when}. Callbacks that are not Keras's run on "
                "rank 0 only: they may set model.stop_training and the learning rate, but change no weights."
            )


def digest_of(model: keras.Model) -> str:
    """Return a digest of all weights."""
    from unidl.saving.saved import as_array

    digest = blake2b(digest_size=16)
    for weight in model.weights:
        array = as_array(weight)
        digest.update(f"{weight.path} {array.shape} {array.dtype} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
