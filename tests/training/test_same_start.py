"""Every backend begins with the same numbers, so the first loss is the same; the bits themselves are held elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from unidl import build_cnn, build_lstm, devices, load_data
from unidl.backend import Chunk
from unidl.data import Split
from unidl.random import stream
from unidl.training.compiling import ensure_compiled
from unidl.training.order import chunks, epoch_order

HALF = 5e-6
"""Each backend within this of one constant, so any two of them within 1e-5."""


def digits():
    return load_data("digits").train


def words():
    """Drawn, since the bundled text is another in each version of Python."""
    drawn = stream(0, "words of a test").integers(1000, size=(200, 21), dtype=np.int32)
    return Split(drawn[:, :-1], drawn[:, -1])


@pytest.mark.parametrize(("build", "data", "expected"), [(build_cnn, digits, 2.291825), (build_lstm, words, 6.908151)])
def test_the_first_loss_is_the_same_everywhere(backend, build, data, expected):
    """A person who moves a run to another framework must not wonder whether it began the same."""
    model = build(seed=0)
    ensure_compiled(model)
    device = devices.resolve().device
    train = data()
    first: Chunk = next(chunks(train, epoch_order(len(train), seed=0, epoch=0, shuffle=True), batch_size=64, steps=1))
    with backend.on(device):
        loop = backend.compile_loop(model, device=device)
        loss = loop.run(first).read()["loss"]
        loop.commit()
    assert loss == pytest.approx(expected, abs=HALF)
