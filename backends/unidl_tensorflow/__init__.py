"""The adapter for TensorFlow. Importing this package does not import TensorFlow; `ADAPTER.load()` does."""

from collections.abc import Callable, Mapping
from typing import Any

from unidl.backend import Adapter, Backend, Group


def _load() -> Backend:
    from unidl_tensorflow.quiet import quiet_standard_error

    with quiet_standard_error():
        from unidl_tensorflow.adapter import TensorFlowBackend

        backend = TensorFlowBackend()
        backend.devices()  # the first search for a GPU prints most messages
    return backend


def _join(group: Group) -> None:
    from unidl_tensorflow.joining import join

    join(group)


def _open_saved_model(content: bytes) -> tuple[Callable[[Any], Any], Mapping[str, str]]:
    from unidl_tensorflow.running import open_saved_model

    return open_saved_model(content)


ADAPTER = Adapter(
    name="tensorflow",
    framework="TensorFlow",
    keras_backend="tensorflow",
    module="tensorflow",
    distributions=("tensorflow", "tensorflow-cpu"),
    install="pip install 'unidl[tensorflow]'",
    load=_load,
    join=_join,
    environment={"TF_CPP_MIN_LOG_LEVEL": "1"},
    memory_on_demand={"TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    runtimes={"saved-model": _open_saved_model},
)
