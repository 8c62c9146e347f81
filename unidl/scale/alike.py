"""What must be the same on all ranks before they train: compared by digests, so that a difference is an error at once
instead of a run that goes wrong, or waits for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
}
"""What to do about a difference, by what differs."""


def require_alike(ranks: Ranks, said: Mapping[str, Any]) -> None:
    """Raise `UsageError`, on every rank, if what one says differs from what rank 0 says. said: JSON values by what they
    describe, one of `HINTS`."""
    own = {name: json.dumps(value, sort_keys=True, default=str) for name, value in said.items()}
    words = ranks.exchange(
        "the comparison of " + ", ".join(own),
        {name: [_digest(text.encode()), text[:200]] for name, text in own.items()},
    )
    for rank, word in enumerate(words):
        for name, (digest, text) in words[0].items():
            if word.get(name, [None, ""])[0] != digest:
                raise UsageError(
                    f"The {name} of rank {rank} differs from that of rank 0: {word.get(name, ['', ''])[1]} there, "
                    f"{text} on rank 0.\n{HINTS.get(name, '')}"
                )


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
