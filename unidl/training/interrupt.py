"""Ctrl-C, and the end that a scheduler asks for, that let the step under way finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from unidl.backend import Chunk, Logs, TrainLoop, Tree


class Interrupt:
    """Inside the block the first Ctrl-C sets `requested`; a second one raises KeyboardInterrupt as always.

    terminates: whether SIGTERM, by which schedulers end a job, does so as well; `signal` is the one that came first.

    Neither unwinds a step under way: on JAX the state of the model is owned by that step. Only a third one does, for a
    step that never ends. Outside the main thread, where Python delivers no signals, this changes nothing.
    """

    def __init__(self, *, terminates: bool = False) -> None:
        self.signal: int | None = None
        self._insisted = False
        self._busy = False
        self._previous: dict[int, Any] = {}
        interrupts = signal.getsignal(signal.SIGINT)
        if callable(interrupts):  # else it is ignored, as in a job in the background
            self._previous[signal.SIGINT] = interrupts
        ends = signal.getsignal(signal.SIGTERM)
        if terminates and ends is not None:  # else its handler is not Python's, and could not be put back
            self._previous[signal.SIGTERM] = ends
        self._installed: list[int] = []

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
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
        """Call `action`; a second Ctrl-C meanwhile raises when it is done."""
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
            pass  # a scheduler may say it to a process, and to its group
        elif self._busy and not self._insisted:
            self._insisted = True
        else:
            self._previous[signal.SIGINT](number, frame)


class UninterruptedLoop:
    """A `TrainLoop` whose every action is finished before Ctrl-C raises."""

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
