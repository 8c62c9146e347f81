"""One cell in a process of its own: `python -m unidl.compare.worker`.

Reads a command a line on stdin, `{"command": "round", ...}`, and answers each with a line of JSON on what stdout was
when it started; frameworks that print do so on stderr.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

Command = Mapping[str, Any]
Answer = dict[str, Any]


def main() -> None:
    """Answer commands until "stop", or until the parent is gone."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    with _private_stdout() as out:
        worker = Worker()
        while True:
            command = json.loads(lines.get())
            if command["command"] == "stop":
                return
            try:
                answer = worker.answer(command)
            except Exception as error:  # noqa: BLE001 - whatever a framework raises becomes the reason of a row
                answer = {"error": f"{type(error).__name__}: {error}"}
            out.write(json.dumps(answer) + "\n")
            out.flush()


class Worker:
    """Answers the commands for one cell; the first must be "prepare"."""

    def __init__(self) -> None:
        from unidl.compare.measurements import Measurements

        self._measurements: Measurements | None = None

    def answer(self, command: Command) -> Answer:
        """Do what one command says."""
        from unidl.compare.measurements import Measurements, prepare

        if command["command"] == "prepare":
            self._measurements, answer = prepare(command)
            return answer
        if self._measurements is None:
            raise RuntimeError("the first command must be 'prepare'")
        known: dict[str, Callable[[Measurements, Command], Answer]] = {
            "round": lambda measurements, command: measurements.round(command["epochs"]),
            "memory": lambda measurements, command: measurements.memory(),
            "inference": lambda measurements, command: measurements.inference(command["seconds"]),
            "peak": lambda measurements, command: measurements.peak(command["seconds"]),
        }
        return known[command["command"]](self._measurements, command)


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


if __name__ == "__main__":
    main()
