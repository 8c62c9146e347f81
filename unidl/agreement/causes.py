"""Known reasons why a layer may disagree, with remedies, for Keras 3.15 and the frameworks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unidl.agreement.verdicts import LATER_STEPS, LOSS, OPTIMIZER, OUTPUTS, Fault

TRAIN_HERE = "train and predict with unidl.Trainer, whose kernels correct this"


@dataclass(frozen=True)
class Cause:
    """One known cause. applies: returns whether it may explain a fault of a backend in an implementation. remedy: what
    to do."""

    applies: Callable[[Fault, str, str, str], bool]
    text: str
    remedy: str


def _layer(fault: Fault, *kinds: str, **traits: object) -> bool:
    layer = fault.layer
    if layer is None or not any(kind in layer.kind for kind in kinds):
        return False
    return all(layer.traits.get(name) == value for name, value in traits.items())


def _weights(fault: Fault, *kinds: str) -> bool:
    return fault.difference.kind == "weight" and _layer(fault, *kinds)


CAUSES = (
    Cause(
        lambda fault, backend, implementation, device: (
            backend == "torch" and implementation == "keras" and _layer(fault, "AveragePooling", padding="same")
        ),
        'Keras 3.15 on PyTorch counts padding into the average where padding="same" is not the same on both sides '
        "(fixed upstream in keras pull request 23233)",
        f'{TRAIN_HERE}; or pad with ZeroPadding2D and pool with padding="valid"',
    ),
    Cause(
        lambda fault, backend, implementation, device: (
            backend == "torch"
            and implementation == "keras"
            and _layer(fault, "Resiz", "UpSampling", interpolation="bicubic")
        ),
        "PyTorch's bicubic resizing uses a different cubic (a = -0.75) than JAX and TensorFlow (a = -0.5)",
        f'{TRAIN_HERE}; or resize with interpolation="bilinear"',
    ),
    Cause(
        lambda fault, backend, implementation, device: (
            backend == "tensorflow" and _layer(fault, "Resiz", "UpSampling", interpolation="bicubic")
        ),
        "TensorFlow takes the weights of bicubic resizing from a table of 1024 positions between two pixels, with "
        "errors "
        "of about 1e-4 of the brightest pixel",
        'accept the difference, or resize with interpolation="bilinear"',
    ),
    Cause(
        lambda fault, backend, implementation, device: (
            backend == "jax"
            and device == "gpu"
            and (_layer(fault, "Bidirectional") or _layer(fault, "LSTM", go_backwards=True))
        ),
        "Keras 3.15 on JAX with cuDNN reverses the steps of a backward LSTM twice",
        "build the layer with use_cudnn=False",
    ),
    Cause(
        lambda fault, backend, implementation, device: (
            backend == "tensorflow" and implementation == "keras" and _weights(fault, "Embedding")
        ),
        "Keras 3.15 on TensorFlow squares the gradients of a repeated token separately instead of their sum",
        "train with unidl.Trainer, whose kernels correct this",
    ),
    Cause(
        lambda fault, backend, implementation, device: (
            device == "gpu"
            and fault.difference.kind in OUTPUTS
            and _layer(fault, "Dense", "Conv", "Attention", "LSTM", "GRU")
        ),
        "matrix products may be computed in TF32, with 10 bits of mantissa",
        "set the precision to float32 in unidl, or disable TF32 in the framework",
    ),
    Cause(
        lambda fault, *_: _weights(fault, "Normalization"),
        "the running mean or variance is updated differently: another momentum, or a variance over n - 1",
        "compare the layer's momentum and axis",
    ),
    Cause(
        lambda fault, *_: _layer(fault, "Normalization"),
        "a different epsilon or axis, or batch statistics instead of running ones",
        "compare the layer's epsilon and axis",
    ),
    Cause(
        lambda fault, *_: _layer(fault, "LSTM", "GRU", "SimpleRNN", "Bidirectional"),
        "a different order of the gates, masked steps that are not skipped, or a different direction",
        "check the mask and go_backwards; without a mask the fast kernels are used",
    ),
    Cause(
        lambda fault, *_: _layer(fault, "Resiz"),
        "a different interpolation, or antialiasing on one side only",
        "set interpolation and antialias explicitly",
    ),
    Cause(
        lambda fault, *_: _layer(fault, "Conv", "Pooling", padding="same"),
        'padding="same" is distributed differently on one side',
        'pad with a ZeroPadding layer and use padding="valid"',
    ),
    Cause(
        lambda fault, *_: _layer(fault, "Conv", "Dense"),
        "a different kernel layout or activation",
        "compare the layer's kernel axes and activation",
    ),
)


def cause(fault: Fault, backend: str, implementation: str, device: str) -> tuple[str, str] | None:
    """Return the likely cause of a fault and a remedy; None if unknown.

    backend, implementation, device: where the fault occurs; device is "cpu" or "gpu".
    """
    for one in CAUSES:
        if one.applies(fault, backend, implementation, device):
            return one.text, one.remedy
    if fault.place in (LOSS, OPTIMIZER, LATER_STEPS):
        return f"every layer agrees, but {fault.place} does not", "compare the arguments of model.compile"
    return None
