"""What is said of a comparison. Without this a person reads a claim that the rounds do not carry, or misses why a row
is empty."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from comparisons import STEADY, cell, measured, run_of
from PIL import Image
from rich.console import Console

from unidl.compare.chart import chart
from unidl.compare.markdown import markdown
from unidl.compare.report import draw
from unidl.compare.results import Measurement, Run, from_json, to_json
from unidl.compare.summary import FASTEST_NATIVE, Row, summarize

ALL = {"jax unidl": 2000.0, "jax keras": 900.0, "jax native": 1000.0, "torch unidl": 1004.0, "torch native": 1500.0}
FAILED = Measurement(cell("torch keras"), failure="out of memory: CUDA | said *so*")


def rows_of(run: Run) -> dict[str, Row]:
    [summary] = summarize(run)
    return {row.measurement.cell.title: row for row in summary.rows}


def drawn(*runs: Run) -> str:
    stream = io.StringIO()
    draw(runs, Console(file=stream, width=140, markup=False, highlight=False, emoji=False))
    return stream.getvalue()


def test_ratios_are_to_the_same_backend_and_to_the_fastest_native():
    rows = rows_of(run_of(ALL))
    ratios = {name: ratio.interval.median for name, ratio in rows["jax unidl"].ratios.items()}
    assert ratios == pytest.approx({"native": 2.0, "keras": 2000 / 900, FASTEST_NATIVE: 2000 / 1500}, rel=0.02)
    assert rows["torch native"].ratios == {}
    assert rows["torch unidl"].ratios["native"].interval.median == pytest.approx(1004 / 1500, rel=0.02)


def test_kernels_that_are_off_are_told_beside_the_row():
    """Else a slower Keras reads like a slower library."""
    off = "no kernel for LSTM: this Keras has no keras.src.backend.lstm"
    row = measured(cell("torch unidl"), [1000.0] * 7, kernels_off=(off,))
    run = run_of({"jax unidl": 1000.0}, row)
    assert from_json(json.loads(json.dumps(to_json([run])))) == (run,)
    for text in (drawn(run), markdown([run])):
        assert f"torch unidl: {off}" in " ".join(text.split())


def test_the_fastest_is_bold_only_if_it_is_told_apart_from_all_others():
    assert [title for title, row in rows_of(run_of(ALL)).items() if row.best] == ["jax unidl"]
    tie = run_of({"jax unidl": 1000.0, "jax keras": 500.0, "jax native": 1003.0})
    assert not any(row.best for row in rows_of(tie).values())


def test_a_tie_is_not_claimed():
    row = rows_of(run_of({"jax unidl": 1004.0, "jax keras": 500.0, "jax native": 1000.0}))["jax unidl"]
    assert not row.ratios["native"].claimed
    assert row.ratios["keras"].claimed


def test_nothing_is_claimed_below_what_the_twin_shows():
    clear = run_of({"jax unidl": 1200.0, "jax native": 1000.0})
    assert rows_of(clear)["jax unidl"].ratios["native"].claimed
    noisy = run_of({"jax unidl": 1200.0, "jax native": 1000.0}, twin=1.3)
    assert not rows_of(noisy)["jax unidl"].ratios["native"].claimed
    assert not any(row.best for row in rows_of(noisy).values())


def test_without_a_twin_nothing_is_claimed():
    run = run_of({"jax unidl": 2000.0, "jax native": 1000.0})
    alone = Run(**vars(run) | {"measurements": tuple(one for one in run.measurements if not one.cell.twin)})
    assert not rows_of(alone)["jax unidl"].ratios["native"].claimed
    assert "no difference is claimed" in drawn(alone)


def test_few_rounds_claim_nothing_and_say_so():
    run = run_of({"jax unidl": 2000.0, "jax native": 1000.0}, rounds=3)
    assert not rows_of(run)["jax unidl"].ratios["native"].claimed
    assert "fewer than 5 rounds" in drawn(run)


@pytest.mark.parametrize("wrong", [2.31, float("nan")])
def test_another_loss_is_another_computation(wrong):
    """2.31 for 2.3 is 0.4% off, and float32 allows 0.1%."""
    other = measured(cell("jax native"), STEADY, losses=(wrong, 2.29, 2.28))
    run = run_of({"jax unidl": 1000.0, "jax keras": 900.0}, other)
    rows = rows_of(run)
    assert "its loss in step 1" in str(rows["jax native"].why_not_compared)
    assert "native" not in rows["jax unidl"].ratios
    assert "not compared: its loss in step 1" in drawn(run)


def test_the_same_loss_up_to_rounding_is_compared():
    other = measured(cell("jax native"), STEADY, losses=(2.3001, 2.29, 2.28))
    rows = rows_of(run_of({"jax unidl": 1000.0}, other))
    assert rows["jax native"].why_not_compared is None
    assert "native" in rows["jax unidl"].ratios


def test_mixed_precision_may_differ_by_more():
    half = {"precision": "mixed_bfloat16"}
    ours = measured(cell("jax unidl", **half), STEADY)
    other = measured(cell("jax native", **half), STEADY, losses=(2.35, 2.29, 2.28))
    run = Run(**vars(run_of({"jax unidl": 1.0})) | {"measurements": (ours, other)})
    assert rows_of(run)["jax native"].why_not_compared is None


def test_a_failed_row_stays_with_its_reason():
    text = drawn(run_of(ALL, FAILED))
    assert re.search(r"^  torch +keras +failed( +-)+", text, flags=re.MULTILINE)
    assert "torch keras: failed: out of memory: CUDA | said *so*" in text


def test_what_is_missing_is_told():
    incomplete = measured(cell("jax native"), STEADY, why_incomplete="inference: no such thing")
    assert "jax native: incomplete: inference: no such thing" in drawn(run_of({"jax unidl": 1.0}, incomplete))


def test_energy_is_shown_where_it_is_counted():
    run = run_of({"jax unidl": 1000.0})
    rounds = tuple(replace(one, joules=2.5) for one in run.measurements[0].rounds)
    counted = Run(**vars(run) | {"measurements": (replace(run.measurements[0], rounds=rounds),)})
    assert re.search(r"mJ/sample *$", drawn(counted), flags=re.MULTILINE)
    assert rows_of(counted)["jax unidl"].joules_per_sample == pytest.approx(0.0025)
    assert "mJ/sample" not in drawn(run)


def test_the_table_has_the_numbers():
    text = drawn(run_of(ALL, FAILED))
    for words in (
        "cnn, batch 128, float32, cpu",
        "Some CPU, 8 usable cores, Python 3.12.1, jax 0.6, keras 3.15",
        "2,000 (",
        "20.0",  # GFLOP/s
        "20%",
        "54,321",
        "1.5",
        "512",
        "A/A: measuring the first cell twice gives 1.01 (0.99-1.01); no difference below 1.4% is claimed.",
    ):
        assert words in text, words
    assert text.isascii()


def test_the_peak_is_that_of_the_machine():
    """One product that met a busy moment would show a model beyond what the machine can do."""
    rates = [1000.0] * 7  # of 1e7 FLOP a sample
    lstm = measured(cell("jax unidl", "lstm"), rates, peak_flops_per_second=4e9)
    bfloat16 = measured(cell("jax unidl", precision="mixed_bfloat16"), rates, peak_flops_per_second=8e9)
    summaries = summarize(run_of({"jax unidl": 2000.0}, lstm, bfloat16))
    shares = [summary.rows[0].share_of_peak for summary in summaries]
    assert shares == pytest.approx([0.2, 0.1, 1.0], rel=0.02)  # no product was as fast as the step in bfloat16


def test_nothing_is_compared_across_files():
    """The same cells in two runs are two groups, each with its own ratios."""
    slow = run_of({"jax unidl": 500.0, "jax native": 1000.0})
    fast = run_of({"jax unidl": 2000.0, "jax native": 1000.0})
    text = drawn(slow, fast)
    assert "0.50 (" in text
    assert "2.00 (" in text
    assert "0.25" not in text
    assert "4.00" not in text


def test_an_interrupted_run_and_a_busy_machine_are_told():
    run = run_of({"jax unidl": 1000.0})
    told = Run(**vars(run) | {"interrupted": True, "environment": run.environment | {"load_average": 7.0}})
    assert "Interrupted" in drawn(told)
    assert "load average 7.0 on 8 cores" in drawn(told)
    assert "Interrupted" not in drawn(run)


def test_markdown_says_the_same_and_is_valid():
    text = markdown([run_of(ALL, FAILED)], chart="chart.png")
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("| ") or line.startswith("|-")]
    assert "![samples per second by backend and implementation](chart.png)" in lines
    assert sum(line.startswith("| **jax** | **unidl** | **2,000 (") for line in table) == 1
    assert r"- torch keras: failed: out of memory: CUDA \| said \*so\*" in lines
    widths = [line.replace(r"\|", "").count("|") for line in table]
    assert widths == [9] * len(widths)  # both tables happen to have 8 columns


def test_the_chart_is_a_picture_of_all_rows(monkeypatch: pytest.MonkeyPatch):
    small = Image.open(io.BytesIO(chart([run_of({"jax unidl": 1000.0})])))
    large = Image.open(io.BytesIO(chart([run_of(ALL, FAILED)])))
    assert small.format == large.format == "PNG"
    assert large.height > small.height
    assert len(large.convert("RGB").getcolors(large.width * large.height)) > 20


def test_a_group_where_everything_failed_is_drawn():
    run = Run(**vars(run_of({"jax unidl": 1.0})) | {"measurements": (FAILED,)})
    assert "failed" in drawn(run)
    assert chart([run])
    assert "failed" in markdown([run])
