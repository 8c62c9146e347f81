"""Tracing of one step to a flat list of PyTorch operations, and detection of steps for which such a list is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import keras
import torch
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, make_fx

from unidl.backend import Tree
from unidl.keras_internals import compute_loss, takes_training, track_loss
from unidl_torch.graphs import Constants, drop_detached, pool_before_relu
from unidl_torch.recording import Recording

Leaves = list[torch.Tensor]
"""The tensors of a nest, in order."""

Tensor: Any = torch.Tensor

Ran = TypeVar("Ran", bound=torch.fx.Interpreter)

READS = {
    getattr(Tensor, name): name.strip("_")
    for name in (
        *("numpy", "tolist", "item", "__array__", "__dlpack__"),
        *("__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__"),
    )
}
"""Methods that convert a tensor to a Python or NumPy value."""

ALIGNMENT = 64
"""Alignment of PyTorch's CPU memory in bytes. Initial weights come from NumPy, which aligns to 16 bytes:
their position differs between processes. Results are bit-identical from run to run only if memory is aligned equally
(Intel, "Developer Guide for oneMKL", "Obtaining Numerically Reproducible Results")."""

LONG = 3000
"""Number of PyTorch calls in a step above which the time for tracing is announced: about 2 ms each."""

log = logging.getLogger("unidl")


class UntraceableError(BaseException):
    """A step that a list of operations would not repeat; its text is the end of a sentence that says why.

    Not an Exception: Keras rewrites the text of every Exception that passes a layer, and a layer may catch it."""


class Traced:
    """A trace of `compute` for batches with the shapes of `batch`: its updates of variables, and its result, a nest
    of tensors. Tracing does not change variables or PyTorch's random state.

    variables: those that the step is known to read or change; others are added when they are encountered. Raises
    `UntraceableError`, or whatever tracing raises.
    """

    def __init__(
        self, compute: Callable[[Tree], Tree], variables: Sequence[keras.Variable], batch: Tree, *, gradients: bool
    ) -> None:
        self.variables = list(variables)
        self._form: Tree = None
        self._values: list[torch.Tensor] = []
        # oneDNN's LSTM stores what its backward pass needs only if a gradient is possible; the trace itself needs none.
        self._gradients = gradients
        while met := self._trace(compute, batch):  # few, since Keras does not allow creating variables in a scope
            self.variables += met
        drop_detached(self._graph)
        pool_before_relu(self._graph.graph)
        self._graph.graph.eliminate_dead_code()
        self._constants = Constants(self._graph, len(self.variables))
        self._constants.update(self._copies())
        self.operations = len(self._graph.graph.nodes)
        self._recording: Recording | None = None
        if any(leaf.is_cuda for leaf in leaves_of(batch)):
            self._recording = Recording(self._graph, len(self.variables), lambda: self._constants.computed)

    def _trace(self, compute: Callable[[Tree], Tree], batch: Tree) -> list[keras.Variable]:
        """Trace with the listed variables; return others that the step uses, with which it must be traced again."""
        mapping: list[tuple[keras.Variable, torch.Tensor]] = []
        scope: _Scope | None = None
        reading = _Reading()

        def traced(values: list[torch.Tensor], leaves: Leaves) -> Leaves:
            nonlocal scope
            mapping[:] = zip(self.variables, values, strict=True)
            with _Scope(mapping) as scope, reading:
                results = compute(nested(batch, leaves))
            self._form = keras.tree.map_structure(lambda _: None, results)
            return leaves_of(results)

        try:
            with torch.no_grad(), self._random_state_kept(), _one_fake_mode():
                self._graph = make_fx(traced, tracing_mode="real")(self._copies(), leaves_of(batch))
        except Exception:
            # Reads are reported first: the code that read a value may have caught the error and failed later.
            reading.raise_if_any()
            raise
        reading.raise_if_any()
        return scope.met() if scope is not None else []

    def bind(self) -> None:
        """Look up the current memory of the variables; it stays valid until they are moved."""
        self._values = [variable.value.detach() for variable in self.variables]
        self._constants.update(self._values)
        if self._recording is not None:
            self._recording.bind(self._values)

    @property
    def is_recorded(self) -> bool:
        """Whether it runs as a graph of the GPU."""
        return self._recording is not None

    def is_on(self, device: torch.device) -> bool:
        """Return whether all variables are on a device, in aligned memory, as `bind` found them."""
        return all(value.device == device and not value.data_ptr() % ALIGNMENT for value in self._values)

    def tell_of_writes(self) -> None:
        """Increment the versions of the tensors that were written to, which PyTorch's fused Adam does not do."""
        torch.autograd.graph.increment_version([self._values[place] for place in self._constants.written])

    def __call__(self, leaves: Leaves) -> Tree:
        """Run the trace and update the variables."""
        run = self._graph.forward if self._recording is None else self._recording
        return self._packed(run(self._values, leaves))

    def tried(self, batch: Tree) -> tuple[list[torch.Tensor], Tree]:
        """Run the trace on copies of the variables and return them; nothing else changes."""
        values = self._copies()
        self._constants.update(values)
        with self._random_state_kept(), torch.set_grad_enabled(self._gradients):
            return values, self._packed(self._graph.forward(values, leaves_of(batch)))

    def run_with(self, interpreter: Callable[[torch.fx.GraphModule], Ran], batch: Tree) -> Ran:
        """Run the trace with one of PyTorch's interpreters on copies of the variables, and return the interpreter."""
        values = self._copies()
        self._constants.update(values)
        run = interpreter(self._graph)
        with torch.random.fork_rng(), torch.set_grad_enabled(self._gradients):
            run.run(values, leaves_of(batch))
        return run

    def _packed(self, results: Leaves) -> Tree:
        return keras.tree.pack_sequence_as(self._form, results) if results else None

    def _random_state_kept(self) -> AbstractContextManager[Any]:
        """Restore PyTorch's random states afterwards, on the GPUs that the variables are on: of all it would warn."""
        devices = {variable.value.device.index for variable in self.variables if variable.value.is_cuda}
        return torch.random.fork_rng(sorted(devices))

    def _copies(self) -> list[torch.Tensor]:
        return [_copy(variable.value.detach()) for variable in self.variables]


class _Scope(keras.StatelessScope):
    """Keras's scope in which variables have the values of a mapping, and which records others that are used.

    An assignment to a variable is written to its value immediately, as outside of a scope: code that reads it
    afterwards, or holds the earlier value under another name, sees the same as outside, and no gradient passes through
    it.
    """

    def __init__(self, mapping: Sequence[tuple[keras.Variable, torch.Tensor]]) -> None:
        super().__init__(state_mapping=mapping, collect_losses=True)
        self._known = {id(variable) for variable, _ in mapping}
        self._met: dict[int, keras.Variable] = {}

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        variable, value = update
        self._meet(variable)
        own = self.state_mapping.get(id(variable))
        if own is None:
            super().add_update(update)
        elif own is not value:
            with torch.no_grad():
                own.copy_(value)

    def get_current_value(self, variable: keras.Variable) -> Any:
        self._meet(variable)
        return super().get_current_value(variable)

    def met(self) -> list[keras.Variable]:
        """Return the variables that are not in the mapping."""
        return list(self._met.values())

    def _meet(self, variable: keras.Variable) -> None:
        if id(variable) not in self._known:
            self._met[id(variable)] = variable


class _Reading(torch.overrides.TorchFunctionMode):
    """Detects code that reads the value of a tensor that depends on the batch or on a variable: in a trace it would
    keep the value of the traced batch. Code that catches the error is detected afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._read: str | None = None
        self._calls = 0

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self._calls += 1
        if self._calls == LONG:
            log.info("a step of this model has thousands of operations; tracing it takes a while, once")
        if function == Tensor.data.__get__:
            return arguments[0].detach()  # the same memory, but the trace records what is done with it
        if function == Tensor.data.__set__:
            raise UntraceableError("it replaces the memory of a tensor (data = ...)")
        if function in READS and is_computed(arguments[0]):
            self._read = self._read or READS[function]
            self.raise_if_any()
        return function(*arguments, **(options or {}))

    def raise_if_any(self) -> None:
        if self._read is not None:
            raise UntraceableError(
                f"it reads tensor values in Python ({self._read}), which would stay those of the first batch"
            )


def is_computed(tensor: Any) -> bool:
    """Return whether the values of a tensor in a trace may differ in the next step: it depends on an input or a
    draw."""
    mode = get_proxy_mode()
    proxy = get_proxy_slot(tensor, mode.tracer, None) if mode is not None else None
    return proxy is not None and _depends(proxy.proxy.node)


def _depends(node: torch.fx.Node) -> bool:
    waiting, seen = [node], {node}
    while waiting:
        one = waiting.pop()
        drawn = torch.Tag.nondeterministic_seeded in getattr(one.target, "tags", ())
        if one.op == "placeholder" or drawn:
            return True
        new = [given for given in one.all_input_nodes if given not in seen]
        seen.update(new)
        waiting += new
    return False


def _copy(value: torch.Tensor) -> torch.Tensor:
    """Copy a tensor with its memory layout, since a trace contains views that depend on it; values that share
    memory get separate copies."""
    if value.layout is not torch.strided or any(
        step == 0 and size > 1 for step, size in zip(value.stride(), value.shape, strict=True)
    ):
        return value.clone()
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device).copy_(value)


def _one_fake_mode() -> AbstractContextManager[Any]:
    """Make `make_fx` track the shapes of all operations in one mode: by default it creates a new one for each, which
    takes two thirds of the tracing time."""
    return tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True)))


def leaves_of(tree: Tree) -> Leaves:
    """The tensors of a nest, in order."""
    return [leaf for leaf in keras.tree.flatten(tree) if leaf is not None]


def nested(form: Tree, leaves: Leaves) -> Tree:
    """Return the tensors nested like `form`, which is None where there is no tensor."""
    remaining = iter(leaves)
    flat = [None if leaf is None else next(remaining) for leaf in keras.tree.flatten(form)]
    return keras.tree.pack_sequence_as(form, flat)


def train_step(model: Any, batch: Tree) -> None:
    """Compute Keras's TorchTrainer.train_step without setting `grad` of the parameters and without the results of the
    metrics, which are computed once per chunk."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    weights = model.trainable_variables
    learning = [variable.value.requires_grad_() for variable in weights]
    with torch.enable_grad():
        y_pred, loss = _outputs_and_loss(model, x, y, sample_weight, training=True)
        gradients = torch.autograd.grad(model.optimizer.scale_loss(loss), learning, allow_unused=True)
    for value in learning:
        value.requires_grad_(False)
    model.optimizer.apply(gradients, weights)
    model.compute_metrics(x, y, keras.tree.map_structure(_detached, y_pred), sample_weight=sample_weight)


def test_step(model: Any, batch: Tree) -> None:
    """Compute Keras's TorchTrainer.test_step without the results of the metrics."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    y_pred, _ = _outputs_and_loss(model, x, y, sample_weight, training=False)
    model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _outputs_and_loss(model: Any, x: Tree, y: Tree, sample_weight: Tree, *, training: bool) -> tuple[Tree, Any]:
    """Return the outputs and the loss, and update the loss metric."""
    y_pred = model(x, training=training) if takes_training(model) else model(x)
    loss = compute_loss(model, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
    track_loss(model, loss.detach(), leaves_of(x)[0].shape[0])
    return y_pred, loss


def _detached(output: Any) -> Any:
    """Return an output without gradient but with the attributes set by Keras, such as the mask used by metrics."""
    if not isinstance(output, torch.Tensor):
        return output
    alone = output.detach()
    vars(alone).update(vars(output))
    return alone
