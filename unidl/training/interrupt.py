"""Handling of Ctrl-C and SIGTERM that lets the current step finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from unidl.backend import Chunk, Logs, TrainLoop, Tree


class Interrupt:
    """While active, the first Ctrl-C sets `requested`, and a second one raises KeyboardInterrupt as usual.

    terminates: whether SIGTERM, which schedulers send to end a job, is handled likewise; `signal` is the first one
    received.

    Neither interrupts the current step, since on JAX that step owns the state of the model. Only a third one does, for
    a step that never ends. Outside the main thread, where Python delivers no signals, this has no effect.
    """

    def __init__(self, *, terminates: bool = False) -> None:
        self.signal: int | None = None
        self._insisted = False
        self._busy = False
        self._previous: dict[int, Any] = {}
        interrupts = signal.getsignal(signal.SIGINT)
        if callable(interrupts):  # otherwise it is ignored, as in a background job
            self._previous[signal.SIGINT] = interrupts
        ends = signal.getsignal(signal.SIGTERM)
        if terminates and ends is not None:  # otherwise its handler is not Python's and could not be restored
            self._previous[signal.SIGTERM] = ends
        self._installed: list[int] = []

    @property
    def requested(self) -> bool:
        """Whether a signal has been received."""
        return self.signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._previous:
                signal.signal(number, self._handle)
                self._installed.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._installed:
            signal.signal(number, self._previous[number])

    def finish(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Call `action`; a second Ctrl-C during the call raises after it has finished."""
        self._busy = True
        try:
            result = action(*arguments)
        finally:
            self._busy = False
        if self._insisted:
            self._insisted = False
            self._previous[signal.SIGINT](signal.SIGINT, None)
        return result

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
        elif number == signal.SIGTERM:
            pass  # a scheduler may send it both to a process and to its group
        elif self._busy and not self._insisted:
            self._insisted = True
        else:
            self._previous[signal.SIGINT](number, frame)


class UninterruptedLoop:
    """A `TrainLoop` that finishes each action before Ctrl-C raises."""

    def __init__(self, loop: TrainLoop, interrupt: Interrupt) -> None:
        self._loop = loop
        self._interrupt = interrupt
        self.steps_per_dispatch = loop.steps_per_dispatch
        self.why_not_compiled = loop.why_not_compiled
        self.follows_values, self.follows_variables = loop.follows_values, loop.follows_variables

    def run(self, chunk: Chunk) -> Logs:
        return self._interrupt.finish(self._loop.run, chunk)

    def test(self, chunk: Chunk) -> Logs:
        return self._interrupt.finish(self._loop.test, chunk)

    def predict(self, chunk: Chunk) -> Tree:
        return self._interrupt.finish(self._loop.predict, chunk)

    def reset_metrics(self) -> None:
        self._interrupt.finish(self._loop.reset_metrics)

    def commit(self) -> None:
        self._interrupt.finish(self._loop.commit)
