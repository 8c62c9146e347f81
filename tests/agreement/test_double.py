"""The oracle computes in float64 whatever a model asks for. Without this it rounds as those do that it judges."""

from __future__ import annotations

import json

import numpy as np
from processes import python

from unidl import registry

BACKEND = registry.current().name
THIRD = -1 / 3
CODE = f"""
import json, os
from unidl import registry
os.environ.update(registry.adapters()[{BACKEND!r}].float64)
registry.current()
from unidl.agreement.double import compute_in_float64
compute_in_float64()
import keras, numpy as np
from keras import ops

def values(x):
    single = ops.cast(x, "float32")
    return [single, ops.cast(x, "float16"), ops.cast(x, "int32"), ops.view(single, "int32")]

given = keras.Input((1,))
third = ops.convert_to_tensor(np.array([[{THIRD!r}]]))
for found in values(third), keras.Model(given, values(given))(third):
    print(json.dumps([ops.convert_to_numpy(one).tolist() for one in found]))
"""


def test_a_model_that_casts_to_float32_gets_float64():
    """What it casts to a shorter type, or looks at bit by bit, is what it is everywhere."""
    expected = [THIRD, float(np.float16(THIRD)), 0, int(np.float32(THIRD).view(np.int32))]
    for found in python(CODE, UNIDL_BACKEND=BACKEND, UNIDL_DEVICE="cpu").splitlines():
        assert json.loads(found) == [[[value]] for value in expected]


def test_the_kernels_are_sound_in_float64_as_well():
    """The oracle computes with them; without its corrections it would report correct averages on PyTorch as wrong."""
    code = f"""
from unidl.agreement.worker import _load
_load({BACKEND!r}, float64=True)
from unidl_{BACKEND} import kernels
print({{name: why for name, why in kernels.REPLACEMENTS.checked().items() if why is not None}})
"""
    assert python(code, UNIDL_BACKEND=BACKEND, UNIDL_DEVICE="cpu") == "{}"
