"""The adapter for PyTorch. Importing this package does not import PyTorch; `ADAPTER.load()` does."""

from unidl.backend import Adapter, Backend, Group


def _load() -> Backend:
    from unidl_torch.adapter import TorchBackend

    return TorchBackend()


def _join(group: Group) -> None:
    from unidl_torch.joining import join

    join(group)


ADAPTER = Adapter(
    name="torch",
    framework="PyTorch",
    keras_backend="torch",
    module="torch",
    distributions=("torch",),
    install="pip install 'unidl[torch]'",
    load=_load,
    join=_join,
)
