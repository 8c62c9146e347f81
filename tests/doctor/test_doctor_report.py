"""What `unidl doctor` concludes from what it found, and how it is drawn."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from unidl.backend import Device
from unidl.cli.doctor import _sees, draw
from unidl.doctor.advice import advise
from unidl.doctor.frameworks import Answer, Framework
from unidl.doctor.survey import Automatic, Choice, Python, Survey, automatic, relevant
from unidl.machine.memory import Container, Memory
from unidl.machine.nvidia import Gpu, Gpus, parse
from unidl.machine.processor import Processor


def framework(name: str, **changes: object) -> Framework:
    """A backend that runs on a CPU-only build, with changes."""
    answer = Answer(
        versions={name: "1.2"},
        load_seconds=2.5,
        devices=(Device("cpu"),),
        why_no_gpu="it is a CPU-only build",
        device="cpu:0",
        device_reason="no GPU",
        precision="float32",
        precision_reason="a CPU has no Tensor Cores",
    )
    return replace(Framework(name, name.title(), True, "1.2", False, True, answer), **changes)


def absent(name: str) -> Framework:
    why_not = f"{name.title()} is not installed: pip install 'unidl[{name}]'"
    return framework(name, installed=False, usable=False, version=None, answer=Answer(why_not=why_not))


def test_auto_says_who_chose():
    rows = (framework("torch", selected=True),)
    assert automatic(rows, {}).backend == Choice("torch", "the first one installed")
    chosen = automatic(rows, {"UNIDL_BACKEND": "torch", "UNIDL_PRECISION": "tf32", "UNIDL_DEVICE": "auto"})
    assert chosen.backend == Choice("torch", "set by UNIDL_BACKEND=torch")
    assert chosen.device == Choice("cpu:0", "no GPU", None)
    assert chosen.precision == Choice("float32", "a CPU has no Tensor Cores", "UNIDL_PRECISION=tf32")


def test_auto_cannot_choose():
    unknown = automatic((framework("torch"),), {"KERAS_BACKEND": "openvino"})
    assert unknown.backend == Choice(None, "KERAS_BACKEND=openvino is not a known backend")
    broken = automatic((replace(absent("jax"), selected=True),), {"UNIDL_BACKEND": "jax"})
    assert broken.backend.value == "jax"
    assert broken.device == Choice(None, "Jax cannot be used")


def test_only_variables_that_matter_are_shown():
    shown = [
        "CUDA_VISIBLE_DEVICES",
        "JAX_PLATFORMS",
        "KERAS_BACKEND",
        "OMP_NUM_THREADS",
        "TF_CPP_MIN_LOG_LEVEL",
    ]
    hidden = ["HOME", "TF_TOKEN_app_terraform_io", "TF_VAR_password", "CUDA_KEY", "AWS_SECRET_ACCESS_KEY"]
    assert relevant(dict.fromkeys([*hidden, *reversed(shown)], "1")) == dict.fromkeys(shown, "1")


H200 = Gpus((Gpu(0, "NVIDIA H200", 143771 * 2**20, (9, 0), "570.133.20", 700.0, True),))
NO_GPU = Gpus((), "no NVIDIA driver")


def test_advice_when_all_is_well():
    rows = (framework("jax", selected=True), absent("torch"))
    assert advise(rows, NO_GPU, {}, None) == (
        "No problems found: Jax can be used.",
        "Torch is not installed: pip install 'unidl[torch]', preferably in a separate environment.",
    )


def test_advice_when_nothing_is_installed():
    rows = (absent("jax"), absent("torch"))
    assert advise(rows, NO_GPU, {}, None) == (
        "Jax is not installed: pip install 'unidl[jax]'.",
        "Torch is not installed: pip install 'unidl[torch]'.",
    )


def test_advice_for_a_gpu_that_a_cpu_only_build_cannot_use():
    (line,) = advise((framework("jax", selected=True),), H200, {}, None)
    assert line.startswith("The NVIDIA driver works, but Jax sees no GPU: it is a CPU-only build.")
    assert line.endswith(" Try pip install 'unidl[jax-cuda]'.")


def test_advice_for_a_hidden_gpu_is_not_to_install_anything():
    (line,) = advise((framework("jax", selected=True),), H200, {"CUDA_VISIBLE_DEVICES": ""}, None)
    assert "pip install" not in line


def test_advice_names_no_extra_that_does_not_exist():
    (line,) = advise((framework("torch", selected=True),), H200, {}, None)
    assert line == "The NVIDIA driver works, but Torch sees no GPU: it is a CPU-only build."


def test_advice_for_a_backend_that_does_not_load():
    broken = framework("jax", usable=False, selected=True, answer=Answer(why_not="it gave no answer"))
    lines = advise((broken, framework("torch")), NO_GPU, {"UNIDL_BACKEND": "jax"}, None)
    assert lines == (
        "Jax is installed but cannot be loaded. it gave no answer",
        "UNIDL_BACKEND='jax' selects a backend that cannot be used here; usable are torch.",
    )


def test_advice_for_a_misspelled_backend():
    (line,) = advise((framework("torch"),), NO_GPU, {"UNIDL_BACKEND": "pytorch"}, None)
    assert line.startswith("UNIDL_BACKEND='pytorch' is not a known backend; known are 'torch'.")


def test_kernels_that_are_off_are_told_beside_the_backend():
    """Else a person who has updated Keras finds out by a training that takes three times as long."""
    off = ("no kernel for LSTM: this Keras has no keras.src.backend.lstm",)
    row = framework("jax")
    assert _sees(replace(row, answer=replace(row.answer, kernels_off=off)))[-1] == off[0]


def test_the_drawing_tells_everything_at_80_columns():
    gpu = Device("gpu", 0, "NVIDIA H200", 143771 * 2**20, (9, 0))
    good = framework("jax", selected=True)
    good = replace(good, answer=replace(good.answer, devices=(Device("cpu"), gpu), why_no_gpu=None))
    broken = framework("torch", usable=False, answer=Answer(why_not="killed [signal 9]; " + "long " * 30 + "end"))
    choice = Choice("gpu:0", "the first GPU", "UNIDL_DEVICE=cpu")
    survey = Survey(
        "0.1.0",
        None,
        Python("3.11.7", "CPython", "/a/very/long/path" * 10, "Linux"),
        (good, broken, absent("tensorflow")),
        None,
        Automatic(choice, choice, choice),
        Processor(None, "riscv64", None, 4, 2, None),
        Memory(8 * 2**30, None),
        Container(1.5, 2**31),
        Gpus((*H200.found, *parse("1, NVIDIA GB10, [N/A], [N/A], [N/A], [N/A]"))),
        {"UNIDL_DEVICE": "cpu"},
        ("Tensorflow is not installed: pip install 'unidl[tensorflow]'.",),
    )
    stream = io.StringIO()
    draw(survey, Console(file=stream, width=80, markup=False, highlight=False))
    lines = stream.getvalue().splitlines()
    words = " ".join(" ".join(line.split()) for line in lines)
    assert max(map(len, lines)) <= 80
    assert stream.getvalue().isascii()
    for part in (
        "unidl 0.1.0, Keras is not installed",
        "CPU unknown (riscv64)",
        "cores unknown physical, 4 logical, 2 usable by this process",
        "features unknown",
        "memory 8.0 GiB, unknown available",
        "container limited to 1.5 CPU cores and 2.0 GiB of memory",
        "GPU 0 NVIDIA H200, 140.4 GiB, compute capability 9.0, Tensor Cores, driver 570.133.20, limit 700 W",
        "GPU 1 NVIDIA GB10, memory unknown, compute capability unknown, Tensor Cores unknown",
        "jax Jax 1.2 2.5 s cpu:0 gpu:0 NVIDIA H200, 140.4 GiB",
        "killed [signal 9];",
        "long end",
        "tensorflow Tensorflow - not installed",
        "gpu:0: the first GPU (overridden by UNIDL_DEVICE=cpu)",
        "pip install 'unidl[tensorflow]'.",
    ):
        assert part in words
    assert "".join(stream.getvalue().split()).count("/a/very/long/path") == 10
