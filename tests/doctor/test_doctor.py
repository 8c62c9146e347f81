"""`unidl doctor`: what a person sends along with a bug report, and reads when a GPU is not used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from unidl.backend import Device
from unidl.doctor.frameworks import ask

PLUGINS = '''
    """Backends that behave, and backends that do not."""
    import os, signal, sys, time
    from unidl.backend import Adapter, Device, Devices

    class Good:
        name = "good"

        def versions(self):
            return {"plugins": "1.0"}

        def devices(self):
            gpu = Device("gpu", 0, "NVIDIA H200", 150_754_820_096, (9, 0))
            return Devices((Device("cpu"), gpu))

        def on(self, device):
            raise NotImplementedError

        def precision(self, policy):
            raise NotImplementedError

        def synchronise(self, tree):
            raise NotImplementedError

        def memory(self, device, reset=False):
            raise NotImplementedError

    class Deaf(Good):
        def devices(self):
            raise RuntimeError("cannot initialise [CUDA]")

    def load_good():
        print('{"why_not": "noise on stdout"}')
        sys.stderr.write("noise on stderr\\\\n")
        os.write(1, b"noise below Python\\\\n")
        return Good()

    def load_unlinked():
        raise ImportError("libcudart.so.13: cannot open shared object file")

    def load_killed():
        sys.stderr.write("a last word\\\\n\\\\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def load_exits():
        os._exit(3)

    def load_stuck():
        time.sleep(600)

    def adapter(name, load):
        return Adapter(name, name.title(), "numpy", "json", ("plugins",), f"pip install {name}", load)

    good, unlinked = adapter("good", load_good), adapter("unlinked", load_unlinked)
    killed, exits = adapter("killed", load_killed), adapter("exits", load_exits)
    stuck, deaf = adapter("stuck", load_stuck), adapter("deaf", Deaf)
'''

HIDE_REAL_FRAMEWORKS = "import sys; sys.modules.update(dict.fromkeys(('jax', 'torch', 'tensorflow'))); "


def install_plugins(folder: Path, names: list[str]) -> None:
    """Put a distribution into `folder` whose adapters are those of PLUGINS."""
    information = folder / "plugins-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    lines = "".join(f"{name} = plugins:{name}\n" for name in names)
    (information / "entry_points.txt").write_text(f"[unidl.backends]\n{lines}")
    (folder / "plugins.py").write_text(textwrap.dedent(PLUGINS).replace("\\\\", "\\"))


def first_on_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugins(tmp_path, ["good", "unlinked", "killed", "exits", "stuck", "deaf"])
    monkeypatch.setenv("PYTHONPATH", first_on_path(tmp_path))


def doctor(
    *words: str, before: str = "", stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `unidl doctor` as its own process. before: Python that runs first. variables: "" unsets one."""
    environment = {name: value for name, value in (os.environ | variables).items() if value}
    code = f"{before}import sys; from unidl.cli.main import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


# Each framework in a process of its own


@pytest.mark.usefixtures("plugins")
def test_noise_on_stdout_does_not_break_the_answer():
    answer = ask("good")
    assert answer.why_not is None
    assert answer.versions == {"plugins": "1.0"}
    assert answer.devices == (Device("cpu"), Device("gpu", 0, "NVIDIA H200", 150_754_820_096, (9, 0)))
    assert answer.why_no_gpu is None
    assert (answer.device, answer.precision) == ("gpu:0", "mixed_bfloat16")
    assert answer.precision_reason == "NVIDIA H200 has compute capability 9.0"
    assert answer.load_seconds is not None


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "why_not"),
    [
        ("unlinked", "importing Unlinked failed: libcudart.so.13: cannot open shared object file"),
        ("killed", "loading it failed: killed by signal 9 (Killed"),
        ("killed", "; its last line: a last word"),
        ("exits", "loading it failed: exited with code 3"),
        ("unheard-of", "Unknown backend 'unheard-of'"),
    ],
)
def test_a_backend_that_fails_gives_its_reason(name: str, why_not: str):
    answer = ask(name)
    assert why_not in str(answer.why_not)
    assert answer.devices == ()


@pytest.mark.usefixtures("plugins")
def test_an_error_inside_a_framework_is_told_without_its_traceback():
    assert ask("deaf").why_not == "RuntimeError: cannot initialise [CUDA]"


@pytest.mark.usefixtures("plugins")
def test_a_backend_that_hangs_is_given_up():
    assert ask("stuck", timeout_seconds=2).why_not == "loading it failed: no answer to 'load' within 2 s"


@pytest.mark.usefixtures("plugins")
def test_a_file_in_the_current_folder_is_no_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(folder)
    assert ask("good").why_not is None


# The command


@pytest.fixture(scope="module")
def real() -> subprocess.CompletedProcess[str]:
    """The answer of the framework that is under test."""
    return doctor("--json", TF_TOKEN_example_com="secret", UNIDL_DEVICE="cpu")


def test_the_backend_under_test_answers(real: subprocess.CompletedProcess[str]):
    assert real.returncode == 0, real.stderr
    survey = json.loads(real.stdout)
    row = next(row for row in survey["frameworks"] if row["name"] == os.environ["UNIDL_BACKEND"])
    assert row["installed"]
    assert row["selected"]
    assert row["usable"]
    answer = row["answer"]
    assert answer["versions"]["keras"] == survey["keras_version"]
    assert row["version"] in answer["versions"].values()
    assert answer["devices"][0]["kind"] == "cpu"
    assert bool(answer["why_no_gpu"]) != any(device["kind"] == "gpu" for device in answer["devices"])
    assert survey["automatic"]["backend"]["value"] == os.environ["UNIDL_BACKEND"]
    assert survey["automatic"]["device"]["value"] == answer["device"]
    assert survey["automatic"]["device"]["overridden_by"] == "UNIDL_DEVICE=cpu"


def test_json_has_stable_keys_and_whole_bytes(real: subprocess.CompletedProcess[str]):
    """A script that reads it breaks when a key goes."""
    survey = json.loads(real.stdout)
    assert {key: sorted(value) for key, value in survey.items() if isinstance(value, dict)} | {"environment": []} == {
        "python": ["executable", "implementation", "platform", "version"],
        "automatic": ["backend", "device", "precision"],
        "processor": [
            "architecture",
            "features",
            "logical_cores",
            "model",
            "physical_cores",
            "usable_cores",
        ],
        "memory": ["available_bytes", "total_bytes"],
        "container": ["cpu_cores", "memory_bytes"],
        "gpus": ["found", "why_none"],
        "environment": [],
    }
    assert {"unidl_version", "keras_version", "frameworks", "why_no_frameworks", "advice"} <= set(survey)
    assert isinstance(survey["memory"]["total_bytes"], int)
    assert survey["memory"]["total_bytes"] > 2**28
    limit_bytes = survey["container"]["memory_bytes"]
    assert limit_bytes is None or limit_bytes < survey["memory"]["total_bytes"]
    assert "secret" not in real.stdout


def test_without_any_framework_it_still_tells_the_rest_and_exits_with_3():
    answer = doctor(before=HIDE_REAL_FRAMEWORKS, UNIDL_BACKEND="", KERAS_BACKEND="", COLUMNS="80")
    assert answer.returncode == 3
    assert answer.stderr == ""
    assert "backend    nothing: no framework is installed" in answer.stdout
    assert "*  PyTorch is not installed: pip install 'unidl[torch]'." in answer.stdout
    assert "GPU" in answer.stdout
    assert max(len(line) for line in answer.stdout.splitlines()) <= 80


def test_a_reader_that_goes_away_is_no_error_message():
    """rich, left alone, ends with exit code 1 here."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    answer = doctor(before=HIDE_REAL_FRAMEWORKS, stdout=write_end)
    os.close(write_end)
    assert (answer.returncode, answer.stderr) == (141, "")


def test_a_broken_backend_is_a_row_and_not_the_end(tmp_path: Path):
    install_plugins(tmp_path, ["exits", "good", "unlinked"])
    answer = doctor("--json", before=HIDE_REAL_FRAMEWORKS, UNIDL_BACKEND="good", PYTHONPATH=first_on_path(tmp_path))
    assert answer.returncode == 0, answer.stderr
    survey = json.loads(answer.stdout)
    usable = {row["name"]: row["usable"] for row in survey["frameworks"] if row["installed"]}
    assert usable == {"exits": False, "good": True, "unlinked": False}
    assert survey["automatic"]["device"]["value"] == "gpu:0"
    assert "unidl: querying Unlinked in a separate process" in answer.stderr


def test_an_adapter_that_cannot_be_imported_is_a_row_with_its_reason(tmp_path: Path):
    install_plugins(tmp_path, ["absent"])
    answer = doctor("--json", "--quiet", before=HIDE_REAL_FRAMEWORKS, PYTHONPATH=first_on_path(tmp_path))
    assert answer.returncode == 3
    assert answer.stderr == ""
    survey = json.loads(answer.stdout)
    [why_not] = [row["answer"]["why_not"] for row in survey["frameworks"] if row["name"] == "absent"]
    assert "plugins:absent cannot be loaded" in why_not
    assert f"{why_not}." in survey["advice"]
