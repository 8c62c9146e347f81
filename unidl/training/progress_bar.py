"""Progress on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from unidl.training.progress import Metrics, QuietProgress, Refresh, format_metrics, waiting


class SpeedColumn(ProgressColumn):
    """Training rows per second, over the epoch so far."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} samples/s" if speed else "", style="cyan")


class BarProgress(QuietProgress):
    """A bar for the current epoch with metrics, samples/s and time left; finished epochs remain as lines above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Names come from the user: brackets in them are not markup.
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[metrics]}", markup=False),
            SpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            expand=True,
            transient=True,
        )
        self._refresh = Refresh()
        self._task = self._bar.add_task("", total=None, visible=False, metrics="")
        self._epochs = self._rows_done = 0
        self._rows: int | None = None
        self._description = ""

    def message(self, text: str) -> None:
        self._console.print(text, markup=False)

    def start(self, title: str, *, epochs: int, rows: int | None) -> None:
        self._epochs, self._rows = epochs, rows
        self._console.print(title, style="bold", markup=False)
        self._bar.start()

    def epoch_started(self, epoch: int) -> None:
        self._description = f"epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}"
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._description, total=self._rows, metrics="")

    def wants_metrics(self) -> bool:
        return self._refresh.due()

    def advanced(self, rows_done: int, metrics: Metrics | None) -> None:
        self._rows_done = rows_done
        if metrics is None:
            self._bar.update(self._task, completed=rows_done)
        else:
            self._bar.update(self._task, completed=rows_done, metrics=format_metrics(metrics))

    def epoch_ended(self, metrics: Metrics, seconds: float, waited: float = 0.0) -> None:
        self._bar.update(self._task, visible=False)
        speed = self._rows_done / max(seconds, 1e-9)
        line = Text(f"{self._description}  {format_metrics(metrics)}")
        line.append(f"  {speed:,.0f} samples/s", style="cyan")
        line.append(f"  {seconds:.1f} s")
        line.append(waiting(seconds, waited), style="yellow")
        self._console.print(line)

    def stop(self, why: str | None = None) -> None:
        self._bar.stop()
        if why:
            self._console.print(why, style="yellow", markup=False)
