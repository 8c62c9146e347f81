"""The same tests for every backend; UNIDL_BACKEND names the one of this process."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

import pytest

os.environ.setdefault("UNIDL_BACKEND", "jax")
os.environ.setdefault("UNIDL_DEVICE", "cpu")
if "UNIDL_CACHE_DIR" not in os.environ:
    # What this machine has kept is not what is tested; the processes of one run of the tests share one folder.
    os.environ["UNIDL_CACHE_DIR"] = tempfile.mkdtemp(prefix="unidl-tests-")
    atexit.register(shutil.rmtree, os.environ["UNIDL_CACHE_DIR"], ignore_errors=True)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with a thread a core each spend their time waiting for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell. What the tests start would inherit it, and wait for ever for its Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def backend():
    """The backend under test. One that cannot be loaded is an error, never a skip."""
    from unidl import registry

    return registry.current()


@pytest.fixture(scope="session", autouse=True)
def float32_is_float32():
    """Have Keras's own `fit` and plain layers compute on a GPU as unidl does, for tests that compare them: left alone,
    the frameworks compute convolutions, recurrent layers or matrix products of float32 in TF32 there."""
    if not os.environ["UNIDL_DEVICE"].startswith("gpu"):
        yield
        return
    from unidl import precision, registry

    with registry.current().precision(precision.FLOAT32):
        yield
