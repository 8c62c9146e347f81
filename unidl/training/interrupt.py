"""Ctrl-C that lets the step under way finish."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Inside the block the first Ctrl-C sets `requested`; a second one raises KeyboardInterrupt as always.

    A signal that arrives inside a compiled step must not unwind it: on JAX the state of the model is owned by that
    step. Outside the main thread, where Python delivers no signals, this changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous = signal.getsignal(signal.SIGINT)
        self._installed = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread() and callable(self._previous):
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            signal.signal(signal.SIGINT, self._previous)
            raise KeyboardInterrupt
        self.requested = True
