"""A model saved on one backend gives the same on every other. Without this a person who changes the framework loses the
model; and a model of last year, saved by an earlier version, would be lost unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from processes import python
from saving import ACROSS_BACKENDS, IMAGES, TOKENS, save, scramble

from unidl import Trainer, build_cnn, build_lstm, generate_text, load_model, registry
from unidl.models import trainable_state

GOLDEN = Path(__file__).parents[1] / "saved"
"""Written by `tests/saved/write.py` on one backend, with what the models gave there."""

NAMES = ("cnn", "transfer", "gru", "lstm", "stranger")


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_model_gives_what_it_gave_where_it_was_saved(name: str):
    with np.load(GOLDEN / f"{name}.npz") as golden:
        x, expected = golden["x"], golden["outputs"]
    model = load_model(GOLDEN / name, trust=name == "stranger")
    trainer = Trainer(model, loss="mean_squared_error") if name == "stranger" else Trainer(model)
    np.testing.assert_allclose(trainer.predict(x), expected, rtol=0, atol=ACROSS_BACKENDS, strict=True)


def test_the_golden_outputs_would_show_a_wrong_weight():
    """Outputs that depend on few weights, or a comparison that is too mild, would show nothing."""
    from keras import ops

    with np.load(GOLDEN / "gru.npz") as golden:
        x, expected = golden["x"], golden["outputs"]
    model = load_model(GOLDEN / "gru")
    predict = Trainer(model).predict
    for weight in model.weights:
        value = ops.convert_to_numpy(weight.value).copy()
        weight.assign(value * 1.01)
        assert np.abs(predict(x) - expected).max() > ACROSS_BACKENDS, weight.path
        weight.assign(value)
    np.testing.assert_allclose(predict(x), expected, rtol=0, atol=ACROSS_BACKENDS)


def test_the_golden_transfer_model_has_its_base_frozen():
    assert trainable_state(load_model(GOLDEN / "transfer"))[0] == "cnn"


@pytest.mark.parametrize("case", json.loads((GOLDEN / "texts.json").read_text()), ids=lambda case: case["prompt"])
def test_the_same_seed_writes_the_same_text_on_every_backend(case):
    """Words drawn by this framework's own generator would be others."""
    options = dict(case)
    text = options.pop("text")
    assert generate_text(load_model(GOLDEN / "lstm"), **options) == text


THERE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from saving import IMAGES, TOKENS, save, scramble
from unidl import Trainer, build_cnn, build_lstm, load_model
here, there = Path(sys.argv[1]), Path(sys.argv[2])
def predicted(cnn, lstm):
    return {"cnn": Trainer(cnn).predict(IMAGES), "lstm": Trainer(lstm).predict(TOKENS)}
np.savez(there / "loaded.npz", **predicted(load_model(here / "cnn"), load_model(here / "lstm")))
cnn = scramble(build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4, seed=5))
lstm = scramble(build_lstm(12, 4, units=4, embedding_size=3, cell="gru", seed=5))
save(cnn, there / "cnn"), save(lstm, there / "lstm")
np.savez(there / "saved.npz", **predicted(cnn, lstm))
"""


def others() -> list[str]:
    """The other backends that this environment could run."""
    return [row.name for row in registry.backends() if row.installed and not row.selected]


@pytest.mark.skipif(not others(), reason="only one framework is installed here; the golden models stand in for others")
def test_models_go_to_the_other_backends_of_this_environment_and_come_back(tmp_path):
    here = {
        "cnn": scramble(build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4)),
        "lstm": scramble(build_lstm(12, 4, units=4, embedding_size=3)),
    }
    inputs = {"cnn": IMAGES, "lstm": TOKENS}
    for name, model in here.items():
        save(model, tmp_path / "here" / name)
    for other in others():
        there = tmp_path / other
        there.mkdir()
        words = [str(tmp_path / "here"), str(there), str(Path(__file__).parents[1])]
        python(f"import sys; sys.argv[1:] = {words!r}\n{THERE}", UNIDL_BACKEND=other, UNIDL_DEVICE="cpu")
        for file, models in (("loaded", here), ("saved", None)):
            with np.load(there / f"{file}.npz") as found:
                for name, x in inputs.items():
                    model = models[name] if models else load_model(there / name)
                    np.testing.assert_allclose(Trainer(model).predict(x), found[name], rtol=0, atol=ACROSS_BACKENDS)
