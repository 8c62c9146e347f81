"""Keras's training step as a flat list of PyTorch's operations: traced once a batch shape, run without Keras's layers.

Keras spends some 3 ms of Python on each step, whatever it computes. The trace holds the same operations, forward,
backward and optimizer, and changes the Keras variables in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras.src.trainers.data_adapters import data_adapter_utils
from torch.fx.experimental.proxy_tensor import make_fx

from unidl.backend import Tree

TOLERANCE = 1e-2
"""Largest difference between two steps from the same weights, as a share of how far the step goes. The operations are
the same; where sums end differently, Adam makes a whole step of a gradient that is almost zero."""


class TracedStep:
    """One training step on batches of the shapes of `batch`. Tracing changes no variable.

    Raises whatever tracing raises, where the step looks at values: at a seed, or to decide what to do next.
    """

    def __init__(self, model: keras.Model, variables: Sequence[keras.Variable], batch: Tree) -> None:
        self._variables = variables

        def step(values: list[torch.Tensor], leaves: list[torch.Tensor]) -> None:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                _train_step(model, _nested(batch, leaves))
            for variable, value in mapping:
                new: Any = scope.get_current_value(variable)
                if new is not None and new is not value:
                    value.copy_(new)

        with torch.no_grad():
            self._graph = make_fx(step, tracing_mode="real")(self._copies(), _leaves(batch))
        self._graph.graph.eliminate_dead_code()
        self._graph.recompile()

    def __call__(self, batch: Tree) -> None:
        """Take the step and change the variables."""
        self._run([variable.value.detach() for variable in self._variables], batch)

    def tried(self, batch: Tree) -> list[torch.Tensor]:
        """Take the step on copies and return them; no variable changes."""
        values = self._copies()
        self._run(values, batch)
        return values

    def _run(self, values: list[torch.Tensor], batch: Tree) -> None:
        # Nothing here needs a gradient, but oneDNN's LSTM keeps what its backward needs only where one is possible.
        with torch.enable_grad():
            self._graph(values, _leaves(batch))

    def _copies(self) -> list[torch.Tensor]:
        return [variable.value.detach().clone() for variable in self._variables]


def disagreement(
    step: TracedStep, variables: Sequence[keras.Variable], batch: Tree, take: Callable[[], Any]
) -> str | None:
    """Take the step by `take`; say in what way the traced one differs, or return None if it does not."""
    before = [variable.value.detach().clone() for variable in variables]
    traced = step.tried(batch)
    take()
    for variable, old, other in zip(variables, before, traced, strict=True):
        new = variable.value.detach()
        way = torch.linalg.vector_norm((new - old).double())
        apart = torch.linalg.vector_norm((new - other).double())
        if not apart <= TOLERANCE * way + 1e-6 * torch.linalg.vector_norm(old.double()):
            return f"the traced step changes '{variable.path}' in another way than Keras"
    return None


def unique(variables: Sequence[keras.Variable]) -> list[keras.Variable]:
    """The variables in their order, each once."""
    return list({id(variable): variable for variable in variables}.values())


def _leaves(batch: Tree) -> list[torch.Tensor]:
    return [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]


def _nested(batch: Tree, leaves: Sequence[torch.Tensor]) -> Tree:
    remaining = iter(leaves)
    return keras.tree.map_structure(lambda leaf: None if leaf is None else next(remaining), batch)


def _train_step(model: Any, batch: Tree) -> None:
    """What Keras's TorchTrainer.train_step computes, without the `grad` of a module's parameters."""
    x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(batch)
    weights = model.trainable_variables
    learning = [variable.value.requires_grad_() for variable in weights]
    with torch.enable_grad():
        y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
        loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        rows = _leaves(x)[0].shape[0]
        model._loss_tracker.update_state(loss.detach(), sample_weight=rows)
        gradients = torch.autograd.grad(model.optimizer.scale_loss(loss), learning, allow_unused=True)
    for value in learning:
        value.requires_grad_(False)
    model.optimizer.apply(gradients, weights)
    detached = keras.tree.map_structure(torch.Tensor.detach, y_pred)
    model.compute_metrics(x, y, detached, sample_weight=sample_weight)
