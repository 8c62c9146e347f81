"""The loop of a process that trains together with others: a step is mapped over the devices of all processes, each of
which computes its rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from unidl.backend import Share, Tree
from unidl_jax.data import DeviceData
from unidl_jax.loop import JaxLoop, State

AXIS = "rows"


class JaxShare:
    """Implements `Share`: equally many consecutive rows of a batch."""

    def __init__(self, size: int, total: int) -> None:
        self.rows = total // size
        self.first = jax.lax.axis_index(AXIS) * self.rows
        self.total = total

    def sum(self, tensors: Sequence[jax.Array]) -> list[jax.Array]:
        return jax.lax.psum(list(tensors), AXIS)

    def gather(self, tensor: jax.Array) -> jax.Array:
        return jax.lax.all_gather(jnp.asarray(tensor), AXIS, tiled=True)


class SharedJaxLoop(JaxLoop):
    """Implements `TrainLoop` for one of several processes, or for several devices of one."""

    def __init__(
        self,
        model: keras.Model,
        devices: Sequence[Any],
        own: Sequence[Any],
        steps: int | None,
        within: Callable[[Share], AbstractContextManager[Any]],
    ) -> None:
        super().__init__(model, own[0], steps)
        self._within = within
        self._mesh = Mesh(np.array(devices), (AXIS,))
        self._everywhere = NamedSharding(self._mesh, Spec())
        self._own_devices = own
        self._data = DeviceData(own[0], self._replicated)

    def _train_step(self, state: State, data: Tree, rows: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        return self._mapped(super()._train_step, rows, state, data)

    def _test_step(
        self, trainable: Any, non_trainable: Any, metrics: Any, data: Tree, rows: jax.Array
    ) -> tuple[Any, Any, Any]:
        return self._mapped(super()._test_step, rows, trainable, non_trainable, metrics, data)

    def _predict_step(self, trainable: Any, non_trainable: Any, data: Tree, rows: jax.Array) -> tuple[Tree, Any]:
        def step(*arguments: Any) -> tuple[Tree, Any]:
            outputs, others = super(SharedJaxLoop, self)._predict_step(*arguments)
            share = self._share(rows.shape[0])
            return outputs if share is None else keras.tree.map_structure(share.gather, outputs), others

        return self._mapped(step, rows, trainable, non_trainable, data, exact=False)

    def _share(self, total: int) -> JaxShare | None:
        """Return the share of a device; None of a batch that each computes whole, since it cannot be shared evenly."""
        return None if total % self._mesh.size else JaxShare(self._mesh.size, total)

    def _mapped(self, step: Callable[..., Any], rows: jax.Array, *others: Any, exact: bool = True) -> Any:
        """Compute a step on each device. The rows are its last argument. exact: whether a share is computed as part of
        the whole batch, which an output of its own rows does not need."""
        total = rows.shape[0]

        def shared(*arguments: Any) -> Any:
            share = self._share(total)
            with self._within(share) if exact and share is not None else nullcontext():
                return step(*arguments)

        of_rows = Spec() if total % self._mesh.size else Spec(AXIS)
        places = (*(Spec() for _ in others), of_rows)
        mapped = jax.shard_map(shared, mesh=self._mesh, in_specs=places, out_specs=Spec(), check_vma=False)
        return mapped(*others, rows)

    def _placed(self, value: jax.Array) -> jax.Array:
        return value if value.sharding == self._everywhere else self._replicated(value)

    def _returned(self, value: jax.Array) -> jax.Array:
        """An array of this process alone: eager operations do not mix it with those of all processes."""
        return value.addressable_data(0)

    def _replicated(self, tree: Tree) -> Tree:
        def everywhere(value: Any) -> jax.Array:
            copies = [jax.device_put(value, device) for device in self._own_devices]
            return jax.make_array_from_single_device_arrays(copies[0].shape, self._everywhere, copies)

        return keras.tree.map_structure(lambda value: None if value is None else everywhere(value), tree)
