"""Keras's steps as flat lists of PyTorch's operations: traced once a batch shape, run without Keras's layers.

Keras spends some 3 ms of Python on each training step, whatever it computes. The trace holds the same operations,
forward, backward and optimizer, and changes the Keras variables in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import torch
from keras.src.trainers.data_adapters import data_adapter_utils
from torch.fx.experimental.proxy_tensor import make_fx

from unidl.backend import Tree
from unidl_torch.graphs import Constants, drop_detached, pool_before_relu

Leaves = list[torch.Tensor]
"""The tensors of a nest, in order."""

TOLERANCE = 1e-2
"""Largest difference between two steps from the same weights, as a share of how far the step goes. The operations are
the same; where sums end differently, Adam makes a whole step of a gradient that is almost zero."""


class Step:
    """One kind of step: as Keras takes it for the first batches of a shape, then as it was traced, if the trace
    computes what Keras computes.

    by_keras: takes the step on a batch. compute: the same without what only Keras's own loop needs. variables: gives
    those that it reads or changes. after: how many batches of a shape come first; tracing takes some steps' time.
    """

    def __init__(
        self,
        by_keras: Callable[[Tree], Tree],
        compute: Callable[[Tree], Tree],
        variables: Callable[[], Sequence[keras.Variable]],
        *,
        after: int,
        gradients: bool = False,
    ) -> None:
        self._by_keras, self._compute, self._variables = by_keras, compute, variables
        self._after, self._gradients = after, gradients
        self._seen: Counter[Any] = Counter()
        self._traced: dict[Any, Traced] = {}
        self.why_not_traced: str | None = None

    def take(self, form: Tree, batches: Iterable[Leaves]) -> list[Tree]:
        """Take a step on each batch, and return what each returns. form: how the tensors of a batch are nested, with
        None where there is none."""
        for traced in self._traced.values():
            traced.bind()
        try:
            with torch.set_grad_enabled(self._gradients):
                return [self._taken(form, leaves) for leaves in batches]
        finally:
            for traced in self._traced.values():
                traced.tell_of_writes()

    def _taken(self, form: Tree, leaves: Leaves) -> Tree:
        key = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        traced = self._traced.get(key)
        if traced is not None:
            return traced(leaves)
        batch = nested(form, leaves)
        if self._seen[key] >= self._after and self.why_not_traced is None:
            return self._trace(key, batch)
        self._seen[key] += 1
        return self._by_keras(batch)

    def _trace(self, key: Any, batch: Tree) -> Tree:
        """Trace the step, and take it both ways; copies of the batch, since a layer may write to it."""
        variables = _unique(self._variables())
        try:
            traced = Traced(self._compute, variables, _copied(batch), gradients=self._gradients)
        except Exception as error:  # noqa: BLE001 - a model's own code may raise anything; the reason is kept
            said = str(error).strip() or type(error).__name__
            self.why_not_traced = f"the step cannot be traced: {said.splitlines()[0].partition('. ')[0]}"
            return self._by_keras(batch)
        values, found = traced.tried(_copied(batch))
        self.why_not_traced, results = disagreement(variables, values, found, lambda: self._by_keras(batch))
        if self.why_not_traced is None:
            self._traced[key] = traced
            traced.bind()
        return results


class Traced:
    """What `compute` does with a batch of the shapes of `batch` to the variables, and what it returns, which is a nest
    of tensors. Tracing changes no variable and draws nothing from PyTorch's random stream.

    Raises whatever tracing raises, where the code looks at values: at a seed, or to decide what to do next.
    """

    def __init__(
        self, compute: Callable[[Tree], Tree], variables: Sequence[keras.Variable], batch: Tree, *, gradients: bool
    ) -> None:
        self._variables = variables
        self._form: Tree = None
        self._values: list[torch.Tensor] = []
        # oneDNN's LSTM keeps what its backward needs only where a gradient is possible; a trace needs none itself.
        self._gradients = gradients

        def traced(values: list[torch.Tensor], leaves: list[torch.Tensor]) -> list[torch.Tensor]:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                results = compute(nested(batch, leaves))
            for variable, value in mapping:
                new: Any = scope.get_current_value(variable)
                if new is not None and new is not value:
                    value.copy_(new)
            self._form = keras.tree.map_structure(lambda _: None, results)
            return _leaves(results)

        with torch.no_grad(), torch.random.fork_rng():
            self._graph = make_fx(traced, tracing_mode="real")(self._copies(), _leaves(batch))
        drop_detached(self._graph)
        pool_before_relu(self._graph.graph)
        self._graph.graph.eliminate_dead_code()
        self._constants = Constants(self._graph, len(variables))
        self._constants.update(self._copies())

    def bind(self) -> None:
        """Look where the variables are now; they stay there until somebody moves them."""
        self._values = [variable.value.detach() for variable in self._variables]
        self._constants.update(self._values)

    def tell_of_writes(self) -> None:
        """Count up the versions of the tensors that were written to, which PyTorch's fused Adam does not."""
        torch.autograd.graph.increment_version([self._values[place] for place in self._constants.written])

    def __call__(self, leaves: Leaves) -> Tree:
        """Compute, and change the variables."""
        return self._run(self._values, leaves)

    def tried(self, batch: Tree) -> tuple[list[torch.Tensor], Tree]:
        """Compute on copies of the variables and return them; nothing changes."""
        values = self._copies()
        with torch.random.fork_rng(), torch.set_grad_enabled(self._gradients):
            return values, self._run(values, _leaves(batch))

    def _run(self, values: list[torch.Tensor], leaves: Leaves) -> Tree:
        results = self._graph.forward(values, leaves)
        return keras.tree.pack_sequence_as(self._form, results) if results else None

    def _copies(self) -> list[torch.Tensor]:
        return [variable.value.detach().clone() for variable in self._variables]


def disagreement(
    variables: Sequence[keras.Variable], values: Sequence[torch.Tensor], results: Tree, compute: Callable[[], Tree]
) -> tuple[str | None, Tree]:
    """Compute as Keras does; say in what way that differs, or None if it does not, and what Keras returned.

    values, results: what the trace has made of the variables, and what it returned.
    """
    before = [variable.value.detach().clone() for variable in variables]
    expected = compute()
    for variable, old, other in zip(variables, before, values, strict=True):
        new = variable.value.detach()
        if not _near(new - old, new - other, TOLERANCE, old):
            return f"the traced step changes '{variable.path}' in another way than Keras", expected
    for one, other in zip(_leaves(expected), _leaves(results), strict=True):
        if not _near(one, one - other, TOLERANCE, one):
            return "the traced step returns something else than Keras", expected
    return None, expected


def _near(way: torch.Tensor, apart: torch.Tensor, share: float, scale: torch.Tensor) -> bool:
    size, allowed, difference = (torch.linalg.vector_norm(value.double()) for value in (way, scale, apart))
    return bool(difference <= share * size + 1e-6 * allowed)


def _unique(variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """The variables in their order, each once."""
    return list({id(variable): variable for variable in variables}.values())


def _copied(batch: Tree) -> Tree:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf.clone(), batch)


def _leaves(tree: Tree) -> Leaves:
    return [leaf for leaf in keras.tree.flatten(tree) if leaf is not None]


def nested(form: Tree, leaves: Leaves) -> Tree:
    """The tensors nested like `form`, which has None where there is none."""
    remaining = iter(leaves)
    flat = [None if leaf is None else next(remaining) for leaf in keras.tree.flatten(form)]
    return keras.tree.pack_sequence_as(form, flat)


def train_step(model: Any, batch: Tree) -> None:
    """What Keras's TorchTrainer.train_step computes, without the `grad` of a module's parameters and the results of the
    metrics, which are asked for once a chunk."""
    x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(batch)
    weights = model.trainable_variables
    learning = [variable.value.requires_grad_() for variable in weights]
    with torch.enable_grad():
        y_pred, loss = _outputs_and_loss(model, x, y, sample_weight, training=True)
        gradients = torch.autograd.grad(model.optimizer.scale_loss(loss), learning, allow_unused=True)
    for value in learning:
        value.requires_grad_(False)
    model.optimizer.apply(gradients, weights)
    detached = keras.tree.map_structure(torch.Tensor.detach, y_pred)
    model.compute_metrics(x, y, detached, sample_weight=sample_weight)


def test_step(model: Any, batch: Tree) -> None:
    """What Keras's TorchTrainer.test_step computes, without the results of the metrics."""
    x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(batch)
    y_pred, _ = _outputs_and_loss(model, x, y, sample_weight, training=False)
    model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _outputs_and_loss(model: Any, x: Tree, y: Tree, sample_weight: Tree, *, training: bool) -> tuple[Tree, Any]:
    """The outputs, and the loss, which the tracker of the losses has counted."""
    y_pred = model(x, training=training) if model._call_has_training_arg else model(x)
    loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
    model._loss_tracker.update_state(loss.detach(), sample_weight=_leaves(x)[0].shape[0])
    return y_pred, loss
