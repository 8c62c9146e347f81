"""A builder that is not ours: a perceptron for images, in a plugin of its own."""

from unidl.models import Builder, Recipe
from unidl.models.arguments import Arguments
from unidl.models.building import finish, layers_in, softmax_head


def build_perceptron(input_shape=(8, 8, 1), classes=3, *, units=6, seed=0, name="perceptron"):
    asked = Arguments("build_perceptron")
    shape = asked.wholes("input_shape", input_shape, ("height", "width", "channels"))
    classes = asked.whole("classes", classes, minimum=2)
    units = asked.whole("units", units)
    seed = asked.seed(seed)
    name = asked.model_name(name)
    with layers_in(None) as policy:
        import keras

        images = keras.Input(shape, name="image")
        values = keras.layers.Flatten(dtype=policy, name="flatten")(images)
        values = keras.layers.Dense(units, activation="relu", dtype=policy, name="hidden")(values)
        return finish(keras.Model(images, softmax_head(values, classes, policy), name=name), "perceptron", asked.values)


PERCEPTRON = Builder(
    name="perceptron",
    build=build_perceptron,
    task="image classifier",
    from_data=("input_shape", "classes"),
    recipe=Recipe(None, epochs=2, batch_size=16, learning_rate=0.01, schedule="constant"),
    head=lambda given: "hidden",
    smallest_head=lambda given: {"classes": 2},
)
NOT_A_BUILDER = build_perceptron
