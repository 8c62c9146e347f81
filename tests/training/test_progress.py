"""What is seen of a run while it runs: bars for people, lines for files, JSON for programs, or nothing."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from training import points, shared_model

from unidl.errors import UsageError
from unidl.training.progress import JsonProgress, LineProgress, QuietProgress, Refresh, format_metrics
from unidl.training.progress_bar import BarProgress
from unidl.training.progress_styles import make_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(progress, *, why=None):
    """Tell of two epochs of 1000 rows, the second of which ends after 600."""
    progress.start("a model [bold]on a device[/]", epochs=12, rows=1000)
    for epoch, rows in enumerate((1000, 600)):
        progress.epoch_started(epoch)
        for done in range(100, rows + 1, 100):
            shown = {"loss": 1 / done, "accuracy": done / 2000} if progress.wants_metrics() else None
            progress.advanced(done, shown)
        progress.epoch_ended({"loss": 0.12345678, "accuracy": 0.98765, "val_loss": 1234.5678}, 2.0)
    progress.stop(why)


def test_lines_are_one_an_epoch():
    out = io.StringIO()
    told(LineProgress(out), why="stopped early after epoch 2")
    assert out.getvalue().splitlines() == [
        "a model [bold]on a device[/]",
        "epoch  1/12  loss 0.1235  accuracy 98.77%  val loss 1235  500 samples/s  2.0 s",
        "epoch  2/12  loss 0.1235  accuracy 98.77%  val loss 1235  300 samples/s  2.0 s",
        "stopped early after epoch 2",
    ]


def test_every_line_of_json_is_json():
    """A program reads these; Python's own NaN would stop its parser."""
    out = io.StringIO()
    progress = JsonProgress(out)
    told(progress)
    progress.epoch_ended({"loss": float("nan"), "f1": np.array([0.5, np.inf], np.float32)}, 2.0)
    events = [json.loads(line, parse_constant=pytest.fail) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "stop", "epoch"]
    assert events[0] == {"event": "start", "title": "a model [bold]on a device[/]", "epochs": 12, "rows": 1000}
    assert events[1] == {
        "event": "epoch",
        "epoch": 1,
        "metrics": {"loss": 0.12345678, "accuracy": 0.98765, "val_loss": 1234.5678},
        "seconds": 2.0,
        "samples_per_second": 500.0,
        "waiting_share": 0.0,
    }
    assert events[2]["samples_per_second"] == 300.0
    assert events[3] == {"event": "stop", "why": None}
    assert events[4]["metrics"] == {"loss": None, "f1": [0.5, None]}


def test_quiet_says_nothing(capsys):
    progress = make_progress("quiet")
    assert type(progress) is QuietProgress
    told(progress, why="because")
    assert capsys.readouterr() == ("", "")


def test_a_bar_shows_loss_accuracy_speed_and_time_left(monkeypatch):
    monkeypatch.setattr(Refresh, "due", lambda self: True)
    out = io.StringIO()
    progress = BarProgress(Console(file=out, force_terminal=True, width=120, color_system=None))
    progress.start("a model [bold]on a device[/]", epochs=2, rows=1000)
    progress.epoch_started(0)
    for done in (100, 200, 300):
        progress.advanced(done, {"loss": 0.5, "accuracy": 0.25, "f1[0]": 1.0})
        progress._bar.refresh()
    live = out.getvalue()
    progress.epoch_ended({"loss": 0.25, "accuracy": 0.5, "f1[0]": 1.0}, 2.0)
    progress.stop("stopped by Ctrl-C in epoch 2")
    assert "a model [bold]on a device[/]" in live
    assert "epoch 1/2" in live
    assert "loss 0.5  accuracy 25.00%  f1[0] 1" in live
    assert "samples/s" in live
    assert ":" in live.rpartition("samples/s")[2]
    ended = out.getvalue()[len(live) :]
    assert "epoch 1/2  loss 0.25  accuracy 50.00%  f1[0] 1  150 samples/s  2.0 s" in ended
    assert "stopped by Ctrl-C in epoch 2" in ended


def test_a_narrow_terminal_is_no_error():
    out = io.StringIO()
    told(BarProgress(Console(file=out, force_terminal=True, width=20)))
    assert "samples/s" in out.getvalue().replace("\n", "")


@pytest.mark.parametrize(
    ("style", "stream", "kind"),
    [
        ("auto", Terminal(), BarProgress),
        ("auto", io.StringIO(), LineProgress),
        ("bar", io.StringIO(), BarProgress),
        ("lines", Terminal(), LineProgress),
        ("json", Terminal(), JsonProgress),
    ],
)
def test_auto_looks_whether_somebody_is_watching(style, stream, kind):
    assert type(make_progress(style, stream)) is kind


@pytest.mark.parametrize("style", ["fancy", "", None])
def test_other_styles_are_refused(style):
    with pytest.raises(UsageError, match="Allowed: 'auto', 'bar', 'lines', 'json', 'quiet'"):
        make_progress(style)


def test_metrics_are_written_as_people_read_them():
    metrics = {"loss": 1.23456, "val_binary_accuracy": 0.5, "f1_score": np.array([0.25, 0.75]), "tiny": 1.2e-7}
    assert format_metrics(metrics) == "loss 1.235  val binary accuracy 50.00%  mean f1 score 0.5  tiny 1.2e-07"
    assert format_metrics({}) == ""
    assert format_metrics({"loss": float("nan")}) == "loss nan"


def test_a_display_is_due_after_a_while_only(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("unidl.training.progress.time.monotonic", lambda: now[0])
    refresh = Refresh(0.2)
    assert [refresh.due(), refresh.due()] == [True, False]
    now[0] += 0.3
    assert [refresh.due(), refresh.due()] == [True, False]


@pytest.mark.parametrize("style", ["lines", "json", "bar"])
def test_a_run_is_told_as_it_was(backend, capsys, style):
    history = shared_model().afresh().fit(validation=points(9), epochs=2, progress=style).history
    said = capsys.readouterr().out
    if style == "bar":
        said = " ".join(said.split())  # a line is broken where the terminal ends
    last = {name: values[-1] for name, values in history.items()}
    if style == "json":
        epochs = [json.loads(line) for line in said.splitlines()]
        assert [event["event"] for event in epochs] == ["start", "epoch", "epoch", "stop"]
        assert epochs[2]["metrics"] == last
    else:
        assert f" loss {last['loss']:.4g} " in said
        assert f"val mean absolute error {last['val_mean_absolute_error']:.4g}" in said


def test_steps_that_wait_for_data_are_told_of():
    """Else a person buys a faster device for a disk that is slow."""
    out = io.StringIO()
    lines = LineProgress(out)
    lines.start("a model", epochs=2, rows=10)
    lines.epoch_started(0)
    lines.epoch_ended({"loss": 1.0}, 2.0, 0.08)
    lines.epoch_ended({"loss": 1.0}, 2.0, 0.5)
    _, first, second = out.getvalue().splitlines()
    assert "waited" not in first, "four in a hundred are not worth a word"
    assert second.endswith("waited for data 25% of the time")
    out = io.StringIO()
    JsonProgress(out).epoch_ended({"loss": 1.0}, 2.0, 0.5)
    assert json.loads(out.getvalue())["waiting_share"] == 0.25
