"""A model that unidl did not build is saved in Keras's own words. Without this a person with a model of their own could
train it here and never take it home; or a file from somebody else could run code."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from saving import IMAGES, ROWS, assert_same_model, outputs, rewrite, save, saved_and_loaded, scramble

from unidl import Trainer, load_model, registry
from unidl.errors import SavedModelError
from unidl.saving.directories import read_directory

registry.current()

import keras  # noqa: E402  (only now is it decided on which framework Keras runs)


class Scale(keras.layers.Layer):
    """A layer of somebody else's, whose weight is one number."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(), name="factor", initializer="ones")

    def call(self, x):
        return x * self.factor


class Own(keras.Model):
    """A model class of somebody else's."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units
        self.first = keras.layers.Dense(units)

    def call(self, x):
        return self.first(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def of_rows(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def branches():
    inputs = keras.Input((4,))
    tied = keras.layers.Dense(4, name="tied")
    joined = keras.layers.Concatenate()([tied(inputs), tied(tied(inputs))])
    return keras.Model(inputs, keras.ops.relu(joined) * 2.0)


def nested():
    return of_rows(of_rows(keras.layers.Dense(3), keras.layers.BatchNormalization()), keras.layers.Dense(2))


def normalized():
    """Keras computes with constants that it makes of these weights, and not with the weights."""
    layer = keras.layers.Normalization()
    layer.adapt(ROWS * 3 + 1)
    return of_rows(layer, keras.layers.Dense(2))


def image_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(2.0),
            keras.layers.Conv2D(3, 3, data_format="channels_last"),
            keras.layers.GlobalAveragePooling2D(data_format="channels_last"),
            keras.layers.Dropout(0.5),
        ]
    )


def called(model):
    model(ROWS)
    return model


MODELS = {
    "sequential": (lambda: of_rows(keras.layers.Dense(3)), ROWS),
    "functional with a layer used three times": (branches, ROWS),
    "a model in a model": (nested, ROWS),
    "weights in bfloat16": (lambda: of_rows(keras.layers.Dense(3, dtype="bfloat16")), ROWS),
    "weights in float16": (lambda: of_rows(keras.layers.Dense(3, dtype="float16")), ROWS),
    "a weight that is one number": (lambda: of_rows(Scale()), ROWS),
    "a class of its own": (lambda: called(Own(name="own")), ROWS),
    "built when called": (lambda: called(keras.Sequential([keras.layers.Dense(3)])), ROWS),
    "images": (image_model, IMAGES),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_comes_back_as_it_was(tmp_path, case: str):
    make, x = MODELS[case]
    model = scramble(make())
    loaded = saved_and_loaded(model, tmp_path / "run", trust=True, custom_objects={"Scale": Scale, "Own": Own})
    assert_same_model(loaded, model, x)
    assert not loaded.compiled


def test_a_normalization_computes_with_the_weights_it_was_saved_with(tmp_path):
    model = normalized()
    assert_same_model(saved_and_loaded(model, tmp_path / "run", trust=True), model, ROWS)


def test_a_model_trained_with_a_lambda_as_its_loss_comes_back(tmp_path):
    """A loss is not part of a model, so one that Keras cannot serialize is neither an error nor a warning."""
    model = of_rows(keras.layers.Dense(1))
    trainer = Trainer(model, optimizer="sgd", loss=lambda y, guess: keras.ops.mean((y - guess) ** 2))
    trainer.fit((ROWS, ROWS[:, :1]), progress="quiet")
    trainer.save(tmp_path / "run")
    assert model.compiled
    loaded = load_model(tmp_path / "run", trust=True)
    assert_same_model(loaded, model, ROWS)
    Trainer(loaded, loss="mean_squared_error").fit((ROWS, ROWS[:, :1]), progress="quiet")


def test_a_class_that_nobody_names_is_asked_for(tmp_path):
    path = save(of_rows(Scale()), tmp_path / "run")
    with pytest.raises(SavedModelError, match="Could not locate class 'Scale'") as caught:
        load_model(path, trust=True)
    assert "trust=True, custom_objects={'Name': Name}" in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_python_lambda_is_refused_before_a_days_training_is_lost(tmp_path):
    """It could be saved and never loaded again."""
    model = of_rows(keras.layers.Lambda(lambda x: x * 2))
    with pytest.raises(SavedModelError, match="Python lambdas are never loaded"):
        save(model, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("safe_elsewhere", [True, False])
def test_a_python_lambda_in_a_file_never_runs(tmp_path, safe_elsewhere: bool):
    """Not even after `keras.config.enable_unsafe_deserialization`, which somebody meant for another file."""
    from keras.src.saving.serialization_lib import SafeModeScope

    model = of_rows(keras.layers.Activation(keras.ops.tanh), keras.layers.Dense(2))
    path = save(model, tmp_path / "run")
    description = json.loads(read_directory(path)["architecture.json"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = keras.layers.Lambda(lambda x: pytest.fail("code from a file ran")).get_config()["function"]
    [layer] = [part for part in description["keras"]["config"]["layers"] if part["class_name"] == "Activation"]
    layer["config"] = {"function": code}
    layer["class_name"] = "Lambda"
    rewrite(path, architecture=json.dumps(description).encode())
    with SafeModeScope(safe_elsewhere), pytest.raises(SavedModelError, match="Python lambdas are never loaded"):
        load_model(path, trust=True)


def test_what_keras_would_not_rebuild_is_refused_when_saving(tmp_path):
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    one = keras.Model(inputs, shared(inputs), name="one")
    two = keras.Model(inputs, keras.layers.Dense(2)(shared(inputs)), name="two")
    model = keras.Model(inputs, keras.layers.Concatenate()([one(inputs), two(inputs)]))
    with pytest.raises(SavedModelError, match="'one' and 'two' share the layer 'shared'"):
        save(model, tmp_path / "run")

    class Dictionary(keras.layers.Dense):
        def save_own_variables(self, store):
            store["words"] = np.arange(3)

    with pytest.raises(SavedModelError, match="the Dictionary 'dictionary' has state besides weights"):
        save(of_rows(Dictionary(2)), tmp_path / "run")

    class Silent(keras.Model):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return self.function(x)

    with pytest.raises(SavedModelError, match="Add a get_config method to its class"):
        save(called(Silent(keras.ops.relu)), tmp_path / "run")

    with pytest.raises(SavedModelError, match="it has no weights yet"):
        save(keras.Sequential([keras.layers.Dense(3)]), tmp_path / "run")


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({}, "describes a dict, not a model"),
        ({"class_name": "Dense", "module": "keras.layers", "config": {"units": 2}}, "describes a Dense"),
        ({"class_name": "Sequential", "module": "os", "config": {}}, "cannot rebuild"),
        ({"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}, "cannot rebuild"),
        ({"class_name": "Sequential", "module": "keras", "config": {"layers": 5}}, "cannot rebuild"),
        ({"class_name": "Functional", "module": "keras", "config": {"layers": [{}]}}, "cannot rebuild"),
        ({"class_name": "__tensor__", "config": {}}, "cannot rebuild"),
    ],
)
def test_a_description_that_is_no_model_is_one_error(tmp_path, description, reason: str):
    path = save(of_rows(keras.layers.Dense(2)), tmp_path / "run")
    content = json.loads(read_directory(path)["architecture.json"]) | {"keras": description}
    rewrite(path, architecture=json.dumps(content).encode())
    with pytest.raises(SavedModelError, match=reason):
        load_model(path, trust=True)


def test_saving_leaves_the_model_as_it_was(tmp_path):
    """A callback may save in the middle of a training."""
    model = of_rows(of_rows(keras.layers.Dense(2)))
    model.compile("sgd", "mse")
    before = outputs(model, ROWS)
    optimizer = model.optimizer
    save(model, tmp_path / "run")
    assert model.compiled
    assert model.optimizer is optimizer
    np.testing.assert_array_equal(outputs(model, ROWS), before)
