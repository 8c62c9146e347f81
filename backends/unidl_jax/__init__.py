"""The adapter for JAX. Importing this package does not import JAX; `ADAPTER.load()` does."""

from unidl.backend import Adapter, Backend, Group


def _load() -> Backend:
    from unidl_jax.adapter import JaxBackend

    return JaxBackend()


def _join(group: Group) -> None:
    from unidl_jax.joining import join

    join(group)


ADAPTER = Adapter(
    name="jax",
    framework="JAX",
    keras_backend="jax",
    module="jax",
    distributions=("jax",),
    install="pip install 'unidl[jax]'",
    load=_load,
    join=_join,
    memory_on_demand={"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    float64={"JAX_ENABLE_X64": "1"},
    compiles_loops=True,
)
