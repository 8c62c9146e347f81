"""The worker's side: commands come in on stdin, answers go out on what stdout was when it started.

A command is a line of JSON, `{"command": "round", ...}`, and so is its answer; frameworks that print do so on stderr.
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
    """Answer commands until "stop", or until the parent is gone. What `answer` raises is an answer with an "error"."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    with _private_stdout() as out:
        while True:
            command = json.loads(lines.get())
            if command["command"] == "stop":
                return
            try:
                line = json.dumps(answer(command))
            except Exception as error:  # noqa: BLE001 - whatever a framework raises is told to the parent
                line = json.dumps(_told(error))
            out.write(line + "\n")
            out.flush()


def _told(error: Exception) -> Answer:
    """An error as the parent reads it."""
    refused = isinstance(error, UnidlError)
    exit_code = error.exit_code if isinstance(error, UnidlError) else UnidlError.exit_code
    return {"error": uncoloured(f"{type(error).__name__}: {error}"), "exit_code": exit_code, "refused": refused}


def _listen(lines: queue.SimpleQueue[str]) -> None:
    """Pass commands on. A parent that was killed leaves a closed stdin: then what is under way is for nobody."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(1)


def _private_stdout() -> IO[str]:
    """Keep the way to the parent, and send whatever anybody prints to stderr."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8")
