"""The precision policy: one word means one arithmetic on every framework, or an error that says why not.

Without this a comparison of two backends compares float32 with TF32.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as some

from unidl import precision
from unidl.backend import Device
from unidl.errors import PrecisionError
from unidl.precision import named

CPU = Device("cpu", 0, "CPU")
NAMES = ("float32", "tf32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


def gpu(*capability: int) -> Device:
    return Device("gpu", 1, "Some GPU", compute_capability=capability or None)  # pyright: ignore[reportArgumentType]


UNTOLD = gpu()
MAXWELL, VOLTA, TURING, AMPERE, HOPPER = gpu(5, 2), gpu(7, 0), gpu(7, 5), gpu(8, 0), gpu(9, 0)
DEVICES = [CPU, UNTOLD, MAXWELL, VOLTA, TURING, AMPERE, HOPPER]


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.delenv("UNIDL_PRECISION", raising=False)
    precision.notice.cache_clear()


def test_the_names_are_these():
    assert precision.NAMES == NAMES
    assert [named(name).dtype_policy for name in NAMES] == [
        "float32",
        "float32",
        "mixed_bfloat16",
        "mixed_float16",
        "bfloat16",
        "float16",
    ]
    assert [named(name).tf32 for name in NAMES] == [False, True, True, True, True, True]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: str(device.compute_capability or device.id))
def test_what_a_device_computes(name, device):
    """float32 everywhere; TF32 and bfloat16 from Ampere on; float16 almost everywhere; a CPU tries the mixed ones."""
    possible = {
        CPU: set(NAMES) - {"tf32"},
        UNTOLD: set(NAMES) - {"tf32"},
        MAXWELL: {"float32"},
        VOLTA: {"float32", "mixed_float16", "float16"},
        TURING: {"float32", "mixed_float16", "float16"},
        AMPERE: set(NAMES),
        HOPPER: set(NAMES),
    }[device]
    if name in possible:
        assert precision.resolve(name, device) == named(name)
        return
    with pytest.raises(PrecisionError, match=f"Cannot use precision='{name}' on {device.id}: "):
        precision.resolve(name, device)


@pytest.mark.parametrize(
    ("name", "device", "reason"),
    [
        ("tf32", CPU, "only in the Tensor Cores of NVIDIA GPUs; use 'float32' or 'auto'"),
        ("tf32", TURING, r"it needs compute capability 8\.0, but Some GPU has 7\.5"),
        ("mixed_bfloat16", VOLTA, r"it needs compute capability 8\.0, but Some GPU has 7\.0"),
        ("mixed_float16", MAXWELL, r"it needs compute capability 5\.3, but Some GPU has 5\.2"),
        ("tf32", UNTOLD, "Some GPU does not report a compute capability"),
    ],
)
def test_the_reason_is_in_the_error(name, device, reason):
    with pytest.raises(PrecisionError, match=reason):
        precision.resolve(name, device)


@pytest.mark.parametrize(
    ("device", "chosen"),
    [
        (CPU, "float32"),
        (UNTOLD, "float32"),
        (MAXWELL, "float32"),
        (VOLTA, "mixed_float16"),
        (TURING, "mixed_float16"),
        (AMPERE, "mixed_bfloat16"),
        (HOPPER, "mixed_bfloat16"),
    ],
    ids=str,
)
def test_auto_picks_by_device_and_says_what(device, chosen, caplog):
    with caplog.at_level(logging.INFO, "unidl"):
        assert precision.resolve("auto", device).name == chosen
    assert caplog.messages == [f"precision {chosen}: selected for {device.name}"]


@given(some.tuples(some.integers(0, 20), some.integers(0, 9)))
def test_auto_never_picks_what_the_device_refuses(capability):
    device = gpu(*capability)
    assert precision.why_not_on(precision.automatic(device), device) is None


@pytest.mark.parametrize("word", ["float64", "FLOAT32", "mixed", "bf16", "fp16"])
def test_unknown_words_are_refused_with_the_known_ones(word, monkeypatch):
    allowed = f"Allowed: 'auto', {', '.join(repr(name) for name in NAMES)}"
    with pytest.raises(PrecisionError, match=f"Cannot use precision='{word}'. {allowed}"):
        precision.resolve(word, CPU)
    monkeypatch.setenv("UNIDL_PRECISION", word)
    with pytest.raises(PrecisionError, match=f"Cannot use UNIDL_PRECISION='{word}'. {allowed}"):
        precision.resolve(None, CPU)


def test_an_argument_goes_before_the_environment_and_that_before_keras(backend, monkeypatch):
    import keras

    assert precision.resolve(None, CPU).name == "float32"
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        assert precision.resolve(None, CPU).name == "mixed_bfloat16"
        keras.config.set_dtype_policy("float64")
        with pytest.raises(PrecisionError, match=r"Cannot use keras\.config\.dtype_policy\(\)='float64'"):
            precision.resolve(None, CPU)
        monkeypatch.setenv("UNIDL_PRECISION", "mixed_float16")
        assert precision.resolve(None, CPU).name == "mixed_float16"
        assert precision.resolve("float32", CPU).name == "float32"
    finally:
        keras.config.set_dtype_policy(before)
    monkeypatch.setenv("UNIDL_PRECISION", "")
    assert precision.resolve(None, CPU).name == "float32"
