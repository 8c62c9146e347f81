"""The worker's side: commands arrive on stdin, answers are written to the original stdout.

A command is a line of JSON, `{"command": "round", ...}`, and so is its answer; output of frameworks goes to stderr.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias

from unidl.errors import UnidlError
from unidl.notices import uncoloured

Command: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Any]


def serve(answer: Callable[[Command], Answer]) -> None:
    """Answer commands until "stop", or until the parent exits. An exception of `answer` becomes an answer with
    "error"."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    with _private_stdout() as out:
        while True:
            command = json.loads(lines.get())
            if command["command"] == "stop":
                return
            try:
                line = json.dumps(answer(command))
            except Exception as error:  # noqa: BLE001 - any exception is reported to the parent
                line = json.dumps(_told(error))
            out.write(line + "\n")
            out.flush()


def _told(error: Exception) -> Answer:
    """Return an error in the form the parent expects."""
    refused = isinstance(error, UnidlError)
    exit_code = error.exit_code if isinstance(error, UnidlError) else UnidlError.exit_code
    return {"error": uncoloured(f"{type(error).__name__}: {error}"), "exit_code": exit_code, "refused": refused}


def _listen(lines: queue.SimpleQueue[str]) -> None:
    """Forward commands. If the parent was killed, stdin is closed and current work is abandoned."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(1)


def _private_stdout() -> IO[str]:
    """Keep the channel to the parent, and redirect everything printed to stderr."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8")
