"""What unidl writes, its strict readers read. Without this a good model would be refused for the sake of bad ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unidl.saving.keras_names import refuse_names, without_compilation
from unidl.saving.strict_json import DEEPEST, read_json
from unidl.saving.tensor_files import TYPES, read_tensors

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.booleans())
def test_what_json_can_say_is_read_as_json_reads_it(value, in_ascii: bool):
    assert read_json(json.dumps(value, ensure_ascii=in_ascii).encode()) == value


def test_brackets_in_words_are_no_depth():
    word = '[{"\\' * 1000
    assert read_json(json.dumps([word]).encode()) == [word]


def test_the_depth_is_counted_to_the_last_bracket():
    assert read_json(b"[" * DEEPEST + b"]" * DEEPEST)
    with pytest.raises(ValueError, match="deep"):
        read_json(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))


def test_infinity_is_a_number_only_where_it_is_said():
    """A callback that waits for the least loss begins there."""
    assert read_json(b"[Infinity, -Infinity]", infinite=True) == [math.inf, -math.inf]
    for text in (b"Infinity", b"NaN", b"1e400", b"-1e400"):
        with pytest.raises(ValueError, match=r"is not a JSON number|is too large"):
            read_json(text)


TENSORS = st.dictionaries(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=8).filter(
        lambda name: name[0] != "_"
    ),
    st.sampled_from(sorted(set(TYPES) - {"C64"})).flatmap(
        lambda name: arrays.arrays(
            np.dtype(TYPES[name]), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    ),
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(TENSORS)
def test_what_safetensors_writes_is_read_to_the_last_bit(tensors):
    from safetensors.numpy import save

    found = read_tensors(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable, "PyTorch warns of arrays that cannot be written to"


PARTS = [
    ("Dense", "keras.layers"),
    ("Functional", "keras.src.models.functional"),
    ("Sequential", "keras"),
    ("DTypePolicy", "keras"),
    ("GlorotUniform", "keras.initializers"),
    ("Multiply", "keras.src.ops.numpy"),
    ("LayerScale", "keras.src.applications.convnext"),
    ("Mine", "my.package"),
    ("Mine", None),
]
NO_PARTS = [
    ("VGG16", "keras.src.applications.vgg16"),
    ("VGG16", "keras.applications"),
    ("layers.Lambda", "keras"),
    ("load_model", "keras.models"),
    ("set_floatx", "keras"),
    ("set_floatx", "keras.src.backend.config"),
    ("Lambda", "my.package"),
    ("X", "keras.layersx"),
    ("X", "keras.layers "),
    ("X", "keras_hub.models"),
]


@pytest.mark.parametrize(("name", "module"), PARTS)
def test_the_parts_of_models_may_be_named(name: str, module: str | None):
    refuse_names({"class_name": name, "module": module, "config": {}})


@pytest.mark.parametrize(("name", "module"), NO_PARTS)
def test_other_names_may_not_wherever_they_are(name: str, module: str):
    entry = {"class_name": name, "module": module, "config": {}}
    function = {"class_name": "function", "module": module, "config": name}
    for description in (
        entry,
        {"class_name": "Dense", "module": "keras.layers", "config": {"a": [{"b": entry}]}},
        function,
    ):
        with pytest.raises(ValueError, match="it names"):
            refuse_names(description)


def test_what_a_model_was_compiled_with_is_left_out_everywhere():
    found = {"config": {"layers": [{"compile_config": 1, "name": "a"}]}, "compile_config": {"optimizer": "adam"}}
    assert without_compilation(found) == {"config": {"layers": [{"name": "a"}]}}
