"""Initial weights: the same bits on every backend, from the distributions that Keras would draw from."""

import hashlib
import threading

import numpy as np
import pytest

from unidl.errors import ModelError
from unidl.layer_paths import named_weights, walk
from unidl.models import build_cnn, build_lstm, build_transfer, initialise
from unidl.models.initial_weights import drawn_later

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def numpy(tensor):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def fingerprint(model):
    """One hash of every initial weight, by name."""
    digest = hashlib.sha256()
    for name, weight in named_weights(model).items():
        digest.update(name.encode())
        digest.update(numpy(weight.value).astype("<f4").tobytes())
    return digest.hexdigest()


BUILT = {
    "cnn": (lambda **seed: build_cnn(**seed), "8680d1817f29b549939e8bf0fe5ec8256a08a5b5593c57e64f0d4e8e69dc0149"),
    "cnn with options": (
        lambda **seed: build_cnn((20, 16, 3), 7, filters=(5, 6), dropout=0.3, batch_normalization=True, **seed),
        "6ceb0cc39b42a3f160fa5826eed3e668a1edb1028a4ffc2d0e647f27282f3191",
    ),
    "lstm": (lambda **seed: build_lstm(**seed), "6ac6cb480c2dae04fd1753fec45867e5b7c9a1e5f52ad39fddbfa83e7a1a3b71"),
    "gru, both ways, two layers": (
        lambda **seed: build_lstm(50, 9, units=12, layers=2, cell="gru", bidirectional=True, dropout=0.2, **seed),
        "d5e9fc509ced965cb91191ad03d0ab5ec3d97d197eb5e575b64f2bbee8384c46",
    ),
    "regression of each step": (
        lambda **seed: build_lstm(None, 9, features=3, targets=2, output="steps", units=12, **seed),
        "e19d5cf85e1a815c7d71c118904f976a508f103081e618672bede0dc1487022d",
    ),
    "transfer on a cnn": (
        lambda **seed: build_transfer(build_cnn((18, 18, 1), 3, **seed), classes=4, dropout=0.2, **seed),
        "c007b24889c5d5c67a37d091f4f601b29e6d0c2af42c568237ed2ebe67b12ddb",
    ),
    "transfer on MobileNetV2": (
        lambda **seed: build_transfer("MobileNetV2", (32, 32, 3), 5, weights=None, **seed),
        "39bed1ce664d632586931f729d04d092dd4753640944f6c8e19009f7dea41414",
    ),
    "transfer on EfficientNetB0": (
        lambda **seed: build_transfer("EfficientNetB0", (32, 32, 3), weights=None, pooling="average", **seed),
        "d4762c1c71de5064c6c87dbc7109177eeba29e9f68dace4140407a6692af80f2",
    ),
}


@pytest.mark.parametrize(("build", "expected"), BUILT.values(), ids=BUILT)
def test_every_backend_begins_with_these_bits(build, expected):
    """One constant for all backends: a comparison of two of them begins at the same place."""
    assert fingerprint(build(seed=0)) == expected
    assert fingerprint(build(seed=1)) != expected


def every_layer(keras):
    """A model with every way in which a layer of Keras comes by a random weight."""
    layers, attend = keras.layers, {"num_heads": 2, "key_dim": 3}
    line, image, film = keras.Input((6, 4)), keras.Input((8, 8, 3)), keras.Input((2, 4, 4, 1))
    outputs = [
        layers.Conv1D(2, 2)(line),
        layers.DepthwiseConv1D(2)(line),
        layers.SeparableConv1D(2, 2)(line),
        layers.Conv1DTranspose(2, 2)(line),
        layers.Conv2D(3, 2, groups=3)(image),
        layers.DepthwiseConv2D(2)(image),
        layers.SeparableConv2D(2, 2)(image),
        layers.Conv2DTranspose(2, 2)(image),
        layers.ConvLSTM2D(2, 2)(film),
        layers.LSTM(3)(line),
        layers.GRU(3)(line),
        layers.SimpleRNN(3)(line),
        layers.Bidirectional(layers.LSTM(3))(line),
        layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)])(line),
        layers.TimeDistributed(layers.Dense(2))(line),
        layers.MultiHeadAttention(**attend)(line, line),
        layers.GroupQueryAttention(3, 2, 1)(line, line),
        layers.AdditiveAttention()([line, line]),
        layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3))(line),
        layers.SpectralNormalization(layers.Dense(3))(line),
        layers.PReLU("random_normal")(line),
        layers.Dense(3, kernel_initializer="orthogonal", bias_initializer="random_uniform")(line),
        layers.LSTM(2, bias_initializer="random_normal")(line),
        layers.BatchNormalization(gamma_initializer="random_normal")(line),
        layers.LayerNormalization()(line),
        layers.GroupNormalization(2)(line),
        layers.Normalization()(line),
    ]
    tokens = keras.Input((4,), dtype="int32")
    outputs += [layers.Embedding(5, 3)(tokens), layers.ReversibleEmbedding(5, 3, tie_weights=False)(tokens)]
    return keras.Model([line, image, film, tokens], outputs)


def test_no_layer_of_keras_keeps_a_weight_that_keras_drew(keras):
    """Built without Keras's draws, every random weight is NaN until it is ours."""
    with drawn_later():
        model = every_layer(keras)
    drawn = [name for name, weight in named_weights(model).items() if np.isnan(numpy(weight.value)).any()]
    assert len(drawn) >= 40
    initialise(model, 0)
    assert not [name for name, weight in named_weights(model).items() if np.isnan(numpy(weight.value)).any()]


def test_weights_inside_attention_are_scaled_as_keras_scales_them(keras):
    """EinsumDense counts its fans by its equation: (in, heads, size) is not a convolution kernel."""
    inputs = keras.Input((6, 40))
    attention = keras.layers.MultiHeadAttention(8, 20)
    dense = keras.layers.EinsumDense("abc,cde->abde", (None, 30, 20), kernel_initializer="he_normal")
    with drawn_later():
        model = keras.Model(inputs, [attention(inputs, inputs), dense(inputs)])
    initialise(model, 0)
    spread = {weight.shape: float(numpy(weight.value).std()) for weight in model.weights if weight.name == "kernel"}
    assert {tuple(shape): value for shape, value in spread.items()} == {
        (40, 8, 20): pytest.approx((2 / (40 + 8 * 20)) ** 0.5, rel=0.05),  # 40 in, 160 out
        (8, 20, 40): pytest.approx((2 / (8 * 20 + 40)) ** 0.5, rel=0.05),
        (40, 30, 20): pytest.approx((2 / 40) ** 0.5, rel=0.05),
    }


def test_constants_stay_and_the_forget_gate_begins_open(keras):
    model = build_lstm(9, 4, units=3)
    bias = numpy(model.get_layer("lstm_1").cell.bias.value)
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6
    inputs = keras.Input((5, 2))
    with drawn_later():
        model = keras.Model(inputs, keras.layers.LSTM(3, bias_initializer="random_normal")(inputs))
    initialise(model, 0)
    bias = numpy(model.weights[-1].value)
    assert (bias[3:6] == 1).all()
    assert len(set(bias.tolist())) == 10


def test_equal_models_of_one_process_get_equal_weights_under_automatic_names(keras):
    """Keras numbers layers over the whole process: the second model has conv2d_94 for conv2d."""
    with drawn_later():
        models = [
            keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(75, 75, 3)) for _ in range(2)
        ]
    assert [layer.name for layer in models[0].layers] != [layer.name for layer in models[1].layers]
    for model in models:
        initialise(model, 4)
    assert fingerprint(models[0]) == fingerprint(models[1])
    kernels = [numpy(weight.value).ravel()[:3].tolist() for weight in models[0].weights if weight.name == "kernel"]
    assert len({tuple(kernel) for kernel in kernels}) == len(kernels) == 94


def test_every_path_is_given_once(keras):
    shared = keras.layers.Dense(4)
    inputs = keras.Input((4,))
    inner = keras.Model(inputs, shared(keras.layers.Dense(4)(inputs)))
    outer = keras.Input((4,))
    model = keras.Model(outer, [inner(outer), shared(outer), keras.layers.Dense(4, name="head")(outer)])
    paths = [path for path, _ in walk(model)]
    assert len(paths) == len(set(paths))
    assert {"", "head", "functional#0", "functional#0/dense#0", "functional#0/dense#1"} <= set(paths)


def strange(initializer, shape=(3,), name="strange"):
    """Return a layer whose weight comes from an initializer that only its code knows."""
    import keras

    class Strange(keras.layers.Layer):
        def build(self, _):
            self.factor = self.add_weight(shape=shape, initializer=initializer, name="factor")

        def call(self, inputs):
            return inputs * self.factor

    return Strange(name=name)


@pytest.mark.parametrize("later", [False, True])
def test_a_random_weight_of_unknown_origin_is_an_error(keras, later):
    """Left alone, it would differ on every backend without a word."""
    inputs = keras.Input((3,))

    def build():
        return keras.Model(inputs, strange("random_normal")(inputs))

    if later:
        with drawn_later():
            model = build()
    else:
        model = build()
    with pytest.raises(ModelError, match="weight 'factor' of the Strange 'strange'") as caught:
        initialise(model, 0)
    assert "'factor_initializer', or pass the layer in skip=" in str(caught.value)
    initialise(model, 0, skip=[model.get_layer("strange")])


def test_a_constant_weight_of_unknown_origin_stays(keras):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, strange("ones", (), "one")(strange(keras.initializers.Constant(0.3))(inputs)))
    initialise(model, 0)
    assert numpy(model.weights[0].value).tolist() == pytest.approx([0.3] * 3)


def test_one_lone_number_may_be_a_draw(keras):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, strange("random_normal", (1,))(inputs))
    with pytest.raises(ModelError, match="it is random"):
        initialise(model, 0)


def test_skipped_layers_keep_their_weights():
    model = build_cnn((18, 18, 1), seed=1)
    before = {name: numpy(weight.value) for name, weight in named_weights(model).items()}
    initialise(model, 2, skip=[model.get_layer("conv_1")])
    kept = [name for name, weight in named_weights(model).items() if np.array_equal(numpy(weight.value), before[name])]
    assert "conv_1/kernel" in kept
    assert "conv_2/kernel" not in kept


def test_a_model_without_weights_yet_is_an_error(keras):
    with pytest.raises(ModelError, match="it has not been built"):
        initialise(keras.Sequential([keras.layers.Dense(3)]), 0)


def test_other_threads_and_the_time_after_draw_as_ever(keras):
    """Placeholders must not get into a model that somebody builds beside, or after an error."""
    drawn = []

    def draw():
        drawn.append(numpy(keras.initializers.GlorotUniform(seed=0)((2, 2))))

    def fail_beside_another_thread():
        with drawn_later(), drawn_later():
            draw()
            thread = threading.Thread(target=draw)
            thread.start()
            thread.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_beside_another_thread()
    draw()
    inside, beside, after = drawn
    assert np.isnan(inside).all()
    assert not np.isnan(beside).any()
    assert np.array_equal(beside, after)
