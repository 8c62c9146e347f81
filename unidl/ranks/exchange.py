"""The processes of a run, which agree on what they do: rank 0 collects what each says, and tells all."""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from unidl.errors import RankError, UnidlError
from unidl.notices import notice
from unidl.ranks.channel import Channel
from unidl.ranks.connecting import accept, connect
from unidl.ranks.environment import Member

GRACE_SECONDS = 6.0
"""After the failure of a rank, how long the others may take to end by themselves: one may be held in an exchange of the
framework that never ends."""
HEARD_SECONDS = 3.0
"""How long a rank whose framework has failed waits for the word of the rank that made it fail."""
NOTICE_SECONDS = 60.0


class Ranks:
    """This process among those of a run. Every method that exchanges must be called by all ranks in the same order."""

    def __init__(self, member: Member) -> None:
        self.rank, self.size, self.local_rank = member.rank, member.size, member.local_rank
        self._member = member
        self._channels: dict[int, Channel] = {}
        self._words: dict[int, queue.Queue[Any]] = {rank: queue.Queue() for rank in range(member.size)}
        self._failure: str | None = None
        self._failed = threading.Event()
        self._ended: set[int] = set()
        self._closed = self._raised = self._is_own = False
        self._lock = threading.Lock()
        self.device_kind: str | None = None
        """What this process computes on, "cpu" or "gpu", once a device has been chosen."""
        self.ending: threading.Timer | None = None
        """After a failure: ends this process in a while."""

    def start(self) -> None:
        """Connect all ranks. Raises `RankError` if they do not all come in time."""
        if self.rank == 0:
            accept(self._member, self._joined, self._failed.is_set)
            if self._failed.is_set():
                raise self._error()
            for channel in self._channels.values():
                channel.send({"welcome": True})
        else:
            self._joined(0, connect(self._member))
        atexit.register(self.close)
        previous = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
            self.fail(error)
            previous(kind, error, trace)

        sys.excepthook = hook

    @property
    def own_host(self) -> str:
        """The address at which the others reach this process."""
        return self._member.host if self.rank == 0 else self._channels[0].own_host

    def exchange(self, at: str, word: Any) -> list[Any]:
        """Return what each rank says, in their order. at: what is decided. word: a JSON value.

        Raises `RankError` if a rank has failed, or decides something else: it is at another place of the program.
        """
        if self.rank:
            self._channels[0].send({"word": [at, word]})
            return self._next(0)
        words = [word]
        for rank in range(1, self.size):
            other, said = self._next(rank)
            if other != at:
                self._record(
                    f"rank {rank} is at {other!r} while rank 0 is at {at!r}: all ranks must make the same calls of "
                    "fit, evaluate and predict"
                )
                raise self._error()
            words.append(said)
        for channel in self._channels.values():
            channel.send({"words": words})
        return words

    def agreed(self, at: str, word: Any) -> Any:
        """Return what rank 0 says."""
        return self.exchange(at, word if self.rank == 0 else None)[0]

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank cannot go on, and end this process in a while if it does not end itself."""
        if self._failed.is_set() or self._closed:
            return
        text = str(error).strip() or type(error).__name__
        said = text if isinstance(error, UnidlError) else f"{type(error).__name__}: {text}"
        self._raised = self._is_own = True
        first = said.splitlines()[0]
        self._record(f"rank {self.rank} failed: {first}", exit_code=getattr(error, "exit_code", 1))

    @contextmanager
    def telling(self) -> Generator[None]:
        """Inside it, an error of this rank ends all ranks, and the error of another rank is raised here."""
        try:
            yield
        except RankError:
            raise
        except BaseException as error:
            # By an error of the framework, also one that an error of ours tells of, as when an exchange has failed.
            wrapped = isinstance(error, UnidlError) and error.__cause__ is not None
            if wrapped or not isinstance(error, UnidlError | KeyboardInterrupt | SystemExit):
                self._failed.wait(HEARD_SECONDS)  # the framework may fail before the word of the other rank comes
                if self._failed.is_set() and not self._is_own:
                    raise self._error() from error
            self.fail(error)
            raise

    def close(self) -> None:
        """Say goodbye: the others need not take the end of this process for a failure."""
        if not self._closed:
            self._closed = True
            for channel in self._channels.values():
                channel.send({"bye": self.rank})

    def _next(self, rank: int) -> Any:
        """Wait for the next word of a rank."""
        started = time.monotonic()
        told = False
        while True:
            try:
                return self._words[rank].get(timeout=0.2 if self._failed.is_set() or rank in self._ended else 1.0)
            except queue.Empty:
                pass
            if self._failed.is_set():
                raise self._error()
            if rank in self._ended:
                self._record(f"rank {rank} has ended while rank {self.rank} goes on")
                raise self._error()
            if not told and time.monotonic() - started > NOTICE_SECONDS:
                told = True
                notice(f"rank {self.rank} has waited {NOTICE_SECONDS:.0f} s for rank {rank}")

    def _joined(self, rank: int, channel: Channel) -> None:
        self._channels[rank] = channel
        channel.start(lambda message: self._heard(rank, message))

    def _heard(self, rank: int, message: Any) -> None:
        """Handle a message of a connected rank; None is the end of the connection."""
        if message is None:
            if rank not in self._ended and not self._closed:
                why = "it was killed, perhaps because memory ran out, or its machine cannot be reached"
                self._record(f"rank {rank} ended without a word: {why}", say=True)
        elif "word" in message:
            self._words[rank].put(message["word"])
        elif "words" in message:
            self._words[rank].put(message["words"])
        elif "failed" in message:
            self._record(message["failed"], say=True)
        elif "bye" in message:
            self._ended.add(rank)

    def _record(self, sentence: str, exit_code: int = RankError.exit_code, *, say: bool = False) -> None:
        """Keep the first failure, and tell it to the others. say: write it at once, since the framework may end this
        process before an error of Python is shown."""
        with self._lock:
            if self._failed.is_set():
                return
            self._failure = sentence
            self._failed.set()
        if say:
            sys.stderr.write(f"unidl: {sentence}\n")
            sys.stderr.flush()
        for channel in list(self._channels.values()):
            channel.send({"failed": sentence})
        self.ending = threading.Timer(GRACE_SECONDS, self._end, (exit_code,))
        self.ending.daemon = True
        self.ending.start()

    def _end(self, exit_code: int) -> None:
        """End this process, which an exchange of the framework may hold for ever."""
        if not self._raised:
            sys.stderr.write(f"unidl: {self._failure}; rank {self.rank} is held by its framework, and ends too\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)

    def _error(self) -> RankError:
        self._raised = True
        return RankError(
            f"{self._failure}\nRank {self.rank} ends too. Start all ranks again; with resume=True and a folder for "
            "checkpoints they go on from the newest one."
        )
