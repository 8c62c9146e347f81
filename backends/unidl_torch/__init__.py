"""The adapter for PyTorch. Importing this package does not import PyTorch; `ADAPTER.load()` does."""

from collections.abc import Callable, Mapping
from typing import Any

from unidl.backend import Adapter, Backend, Group


def _load() -> Backend:
    from unidl_torch.adapter import TorchBackend

    return TorchBackend()


def _join(group: Group) -> None:
    from unidl_torch.joining import join

    join(group)


def _open_pt2(content: bytes) -> tuple[Callable[[Any], Any], Mapping[str, str]]:
    from unidl_torch.running import open_pt2

    return open_pt2(content)


ADAPTER = Adapter(
    name="torch",
    framework="PyTorch",
    keras_backend="torch",
    module="torch",
    distributions=("torch",),
    install="pip install 'unidl[torch]'",
    load=_load,
    join=_join,
    runtimes={"pt2": _open_pt2},
)
