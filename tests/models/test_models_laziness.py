"""An impossible request is refused before seconds are spent on importing a framework."""

import subprocess
import sys

import pytest

IMPORTED = "sorted({'keras', 'jax', 'torch', 'tensorflow'} & set(sys.modules))"


@pytest.mark.parametrize(
    "call",
    [
        "build_cnn(classes=1)",
        "build_cnn((5, 5, 1))",
        "build_lstm(units=0)",
        "build_lstm(features=2)",
        "build_transfer(pooling='max')",
        "build_transformer(units=10, heads=3)",
        "build_text_classifier(classes=1)",
        "build_transfer(weights='nowhere.h5')",
        "build(Architecture('vit', {}))",
    ],
)
def test_nothing_is_imported_for_an_impossible_model(call):
    code = (
        "import sys\nfrom unidl.models import *\nfrom unidl.errors import ModelError\n"
        f"try:\n    {call}\nexcept ModelError:\n    print({IMPORTED})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
