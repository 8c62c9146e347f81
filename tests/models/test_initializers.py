"""The distributions of Keras's initializers, drawn by NumPy."""

import ast
import hashlib
import inspect
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unidl.random import stream

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


RANDOM = {
    "RandomUniform": {"minval": -0.3, "maxval": 0.1},
    "RandomNormal": {"mean": 0.5, "stddev": 0.2},
    "TruncatedNormal": {"mean": -0.1, "stddev": 0.3},
    "VarianceScaling": {"scale": 0.7, "mode": "fan_out", "distribution": "untruncated_normal"},
    "GlorotUniform": {},
    "GlorotNormal": {},
    "HeUniform": {},
    "HeNormal": {},
    "LecunUniform": {},
    "LecunNormal": {},
}


@pytest.mark.parametrize("name", RANDOM)
def test_each_initializer_draws_from_the_distribution_of_keras(keras, name):
    """A wrong scale would train, only worse: the networks of the papers depend on these numbers."""
    from unidl.models.initializers import draw

    shape = (3, 3, 16, 64)
    initializer = getattr(keras.initializers, name)(**RANDOM[name], seed=3)
    ours, theirs = (
        draw(initializer, shape, stream(0, "test", name)),
        np.asarray(keras.ops.convert_to_numpy(initializer(shape))),
    )
    spread = float(theirs.std())
    assert ours.dtype == np.float32
    assert ours.shape == shape
    # Of 9 216 draws the mean is known to 1.04% of the deviation, and the deviation to 0.74%: five times that.
    assert ours.mean() == pytest.approx(float(theirs.mean()), abs=0.07 * spread)
    assert ours.std() == pytest.approx(spread, rel=0.05)
    if name not in ("RandomNormal", "VarianceScaling"):  # the bounded ones
        assert ours.max() == pytest.approx(float(theirs.max()), abs=0.02 * spread)
        assert ours.min() == pytest.approx(float(theirs.min()), abs=0.02 * spread)


def test_every_initializer_draws_these_bits(keras):
    """By a hash of all of them: weights that are others in their last bits only are others after some epochs."""
    from unidl.models.initializers import RANDOM as KNOWN
    from unidl.models.initializers import draw

    found = hashlib.sha256()
    for kind in KNOWN:
        name = kind.__name__
        for shape in ((7,), (20, 30), (3, 3, 8, 16)):
            initializer = kind(**RANDOM.get(name, {}), seed=0)
            found.update(draw(initializer, shape, stream(0, "test", name)).astype("<f4").tobytes())
    assert found.hexdigest() == "5cde09fb79ef68fe7ce7b9de1f71d56791e6b9be21ab478b49884b9cfede080f"


def initializers_of(keras, application) -> set[type]:
    """The classes of the initializers in a module of keras.applications, read from its text: to build the networks
    would take minutes. They are those of the defaults of its layers, and those that it names."""
    found, tree = set(), ast.parse(inspect.getsource(application))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "layers":
            arguments = inspect.signature(getattr(keras.layers, node.attr).__init__).parameters
            found |= {keras.initializers.get(arguments[name].default) for name in arguments if is_initializer(name)}
        elif isinstance(node, ast.keyword) and node.arg and is_initializer(node.arg):
            value = ast.unparse(node.value).replace("self.init_values", "1e-6")  # of ConvNeXt's LayerScale
            found.add(keras.initializers.get(eval(value, vars(application))))
    return {type(initializer) for initializer in found if initializer is not None}


def is_initializer(argument: str) -> bool:
    return argument.endswith("initializer")


def test_every_initializer_of_the_published_networks_is_known(keras):
    """One that is not would stop `build_transfer(..., weights=None)` with a network that somebody needs."""
    from unidl.models.bases import applications
    from unidl.models.initializers import CONSTANT
    from unidl.models.initializers import RANDOM as KNOWN

    modules = {sys.modules[inspect.unwrap(network).__module__] for network in applications().values()}
    used = {module.__name__.split(".")[-1]: initializers_of(keras, module) for module in modules}
    assert len(used) >= 15
    assert {keras.initializers.HeNormal, keras.initializers.GlorotUniform} <= used["nasnet"]
    assert {keras.initializers.VarianceScaling, keras.initializers.Zeros} <= used["efficientnet"]
    assert keras.initializers.Constant in used["convnext"]
    assert set().union(*used.values()) - {*KNOWN, *CONSTANT} == set()


def test_every_initializer_of_keras_is_known_as_random_or_constant(keras):
    """A release of Keras that brings another one brings it here to somebody's notice."""
    from unidl.models.initializers import CONSTANT
    from unidl.models.initializers import RANDOM as KNOWN

    kinds = {value for value in vars(keras.initializers).values() if inspect.isclass(value)}
    assert kinds - {*KNOWN, *CONSTANT, keras.initializers.Initializer} == set()


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.5, 2))
@settings(max_examples=20, deadline=None)
def test_orthogonal_matrices_are_orthogonal_times_the_gain(keras, rows, columns, gain):
    from unidl.models.initializers import draw

    matrix = draw(keras.initializers.Orthogonal(gain, seed=0), (rows, columns), stream(0, "test", rows, columns))
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    assert np.allclose(product, gain**2 * np.eye(min(rows, columns)), atol=1e-6 * 4)


def test_orthogonal_kernels_of_convolutions_are_orthogonal_over_all_but_the_last_axis(keras):
    from unidl.models.initializers import draw

    kernel = draw(keras.initializers.Orthogonal(seed=0), (3, 3, 4, 8), stream(0, "test")).reshape(36, 8)
    assert np.allclose(kernel.T @ kernel, np.eye(8), atol=1e-6)


@given(st.lists(st.integers(1, 7), max_size=5))
def test_fans_are_those_of_keras(shape):
    from keras.src.initializers.random_initializers import compute_fans

    from unidl.models.initializers import fans

    assert fans(shape) == compute_fans(shape)
    if len(shape) > 2:
        assert fans(shape, [0, 1], [2]) == compute_fans(shape, [0, 1], [2])
