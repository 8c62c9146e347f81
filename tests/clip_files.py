"""Small video files for the tests of clips."""

from __future__ import annotations

import numpy as np
import pytest

av = pytest.importorskip("av", reason="an extra: unidl[video]")

SIDE, COUNT = 32, 24


def write_clip(path, *, right=True, frames=COUNT, first=2):
    """A bright square that moves a pixel a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for step in range(frames):
            image = np.full((SIDE, SIDE, 3), 30, np.uint8)
            left = first + (step if right else frames - 1 - step) % (SIDE - 8)
            image[10:18, left : left + 6] = 220
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
