"""All private names of Keras's PyTorch backend that this adapter uses.

Places are the functions that the kernels replace: if one is missing, its kernel is disabled and reported; everything
else works. The rest are functions that the kernels call, whose absence their checks detect. Keras 3.16 moves the
content of `keras.src.backend.torch` to `keras.src.backend.torch.ops`, and `lstm` and `gru` to
`keras.src.backend.torch.rnn`.
"""

from __future__ import annotations

from typing import Any

from unidl.keras_places import module, place

_NN = ("keras.src.backend.torch.nn", "keras.src.backend.torch.ops.nn")
_CORE = ("keras.src.backend.torch.core", "keras.src.backend.torch.ops.core")
_IMAGE = ("keras.src.backend.torch.image", "keras.src.backend.torch.ops.image")
_RANDOM = "keras.src.backend.torch.random"  # in the package, `random` also names another module
_RECURRENT = ("keras.src.backend", "keras.src.backend.torch.rnn")
_OPTIMIZERS = "keras.src.backend.torch.optimizers"

TRANSPOSED_INPUTS = place("_transpose_spatial_inputs", *_NN)
"""It copies images that PyTorch could use in their current layout (keras issue 23279, fixed after 3.15.1)."""

CONVOLUTION = place("call", "keras.src.layers.convolutional.base_conv:BaseConv")
"""Bias and ReLU are separate operations; `keras.layers` exports only the subclasses."""

NORMALIZATION = place("call", "keras.layers:BatchNormalization")
"""It uses eight operations in the forward pass."""

AVERAGE_POOLING = place("average_pool", *_NN)
"""Wrong with uneven padding (keras pull request 23233, not in 3.15.1)."""

FUNCTIONAL_OF_IMAGES = place("F", *_IMAGE)
"""`torch.nn.functional` as image operations see it, whose bicubic interpolation is not that of JAX and TensorFlow."""

SAMPLING = place("bilinear", "unidl.sampling")
"""Ours, not Keras's: it gathers four neighbours of each pixel by operations of their own."""

SOFTMAX = place("softmax", *_NN)
"""Its outputs record how they were computed, for a following cross-entropy."""

CROSSENTROPY = place("sparse_categorical_crossentropy", *_NN)
"""It computes the logarithm of probabilities, element by element."""

ONE_HOT = place("one_hot", *_NN)
"""It reads the smallest and largest class, which a trace cannot."""

COND = place("cond", *_CORE)
"""It branches in Python, which a trace cannot."""

SCATTER = place("scatter", *_CORE)
"""It adds values one at a time in Python."""

DROPOUT = place("dropout", _RANDOM)
"""It converts each seed to a Python number, which a trace would keep constant; likewise the functions below."""

UNIFORM = place("uniform", _RANDOM)
NORMAL = place("normal", _RANDOM)
RANDINT = place("randint", _RANDOM)
CATEGORICAL = place("categorical", _RANDOM)

LSTM = place("lstm", *_RECURRENT)
"""It is a Python loop on the CPU."""

GRU = place("gru", *_RECURRENT)
"""As for the LSTM."""

MASKED_LSTM = place("inner_loop", "keras.layers:LSTM")
"""With a mask, it is a Python loop on every device."""

MASKED_GRU = place("inner_loop", "keras.layers:GRU")
"""As for the LSTM."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its outputs record the table they were looked up in, for a following LSTM or GRU."""

ADAM = place("_parallel_update_step", f"{_OPTIMIZERS}.torch_adam:Adam")
"""It uses a dozen operations, where PyTorch has a single one."""

SGD = place("_parallel_update_step", f"{_OPTIMIZERS}.torch_sgd:SGD")
"""It synchronizes to read the learning rate in each step (not in Keras 3.16)."""

CORE_OF_NADAM = place("core", f"{_OPTIMIZERS}.torch_nadam")
"""Nadam converts the product of its momenta to a Python number in each step."""

TORCH_OF_ADADELTA = place("torch", f"{_OPTIMIZERS}.torch_adadelta")
"""Adadelta synchronizes to read the learning rate in each step (not in Keras 3.16)."""

nn = module(*_NN)
core = module(*_CORE)
random = module(_RANDOM)


def draw_seed(seed: Any) -> Any:
    """Return the seed of the next draw, and advance the counter. Without it: Keras's own draws are used."""
    return module("keras.src.random.seed_generator").draw_seed(seed)


def is_unseeded(seed: Any) -> bool:
    """Return whether no seed was given. Without the attribute: a generator counts as seeded."""
    return seed is None or getattr(seed, "_initial_seed", seed) is None


def noise_shape(inputs: Any, shape: Any) -> Any:
    """Return the shape of a dropout mask. Without it: Keras's own dropout is used."""
    return random._get_concrete_noise_shape(inputs, shape)


def transposed_inputs(images: Any) -> Any:
    """View channels-last images as channels-first ones, as the kernel in use does."""
    return nn._transpose_spatial_inputs(images)


def transposed_outputs(images: Any) -> Any:
    """The inverse of `transposed_inputs`."""
    return nn._transpose_spatial_outputs(images)


def convolves_plainly(layer: Any) -> bool:
    """Return whether a convolution uses Keras's own computation; a subclass may override it."""
    return type(layer).convolution_op is CONVOLUTION.owner.convolution_op


def slots_of(optimizer: Any) -> list[list[Any]]:
    """Return Adam's momenta and velocities, and with amsgrad the largest velocities so far."""
    hats = [optimizer._velocity_hats] if optimizer.amsgrad else []
    return [optimizer._momentums, optimizer._velocities, *hats]


def scope() -> str:
    """Return the names of the layers that run now, as in "cnn/conv_1". Without Keras's function, operations of a
    profile belong to no layer."""
    return module("keras.src.backend.common.name_scope").current_path()
