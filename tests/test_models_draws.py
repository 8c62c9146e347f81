"""The distributions of Keras's initializers, drawn by NumPy."""

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
    from unidl.models.draws import draw

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


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.5, 2))
@settings(max_examples=20, deadline=None)
def test_orthogonal_matrices_are_orthogonal_times_the_gain(keras, rows, columns, gain):
    from unidl.models.draws import draw

    matrix = draw(keras.initializers.Orthogonal(gain, seed=0), (rows, columns), stream(0, "test", rows, columns))
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    assert np.allclose(product, gain**2 * np.eye(min(rows, columns)), atol=1e-6 * 4)


def test_orthogonal_kernels_of_convolutions_are_orthogonal_over_all_but_the_last_axis(keras):
    from unidl.models.draws import draw

    kernel = draw(keras.initializers.Orthogonal(seed=0), (3, 3, 4, 8), stream(0, "test")).reshape(36, 8)
    assert np.allclose(kernel.T @ kernel, np.eye(8), atol=1e-6)


@given(st.lists(st.integers(1, 7), max_size=5))
def test_fans_are_those_of_keras(shape):
    from keras.src.initializers.random_initializers import compute_fans

    from unidl.models.draws import fans

    assert fans(shape) == compute_fans(shape)
    if len(shape) > 2:
        assert fans(shape, [0, 1], [2]) == compute_fans(shape, [0, 1], [2])
