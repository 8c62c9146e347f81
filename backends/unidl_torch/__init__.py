"""The adapter for PyTorch. Importing this package does not import PyTorch; `ADAPTER.load()` does."""

from unidl.backend import Adapter, Backend


def _load() -> Backend:
    from unidl_torch.adapter import TorchBackend

    return TorchBackend()


ADAPTER = Adapter(
    name="torch",
    framework="PyTorch",
    keras_backend="torch",
    module="torch",
    distributions=("torch",),
    install="pip install 'unidl[torch]'",
    load=_load,
)
