"""Images are augmented as the formulas say, alike on every backend. Without this a model would learn other images than
a person asked for, or a run that moves would see others from there on."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest
from augmented import GREY_LEVEL, brighter_and_with_contrast, flipped_rotated_zoomed, photographs, sampled
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from unidl import Trainer, load_model
from unidl.errors import DataError, ModelError, UsageError

layers = import_module("unidl.layers")  # which settles the backend before Keras is imported
keras = import_module("keras")
draws = import_module("unidl.layers.draws")
tones = import_module("unidl.layers.tones")

WORDS = "flip,rotation=0.1,zoom=0.2,brightness=0.2,contrast=0.2"
ALL = (
    "flip=both,rotation=0.2,zoom=0.3,translation=0.2,shear=0.2,crop=0.4,brightness=0.2,contrast=0.3,saturation=0.5,"
    "hue=0.2,grayscale=0.2,blur=1.5,erasing=0.3,randaugment=2"
)
DIVISION = 6e-8
"""JAX multiplies with the float32 next to 1 / 255."""

SAMPLERS_APART = 0.02 * GREY_LEVEL
"""In the mean; single pixels by at most one grey level."""


def numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)


class Applied(keras.Model):
    """A layer as it is in training, in one compiled step: JAX compiles each operation by itself otherwise."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.built = True  # else Keras calls it once on JAX, operation by operation, to build it

    def call(self, images):
        return self.layer(images, training=True)


def augmented(images, *steps, batch_size=None, **options):
    """The images, changed by steps, in one call or, with a batch size, in several."""
    layer = layers.Augmentation(steps[0] if len(steps) == 1 else steps, **{"seed": 3} | options)
    return np.asarray(Applied(layer).predict(images, batch_size=batch_size or len(images), verbose=0), np.float64)


def drawn(count, images, *, seed=3, number=0):
    """The numbers of a call of a layer with this seed."""
    key = draws.Key(*(keras.ops.convert_to_tensor(value, dtype="int32") for value in (seed, number)))
    return numpy(draws.uniform((count, images), key, 0.0, 1.0))


def expected(images, numbers):
    """What `WORDS` makes of images of bytes."""
    moved = sampled(images, flipped_rotated_zoomed(numbers[:4], *images.shape[1:3]))
    return brighter_and_with_contrast(moved / 255, numbers[4:])


def assert_same_images(found, wanted):
    assert found.shape == wanted.shape
    apart = np.abs(found - wanted)
    assert apart.max() <= GREY_LEVEL
    assert apart.mean() <= SAMPLERS_APART


def test_the_batch_is_that_of_the_formulas():
    x = photographs()
    calls = augmented(np.concatenate([x, x]), WORDS, batch_size=len(x))
    for number, found in enumerate((calls[: len(x)], calls[len(x) :])):
        assert_same_images(found, expected(x, drawn(6, 6, number=number)))
    np.testing.assert_allclose(calls[: len(x)], augmented((x / 255).astype(np.float32), WORDS), atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_compiled_run_sees_the_batches_of_the_formulas(dtype: str):
    """By the adapter's own sampler, many steps a dispatch: the model learns one weight a pixel, by the images alone."""
    x = photographs(24)
    inputs = keras.Input(x.shape[1:], dtype=dtype)
    values = keras.layers.Flatten()(layers.Augmentation(WORDS, seed=3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(values))
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(1.0), loss=lambda true, found: -true * found)
    given = x if dtype == "uint8" else (x / 255).astype(np.float32)
    trainer.fit((given, np.ones((24, 1), np.float32)), batch_size=6, epochs=2, shuffle=False, progress="quiet")
    assert trainer.why_not_compiled is None
    wanted = [
        expected(x[first : first + 6], drawn(6, 6, number=e * 4 + first // 6))
        for e in range(2)
        for first in range(0, 24, 6)
    ]
    learnt = numpy(model.trainable_weights[0].value).reshape(x.shape[1:])
    assert_same_images(learnt / 8, np.mean(wanted, axis=(0, 1)))


@pytest.mark.parametrize(("fill", "channels"), [("reflect", 3), ("nearest", 1), ("constant", 5)])
def test_beyond_the_edges_is_what_was_asked_for(fill: str, channels: int):
    x = photographs(2, channels=channels)
    shift = layers.Translation((0.3, 0.3), (-0.25, -0.25))
    matrix = np.array([[[1, 0, 5], [0, 1, -0.3 * 24], [0, 0, 1]]] * 2)
    wanted = sampled(x, matrix, fill, 0.2 * 255) / 255
    np.testing.assert_allclose(augmented(x, shift, fill=fill, fill_value=0.2), wanted, atol=1e-4)


def test_a_double_flip_changes_nothing():
    x = photographs()
    for direction in ("horizontal", "vertical", "both"):
        flip = layers.Flip(direction, probability=1.0)
        np.testing.assert_allclose(augmented(x, flip, flip), x / 255, atol=DIVISION)
    np.testing.assert_array_equal(np.rint(255 * augmented(x, layers.Flip(probability=1.0))), x[:, :, ::-1])


@pytest.mark.parametrize(("quarters", "fill"), [(1, "constant"), (2, "reflect"), (3, "nearest"), (-1, "constant")])
def test_quarter_turns_are_exact(quarters: int, fill: str):
    x = photographs(height=22, width=22)
    turned = augmented(x, layers.Rotation((quarters / 4, quarters / 4)), fill=fill, fill_value=1.0)
    np.testing.assert_allclose(turned, np.rot90(x, quarters, axes=(1, 2)) / 255, atol=DIVISION)


def pillow(image, change):
    return np.asarray(change(Image.fromarray(image)), np.float64)


@pytest.mark.parametrize(
    ("step", "change"),
    [
        (layers.Rotation((0.07, 0.07)), lambda image: image.rotate(0.07 * 360, Image.Resampling.BILINEAR)),
        (layers.Translation((0.2, 0.2), (0.1, 0.1)), lambda image: image.rotate(0, translate=(4, 8))),
        (
            layers.Zoom((-0.5, -0.5)),
            lambda image: image.resize((40, 40), Image.Resampling.BILINEAR, box=(10, 10, 30, 30)),
        ),
        (
            layers.Shear((0.3, 0.3)),
            lambda image: image.transform(
                (40, 40), Image.Transform.AFFINE, (1, 0.3, -0.3 * 20, 0, 1, 0), Image.Resampling.BILINEAR
            ),
        ),
    ],
    ids=["rotation", "translation", "zoom", "shear"],
)
def test_geometry_is_that_of_pillow(step, change):
    """But at the edges, where Pillow leaves off half a pixel before we do."""
    (image,) = photographs(1, height=40, width=40)
    found, wanted = 255 * augmented(image[None], step, fill="constant")[0], pillow(image, change)
    inner = (slice(2, -2), slice(2, -2))
    blank = pillow(np.full_like(image, 255), change)[inner] == 0
    apart = np.abs(found[inner] - wanted[inner])[~blank & (pillow(np.full_like(image, 255), change)[inner] == 255)]
    assert apart.size > 2000
    # A row of Pillow's blank part may have one more pixel than ours.
    assert np.mean(apart > 1.01) < 0.02
    assert np.median(apart) < 0.6


@pytest.mark.parametrize(
    ("step", "change", "tolerance"),
    [
        (layers.Contrast((0.5, 0.5)), lambda image: ImageEnhance.Contrast(image).enhance(1.5), 1.5),
        (layers.Saturation((0.5, 0.5)), lambda image: ImageEnhance.Color(image).enhance(1.5), 1.5),
        (layers.Grayscale(1.0), lambda image: image.convert("L").convert("RGB"), 1.0),
        (layers.Brightness((0.2, 0.2)), lambda image: image.point(lambda value: value + 51), 1e-3),
    ],
    ids=["contrast", "saturation", "grayscale", "brightness"],
)
def test_colours_are_those_of_pillow(step, change, tolerance: float):
    images = photographs(3)
    for image, found in zip(images, 255 * augmented(images, step), strict=True):
        np.testing.assert_allclose(found, pillow(image, change), atol=tolerance)


def test_blur_is_that_of_pillow():
    """Whose blur is three box filters one after the other, and has other edges."""
    (image,) = photographs(1, height=40, width=40)
    blurred = 255 * augmented(image[None], layers.Blur((2.0, 2.0), probability=1.0))[0]
    apart = (blurred - pillow(image, lambda one: one.filter(ImageFilter.GaussianBlur(2.0))))[7:-7, 7:-7]
    assert np.abs(apart).max() < 5
    assert np.abs(apart).mean() < 1
    assert np.abs(blurred - image)[7:-7, 7:-7].mean() > 5
    untouched = augmented(image[None], layers.Blur(2.0, probability=0.0))[0]
    np.testing.assert_allclose(255 * untouched, image, atol=1e-3)


def test_a_full_turn_of_hues_comes_back_and_a_third_makes_red_green():
    x = photographs()
    for share in (0.0, 1.0, -1.0):
        np.testing.assert_allclose(augmented(x, layers.Hue((share, share))), x / 255, atol=2e-3)
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    turned = augmented(red, layers.Hue((1 / 3, 1 / 3)))[0, 0, 0]
    assert turned.argmax() == 1
    there_and_back = augmented(photographs() // 4 + 90, layers.Hue((0.1, 0.1)), layers.Hue((-0.1, -0.1)))
    np.testing.assert_allclose(there_and_back, (photographs() // 4 + 90) / 255, atol=3e-3)


def test_crops_and_erasing_lie_anywhere_in_the_image_and_have_their_size():
    x = np.full((200, 20, 20, 1), 255, np.uint8)
    erased = augmented(x, layers.Erasing(0.5, probability=1.0, value=0.0, ratio=1.0))[..., 0] == 0
    shares = erased.mean(axis=(1, 2))
    assert 0.02 < shares.min() < 0.12
    assert 0.4 < shares.max() < 0.6
    assert all(edge.any() for edge in (erased[:, 0], erased[:, -1], erased[:, :, 0], erased[:, :, -1]))
    assert not augmented(x, layers.Erasing(0.5, probability=0.0, value=0.0)).min() < 1
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, :, None, None] * 10, (200, 20, 20, 1))
    cropped = 25.5 * augmented(ramp, layers.Crop((0.25, 0.25), ratio=1.0))[..., 0]
    heights = cropped[:, -1] - cropped[:, 0]
    np.testing.assert_allclose(heights, 9.5, atol=0.51)  # of 19; at the edge the outermost half pixel is mirrored
    assert cropped.min() < 0.7
    assert cropped.max() > 18.3


def test_frames_of_a_clip_are_changed_alike():
    frames = photographs(4)
    clips = np.repeat(frames[:, None], 3, axis=1)
    found, single = augmented(clips, ALL), augmented(frames, ALL)
    assert found.shape == clips.shape
    for frame in range(3):
        np.testing.assert_allclose(found[:, frame], single, atol=1e-5)
    assert (np.abs(found - clips / 255).max(axis=(1, 2, 3, 4)) > 0.1).all()


def test_in_inference_images_pass_in_the_range_asked_for():
    x = photographs()
    np.testing.assert_allclose(numpy(layers.Augmentation(ALL)(x)), x / 255, atol=1e-6)
    to_bytes = layers.Augmentation("flip", value_range=(-1, 1), seed=0)
    np.testing.assert_allclose(numpy(to_bytes(x)), x / 127.5 - 1, atol=1e-6)
    assert numpy(to_bytes(x, training=True)).min() < -0.5
    halves = layers.Augmentation(WORDS, dtype="mixed_bfloat16", seed=3)(x, training=True)
    assert keras.backend.standardize_dtype(halves.dtype) == "bfloat16"
    np.testing.assert_allclose(numpy(keras.ops.cast(halves, "float32")), augmented(x, WORDS), atol=0.005)


def test_rand_augment_changes_most_images_each_in_its_way():
    x = np.repeat(photographs(1), 300, axis=0)
    found = augmented(x, layers.RandAugment(1, 1.0, "matrices"))
    apart = np.abs(found - x / 255).max(axis=(1, 2, 3))
    kinds = {tuple(np.round(one[::5, ::5].ravel(), 3)) for one in found}
    assert len(kinds) == 17, "eight changes, each in two ways, and nothing"
    assert 0.05 < np.mean(apart < 1e-3) < 0.18


def test_rand_augment_changes_tones_as_pillow_does():
    """Each of the six, at a strength of 0.6, on a level or two."""
    x = np.repeat(photographs(1), 120, axis=0)
    found = np.rint(255 * augmented(x, layers.RandAugment(1, 0.6)))
    image = Image.fromarray(x[0])
    wanted = {
        "posterize": ImageOps.posterize(image, 6),
        "solarize": ImageOps.solarize(image, 256 - 153),
        "equalize": ImageOps.equalize(image),
        "autocontrast": ImageOps.autocontrast(image),
        "invert": ImageOps.invert(image),
        "sharp": ImageEnhance.Sharpness(image).enhance(1.54),
        "smooth": ImageEnhance.Sharpness(image).enhance(0.46),
    }
    for name, one in wanted.items():
        apart = np.abs(found - np.asarray(one, np.float64)).max(axis=(1, 2, 3))
        most = 0 if name in ("posterize", "solarize", "equalize", "invert") else 1
        assert 1 <= np.count_nonzero(apart <= most) <= 20, name


def classifier(words=ALL, **options):
    inputs = keras.Input((24, 20, 3), dtype="uint8")
    values = keras.layers.Flatten()(layers.Augmentation(words, **{"seed": 5} | options)(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(values))


def trained(model, **how):
    """Its trainer, after steps that are alike for all tests: JAX compiles so many changes for seconds."""
    trainer = Trainer(model, optimizer="adam", loss="mse")
    trainer.fit((photographs(24), np.arange(24.0)), batch_size=4, progress="quiet", **how)
    return trainer


def test_it_is_saved_with_the_model(tmp_path):
    model, x = classifier(), photographs()
    trained(model).save(tmp_path / "run")
    model.save(tmp_path / "own.keras")
    for again in (load_model(tmp_path / "run", trust=True), keras.saving.load_model(tmp_path / "own.keras")):
        layer = again.layers[1]
        assert layer.get_config() == model.layers[1].get_config()
        assert layer.steps == model.layers[1].steps
        np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), atol=1e-6)


def test_a_run_that_goes_on_sees_the_images_of_one_that_was_never_stopped(tmp_path):
    def run(epochs: int, **how):
        return trained(classifier(), epochs=epochs, **how).model.get_weights()

    run(1, checkpoint=tmp_path / "run")
    for one, other in zip(run(3, checkpoint=tmp_path / "run", resume=True), run(3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_works_in_fit_of_keras_and_in_a_sequential_model():
    x, y = photographs(8), np.arange(8.0)
    inputs = keras.Input((24, 20, 3), dtype="uint8")
    model = keras.Sequential([inputs, layers.Augmentation(WORDS), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(x, y, batch_size=4, verbose=0).history["loss"]).all()
    assert layers.foreign_draws(model) == []


def test_gradients_go_through_to_layers_in_front():
    """As the formulas have them: a sampler of a framework may have others."""
    x = (photographs(4) / 255).astype(np.float32)
    inputs = keras.Input(x.shape[1:])
    weighted = keras.layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.Identity(0.5))(inputs)
    moved = layers.Augmentation("rotation=0.1,zoom=0.2", seed=3)(weighted)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(moved))
    loss = lambda true, found: -keras.ops.sum(true * found, axis=-1)  # noqa: E731
    trainer = Trainer(model, optimizer=keras.optimizers.SGD(1.0), loss=loss)
    trainer.fit((x, np.ones((4, 3), np.float32)), batch_size=2, shuffle=False, progress="quiet")
    change = np.zeros((3, 3))
    for step in range(2):
        part, numbers = x[2 * step : 2 * step + 2], drawn(2, 2, number=step)
        matrices = flipped_rotated_zoomed(np.concatenate([np.ones((2, 2)), numbers]), 24, 20)
        change += sampled(part, matrices).mean(axis=(0, 1, 2))[:, None]
    np.testing.assert_allclose(model.get_weights()[0], np.eye(3) * 0.5 + change, atol=1e-4)


def test_values_that_mean_something_else_are_refused():
    model = keras.Sequential(
        [keras.Input((24, 20, 3)), layers.Augmentation("flip"), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    trainer = Trainer(model, optimizer="sgd", loss="mse")
    with pytest.raises(DataError, match=r"values from 0 to 255, and the model .* from 0 to 1. Pass x / 255"):
        trainer.fit((photographs().astype(np.float32), np.arange(6.0)), progress="quiet")
    with pytest.raises(DataError, match=r"from 0 to 1, and the model .* from 0 to 255. Pass x \* 255"):
        Trainer(classifier(), optimizer="sgd", loss="mse").fit(
            ((photographs() / 255).astype(np.float32), np.arange(6.0)), progress="quiet"
        )
    with pytest.raises(
        ModelError, match="images of type uint8, from 0 to 255, or floats from 0 to 1, and was given int"
    ):
        layers.Augmentation("flip")(photographs().astype(np.int32))
    with pytest.raises(ModelError, match=r"takes images \(batch, height, width, channels\) or clips"):
        layers.Augmentation("flip")(photographs()[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("flop", "Cannot augment with 'flop'. There are blur, brightness"),
        ("", "Cannot augment with ''"),
        ("rotation=", "nothing comes behind the '='"),
        ("rotation=2", "Rotation(factor=2.0): it must lie between -1 and 1"),
        ("rotation=a", "Rotation(factor='a'): it must be a number, or two"),
        ("zoom=0.1:0.2:0.3", "one number, or two"),
        ("flip=sideways", "it must be 'horizontal', 'vertical' or 'both'"),
        ("randaugment=0.5", "a whole number from 1 to 8"),
        ([3], "Cannot augment with 3: give steps"),
        ([], "Cannot augment with no step"),
        (",".join(["flip"] * 33), "33 steps: at most 32"),
        ([{"step": "flip", "how": 1}], "Cannot use 'how' of the step 'flip'"),
    ],
)
def test_steps_that_cannot_be_are_refused(words, said: str):
    with pytest.raises(UsageError) as refused:
        layers.Augmentation(words)
    assert said in str(refused.value)


def test_other_arguments_that_cannot_be_are_refused():
    for options in ({"fill": "wrap"}, {"fill_value": 7}, {"value_range": (1, 0)}, {"value_range": 3}):
        with pytest.raises(UsageError, match=r"Cannot use Augmentation\("):
            layers.Augmentation("flip", **options)
    with pytest.raises(ModelError, match="seed=-1 in a Augmentation"):
        layers.Augmentation("flip", seed=-1)


def test_words_say_what_values_say():
    found = layers.Augmentation("flip=vertical, rotation=0.1:0.2,zoom,blur=2").steps
    assert found == (layers.Flip("vertical"), layers.Rotation((0.1, 0.2)), layers.Zoom(), layers.Blur(2.0))
    assert math.isclose(found[1].factor[1], 0.2)


def test_prediction_is_averaged_over_augmented_copies():
    """Of which about half are flipped: the mean tells how many."""
    model, x = classifier("flip"), photographs()
    model.layers[-1].kernel.assign(np.random.default_rng(0).normal(size=(1440, 1)))
    trainer = Trainer(model, optimizer="sgd", loss="mse")
    plain, flipped = trainer.predict(x), trainer.predict(np.ascontiguousarray(x[:, :, ::-1]))
    found = trainer.predict(x, augmentations=16)
    times = 16 * (found - flipped) / (plain - flipped)
    np.testing.assert_allclose(times, np.rint(times), atol=0.01)
    assert 2 <= times.min() < times.max() <= 14
    np.testing.assert_array_equal(trainer.predict(x, augmentations=16), found)
    y, weights = np.arange(len(x), dtype=np.float32)[:, None], np.linspace(0, 1, len(x), dtype=np.float32)
    errors = weights * (np.asarray(found, np.float64) - y)[:, 0] ** 2
    score = trainer.evaluate(x, y, batch_size=4, sample_weight=weights, augmentations=16)
    assert score["loss"] == pytest.approx(errors.mean(), rel=1e-5), "the loss is that of the mean prediction"
    assert trainer.evaluate(x, y, batch_size=4, sample_weight=weights, steps=1, augmentations=16) == {
        "loss": pytest.approx(errors[:4].mean(), rel=1e-5)
    }
    inputs = keras.Input((24, 20, 3))
    without = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    with pytest.raises(ModelError, match=r"its first layer is not a unidl\.layers\.Augmentation"):
        Trainer(without, optimizer="sgd", loss="mse").evaluate(x, y, augmentations=2)


def test_copies_are_made_of_bytes_as_of_floats_and_never_of_other_values():
    """Bytes taken for floats from 0 to 1 are white, all of them, and so is every copy."""
    inputs = keras.Input((24, 20, 3))
    values = keras.layers.Flatten()(layers.Augmentation("flip", seed=5)(inputs))
    model, x = keras.Model(inputs, keras.layers.Dense(1)(values)), photographs()
    trainer = Trainer(model, optimizer="sgd", loss="mse")
    floats = x / np.float32(255)
    found = trainer.predict(x, augmentations=2)
    np.testing.assert_allclose(found, trainer.predict(floats, augmentations=2), rtol=1e-5, atol=1e-5)
    y = np.arange(len(x), dtype=np.float32)[:, None]
    assert trainer.evaluate(x, y, augmentations=2)["loss"] == pytest.approx(np.mean((found - y) ** 2), rel=1e-4)
    with pytest.raises(DataError, match=r"values from 0 to 255, and the model .* from 0 to 1"):
        trainer.predict(x.astype(np.float32), augmentations=2)
    with pytest.raises(DataError, match="The data has no rows"):
        trainer.predict(floats[:0], augmentations=2)


def test_an_image_without_an_inside_is_not_sharpened():
    clips = keras.ops.ones((1, 1, 1, 5, 3))
    assert tones.sharpened(clips, 2.0).shape == clips.shape
