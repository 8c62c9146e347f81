"""Every name of Keras for PyTorch that Keras does not promise to keep.

Places are the functions that our kernels stand in for: without one of them its kernel stays off, and says so; all else
goes on. The rest is what the kernels call, whose absence their checks find. Keras 3.16 moves what was in
`keras.src.backend.torch` to `keras.src.backend.torch.ops`, and `lstm` and `gru` to `keras.src.backend.torch.rnn`.
"""

from __future__ import annotations

from typing import Any

from unidl.keras_places import module, place

_NN = ("keras.src.backend.torch.nn", "keras.src.backend.torch.ops.nn")
_CORE = ("keras.src.backend.torch.core", "keras.src.backend.torch.ops.core")
_IMAGE = ("keras.src.backend.torch.image", "keras.src.backend.torch.ops.image")
_RANDOM = "keras.src.backend.torch.random"  # the package says `random` of another module, too
_RECURRENT = ("keras.src.backend", "keras.src.backend.torch.rnn")
_OPTIMIZERS = "keras.src.backend.torch.optimizers"

TRANSPOSED_INPUTS = place("_transpose_spatial_inputs", *_NN)
"""It copies images that PyTorch would take as they lie in memory (keras issue 23279, mended after 3.15.1)."""

CONVOLUTION = place("call", "keras.src.layers.convolutional.base_conv:BaseConv")
"""Bias and ReLU are operations of their own; `keras.layers` names the subclasses alone."""

NORMALIZATION = place("call", "keras.layers:BatchNormalization")
"""It takes eight operations forward."""

AVERAGE_POOLING = place("average_pool", *_NN)
"""Wrong with uneven padding (keras pull request 23233, not in 3.15.1)."""

FUNCTIONAL_OF_IMAGES = place("F", *_IMAGE)
"""`torch.nn.functional` as image operations see it, whose bicubic interpolation is not that of JAX and TensorFlow."""

SAMPLING = place("bilinear", "unidl.sampling")
"""Ours, not Keras's: it gathers four neighbours of each pixel by operations of their own."""

SOFTMAX = place("softmax", *_NN)
"""Its outputs say what they were made of, for the crossentropy behind it."""

CROSSENTROPY = place("sparse_categorical_crossentropy", *_NN)
"""It takes the logarithm of probabilities, element by element."""

ONE_HOT = place("one_hot", *_NN)
"""It looks for the least and the largest class, which a trace cannot."""

COND = place("cond", *_CORE)
"""It decides in Python, which a trace cannot."""

SCATTER = place("scatter", *_CORE)
"""It adds values one by one in Python."""

DROPOUT = place("dropout", _RANDOM)
"""It makes a number of Python's of each seed, which a trace would keep; likewise the draws below."""

UNIFORM = place("uniform", _RANDOM)
NORMAL = place("normal", _RANDOM)
RANDINT = place("randint", _RANDOM)
CATEGORICAL = place("categorical", _RANDOM)

LSTM = place("lstm", *_RECURRENT)
"""It is a Python loop on the CPU."""

GRU = place("gru", *_RECURRENT)
"""As the LSTM."""

MASKED_LSTM = place("inner_loop", "keras.layers:LSTM")
"""With a mask, it is a Python loop everywhere."""

MASKED_GRU = place("inner_loop", "keras.layers:GRU")
"""As the LSTM."""

EMBEDDING = place("call", "keras.layers:Embedding")
"""Its rows say which table they were looked up in, for the LSTM or GRU behind it."""

ADAM = place("_parallel_update_step", f"{_OPTIMIZERS}.torch_adam:Adam")
"""It takes a dozen operations, where PyTorch has one."""

SGD = place("_parallel_update_step", f"{_OPTIMIZERS}.torch_sgd:SGD")
"""It waits for the value of the learning rate in each step (not in Keras 3.16)."""

CORE_OF_NADAM = place("core", f"{_OPTIMIZERS}.torch_nadam")
"""Nadam makes a number of a product of its momenta in each step."""

TORCH_OF_ADADELTA = place("torch", f"{_OPTIMIZERS}.torch_adadelta")
"""Adadelta waits for the value of the learning rate in each step (not in Keras 3.16)."""

nn = module(*_NN)
core = module(*_CORE)
random = module(_RANDOM)


def draw_seed(seed: Any) -> Any:
    """Return the seed of the next draw, and count it. Without it: the draws stay Keras's own."""
    return module("keras.src.random.seed_generator").draw_seed(seed)


def is_unseeded(seed: Any) -> bool:
    """Whether nobody gave a seed. Without the attribute: a generator counts as one with a seed."""
    return seed is None or getattr(seed, "_initial_seed", seed) is None


def noise_shape(inputs: Any, shape: Any) -> Any:
    """Return the shape of a dropout's mask. Without it: dropout stays Keras's own."""
    return random._get_concrete_noise_shape(inputs, shape)


def transposed_inputs(images: Any) -> Any:
    """View channels-last images as channels-first ones, as the kernel in use does it."""
    return nn._transpose_spatial_inputs(images)


def transposed_outputs(images: Any) -> Any:
    """The way back from `transposed_inputs`."""
    return nn._transpose_spatial_outputs(images)


def convolves_plainly(layer: Any) -> bool:
    """Whether a convolution computes as Keras's own do: a subclass may do something else."""
    return type(layer).convolution_op is CONVOLUTION.owner.convolution_op


def slots_of(optimizer: Any) -> list[list[Any]]:
    """Return Adam's momenta, velocities, and with amsgrad their largest so far."""
    hats = [optimizer._velocity_hats] if optimizer.amsgrad else []
    return [optimizer._momentums, optimizer._velocities, *hats]
