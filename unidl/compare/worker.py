"""One cell in a separate process: `python -m unidl.compare.worker`."""

from __future__ import annotations

from collections.abc import Callable

from unidl.workers.serving import Answer, Command, serve


def main() -> None:
    """Answer commands until "stop", or until the parent exits."""
    serve(Worker().answer)


class Worker:
    """Answers the commands for one cell; the first must be "prepare"."""

    def __init__(self) -> None:
        from unidl.compare.measurements import Measurements

        self._measurements: Measurements | None = None

    def answer(self, command: Command) -> Answer:
        """Execute one command."""
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


if __name__ == "__main__":
    main()
