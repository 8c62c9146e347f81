"""A model with steps of its own is handed what Keras hands it, and asked for nothing that its steps do not need.

Autoencoders, VAEs, GANs, siamese and diffusion models train so; without this they fail, or learn something else.
"""

from __future__ import annotations

import numpy as np
import pytest
from own_steps import self_taught
from training import FLOAT32, assert_same_weights, draws, points, weights_of

from unidl import Trainer
from unidl.data import Split
from unidl.errors import DataError, ModelError


def table(rows=16, features=3, seed=0):
    return draws(seed).normal(size=(rows, features)).astype(np.float32)


def made(kind, units=3, features=3, **compiled):
    """An instance of a self-taught class: one Dense layer, which is built."""
    import keras

    model = kind(name="taught")
    model.layer = keras.layers.Dense(units)
    model.layer.build((None, features))
    model.layer.set_weights([0.1 * np.ones((features, units), np.float32), np.zeros(units, np.float32)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1)} | compiled)
    return model


def layer_weights(model):
    return weights_of(model.layer)


def autoencoder(backend, **options):
    from keras import ops

    class Autoencoder(self_taught(backend, **options)):
        def loss_of(self, data):
            # A sum over the features: a batch in a tuple of one would be summed otherwise, without a word.
            return ops.mean(ops.sum(ops.square(data - self.layer(data)), axis=1))

    return Autoencoder


def test_x_alone_is_handed_as_it_is(backend):
    theirs, ours = (made(autoencoder(backend)) for _ in range(2))
    theirs(table())
    x = table()
    expected = theirs.fit(x, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    found = Trainer(ours).fit(x, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    assert found["loss"] == pytest.approx(expected["loss"], rel=FLOAT32)
    assert_same_weights(layer_weights(ours), layer_weights(theirs), FLOAT32)
    assert set(ours.handed) == {("array", None)}


def test_several_inputs_alone_come_in_a_tuple_of_one_and_a_dict_as_it_is(backend):
    from keras import ops

    class Pairs(self_taught(backend)):
        def loss_of(self, data):
            one, other = data.values() if isinstance(data, dict) else data[0]
            return ops.mean(ops.square(self.layer(one) - other))

    x = [table(8), table(8, seed=1)]
    for given, handed in ((x, ("tuple", 1)), ({"a": x[0], "b": x[1]}, ("dict", 2))):
        model = made(Pairs)
        Trainer(model).fit(given, batch_size=4, verbose=0)
        assert set(model.handed) == {handed}


def test_three_parts_of_no_particular_meaning(backend):
    """Anchor, positive, negative: the third is not a sample weight, and may be negative."""
    from keras import ops

    class Siamese(self_taught(backend)):
        def loss_of(self, data):
            anchor, positive, negative = (self.layer(part) for part in data)
            near, far = (ops.sum(ops.square(anchor - other), axis=1) for other in (positive, negative))
            return ops.mean(ops.maximum(near - far + 1.0, 0.0))

    parts = tuple(table(8, seed=seed) for seed in range(3))
    model = made(Siamese)
    history = Trainer(model).fit(parts, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert set(model.handed) == {("tuple", 3)}
    assert history["loss"][1] < history["loss"][0]


def test_a_model_without_call_is_not_called(backend):
    """A VAE, or a GAN, is a pair of models in a third one, which has a step and nothing else."""
    with_call, without = made(autoencoder(backend)), made(autoencoder(backend, with_call=False))
    with_call(table())
    x = table()
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = with_call.fit(x, **options).history
    trainer = Trainer(without)
    found = trainer.fit(x, **options).history
    assert found["loss"] == pytest.approx(expected["loss"], rel=FLOAT32)
    assert_same_weights(layer_weights(without), layer_weights(with_call), FLOAT32)
    with pytest.raises(ModelError, match=r"'taught' has no call method, which its step needs"):
        trainer.predict(x)


def test_a_compile_of_the_models_own(backend):
    from keras import ops, optimizers

    class Scaled(self_taught(backend, with_call=False)):
        def compile(self, scale, **others):
            super().compile(**others)
            self.scale = scale

        def loss_of(self, data):
            return self.scale * ops.mean(ops.square(self.layer(data)))

    model = made(Scaled, optimizer=optimizers.SGD(0.1), scale=3.0)
    same = made(Scaled, optimizer=optimizers.SGD(0.3), scale=1.0)
    for one in (model, same):
        Trainer(one).fit(table(), batch_size=4, verbose=0)
    assert_same_weights(layer_weights(model), layer_weights(same), FLOAT32)


def test_a_compiled_loss_without_labels(backend):
    """A diffusion model makes its targets itself, and compares with the loss it was compiled with."""

    class Denoising(self_taught(backend)):
        def loss_of(self, data):
            return self.loss(data, self.layer(data))

    import keras

    model = made(Denoising, loss=keras.losses.MeanSquaredError())
    history = Trainer(model).fit(table(), batch_size=4, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]


def test_a_loss_of_the_models_own_may_have_any_labels(backend):
    import keras
    from keras import ops

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y_pred - (x if y is None else ops.cast(y, "float32"))))

    def built():
        inputs = keras.Input((3,))
        model = Own(inputs, keras.layers.Dense(3, kernel_initializer="ones")(inputs))
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    labels = np.full((16, 1), 99)
    for parts in ((table(),), (table(), labels)):
        ours, theirs = built(), built()
        expected = theirs.fit(*parts, batch_size=4, shuffle=False, verbose=0).history
        found = Trainer(ours).fit(parts, batch_size=4, shuffle=False, verbose=0).history
        assert found["loss"] == pytest.approx(expected["loss"], rel=FLOAT32)
    with pytest.raises(DataError, match="rows of shape"):
        Trainer(built()).fit(table(features=2), labels, verbose=0)


def test_more_named_arrays_than_inputs(backend):
    """A table has columns that the model does not read."""
    import keras

    def built(named):
        inputs = [keras.Input((2,), name="size"), keras.Input((1,), name="age")]
        outputs = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Concatenate()(inputs))
        model = keras.Model({tensor.name: tensor for tensor in inputs} if named else inputs, outputs)
        model.compile("sgd", "mse")
        return model

    y = table(features=1, seed=3)
    needed = {"size": table(features=2, seed=1), "age": table(features=1, seed=2)}
    for named in (False, True):
        plain, more = built(named), built(named)
        Trainer(plain).fit(needed, y, batch_size=4, verbose=0)
        trainer = Trainer(more)
        trainer.fit({"aaa": table(features=5), **needed, "zzz": table()}, y, batch_size=4, verbose=0)
        assert_same_weights(weights_of(more), weights_of(plain))
        found = trainer.predict({"aaa": table(features=5), **needed})
        np.testing.assert_array_equal(found, trainer.predict(needed))
        with pytest.raises(DataError, match="The model's inputs are"):
            trainer.predict({"size": needed["size"]})


def stateful(*, known=True):
    import keras

    lstm = keras.layers.LSTM(3, stateful=True, kernel_initializer="ones", recurrent_initializer="identity")
    first = [keras.Input(batch_shape=(4, 2, 3))] if known else []
    model = keras.Sequential([*first, lstm, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def remembering(model, x, y, *, trains):
    """What a run, an evaluation and two predictions behind it say. model: a Trainer, or a Keras model."""
    options = {"batch_size": 4, "verbose": 0}
    losses = []
    if trains:
        history = model.fit(x, y, epochs=2, shuffle=False, validation_data=(x[:8], y[:8]), **options).history
        losses = [*history["loss"], *history["val_loss"]]
    evaluated = model.evaluate(x, y, **options, return_dict=True)
    return [*losses, evaluated["loss"]], *(model.predict(x, **options) for _ in range(2))


def test_a_stateful_lstm_remembers_from_batch_to_batch(backend):
    """As far as in Keras: on JAX the state is none of the model's variables there, and is zero in each batch."""
    x, y = 0.3 * draws().normal(size=(16, 2, 3)).astype(np.float32), table(features=1)
    # On PyTorch Keras 3.15 itself cannot train it: the state that the gradient needs is overwritten in place.
    trains = backend.name != "torch"
    found = remembering(Trainer(stateful()), x, y, trains=trains)
    remembers = np.abs(found[1] - found[2]).max() > 1e-6
    assert remembers == (backend.name != "jax"), "the second prediction began with another state than Keras's"
    for other in (Trainer(stateful(known=False)), stateful()):
        for one, expected in zip(found, remembering(other, x, y, trains=trains), strict=True):
            np.testing.assert_allclose(one, expected, rtol=FLOAT32, atol=FLOAT32)


def test_a_layer_that_counts_goes_on_counting_when_it_is_tested_and_predicts(backend):
    """On JAX the counts of both were thrown away, which Keras keeps."""
    import keras

    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, values):
            self.seen.assign_add(1.0)
            return values * 0.0 + self.seen

    def built():
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(Counting()(inputs)))
        model.layers[1].seen.assign(0.0)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        return model

    x = table(features=1)

    def counts(model, **options):
        losses = model.fit(x, x, shuffle=False, **options).history["loss"]
        losses.append(model.evaluate(x, x, **options, return_dict=True)["loss"])
        return np.concatenate([losses, *(model.predict(x, **options).ravel() for _ in range(2))])

    for size in (4, 8):
        found, expected = (counts(model, batch_size=size, verbose=0) for model in (Trainer(built()), built()))
        np.testing.assert_allclose(found, expected, rtol=FLOAT32)
        assert found[-1] == 4 * len(x) / size


def test_what_keras_checks_is_checked_still(backend):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(DataError, match="has no y"):
        Trainer(model).fit(points(8).x, verbose=0)
    with pytest.raises(DataError, match="rows of shape"):
        Trainer(model).fit(Split(table(features=2), table(features=2)), verbose=0)
