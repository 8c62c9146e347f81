"""`unidl doctor --cluster`: what the ranks find. Without it a slow link or another version shows as a slow or a failed
run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from processes import run

from unidl import registry

registry.current()  # before Keras is imported, which would settle the backend by itself

from unidl.scale.cluster import RankReport, differences  # noqa: E402

ZERO = RankReport(0, "here", "gpu:0", "a GPU", ["cpu:0", "gpu:0"], {"keras": "3.15.1", "numpy": "2.4.6"})


def test_what_differs_is_told_by_rank() -> None:
    other = replace(ZERO, rank=2, device="cpu:0", versions={"keras": "3.14.0", "numpy": "2.4.6"})
    assert differences([ZERO, replace(ZERO, rank=1, device="gpu:1"), other]) == [
        "keras: 3.14.0 on rank 2, 3.15.1 on rank 0",
        "device: cpu:0 on rank 2, gpu:0 on rank 0",
    ]


def test_a_process_that_runs_alone_is_told_to_start_several(capsys: pytest.CaptureFixture[str]) -> None:
    from unidl.cli.main import main

    assert main(["doctor", "--cluster"]) == 2
    assert "unidl launch -n 2 doctor --cluster" in capsys.readouterr().err


@pytest.mark.scale
def test_each_rank_tells_what_it_has_and_how_fast_sums_are() -> None:
    done = run(sys.executable, "-m", "unidl", "launch", "-n", "2", "doctor", "--cluster", "--json", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("[0] {"))
    found = json.loads(line.removeprefix("[0] "))
    assert [one["rank"] for one in found["ranks"]] == [0, 1]
    assert not found["differences"]
    for one in found["ranks"]:
        assert one["device"] == "cpu:0"
        assert one["sum_seconds"] > 0 < one["latency_seconds"]
        assert abs(one["clock_seconds"]) <= one["clock_within_seconds"] + 1e-3  # one machine has one clock
