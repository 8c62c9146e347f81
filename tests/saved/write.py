"""Writes the models in this folder anew, with inputs, outputs and texts: python tests/saved/write.py

Run it on one backend, when the format changes; the tests then read the files on every other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from unidl import Trainer, build_cnn, build_lstm, build_transfer, generate_text, registry
from unidl.generation import Draws, choose
from unidl.models import note
from unidl.random import stream
from unidl.saving.directories import write_directory
from unidl.saving.saved import model_files

HERE = Path(__file__).parent
WORDS = ("<pad>", "<unk>", "the", "a", "cat", "dog", "sees", "hears", "and", ".", ",", "two")
TEXTS: tuple[dict[str, Any], ...] = (
    {"prompt": "The cat", "words": 30, "temperature": 0.8, "top_k": 5},
    {"prompt": "two dogs, a cat and", "words": 30, "temperature": 1.3, "top_p": 0.9},
    {"prompt": "sees", "words": 15, "temperature": 0.0},
)
CLEAR = 1e-3
"""How far a draw must be from the border between two words, so that no rounding moves it across: the probabilities of
two backends differ by 1e-6."""


def draw_weights(model: Any, x: np.ndarray, width: float = 1.0) -> Any:
    """Draw weights until every one of them matters for the outputs of `x`, none behind a ReLU that is always 0."""
    from keras import ops

    predict = Trainer(model, loss="mean_squared_error").predict
    weights = [weight for weight in model.weights if weight.name != "count"]
    for seed in range(1000):
        for position, weight in enumerate(weights):
            values = stream(seed, "golden weights", position).uniform(-width, width, size=weight.shape)
            positive = any(word in weight.name for word in ("bias", "beta", "variance"))
            weight.assign((np.abs(values) + 0.1 if positive else values).astype(np.float32))
        finalize(model)
        before, least = predict(x), np.inf
        for weight in weights:
            value = ops.convert_to_numpy(weight.value).copy()
            weight.assign(value * 1.1)
            finalize(model)
            least = min(least, float(np.abs(predict(x) - before).max()))
            weight.assign(value)
        finalize(model)
        if least > 1e-4 and np.ptp(before, axis=0).min() > 1e-3:
            return model
    raise RuntimeError(f"No weights of {model.name} matter.")


def finalize(model: Any) -> None:
    """Let Keras's Normalization make its constants."""
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def strangers_model() -> Any:
    """Layers that we never build, described by Keras."""
    import keras

    inputs = keras.Input((6, 4))
    normal = keras.layers.Normalization(name="normal")
    normal.build((None, 6, 4))
    values = keras.layers.Conv1D(3, 3, padding="same", data_format="channels_last")(normal(inputs))
    values = keras.layers.LayerNormalization()(values)
    values = keras.layers.GRU(3, reset_after=False)(keras.ops.relu(values))
    return keras.Model(inputs, keras.layers.Dense(2, activation="tanh")(values), name="stranger")


def is_clear(model: Any, options: dict[str, Any], seed: int) -> bool:
    """Whether a text is the same however the last digits of the probabilities are rounded."""
    from unidl import generation

    draws = Draws(options["temperature"], options.get("top_k"), options.get("top_p"), seed)
    clear = True

    def checked(probabilities, draw, _):
        nonlocal clear
        ranked = np.sort(probabilities[2:])[::-1]
        near = {choose(probabilities, min(max(draw + step, 0), 1 - 1e-9), draws) for step in (-CLEAR, 0, CLEAR)}
        cut = sorted(np.cumsum(ranked / ranked.sum()))
        border = options.get("top_p") is not None and min(abs(edge - options["top_p"]) for edge in cut) < CLEAR
        clear &= len(near) == 1 and np.diff(ranked[:6]).max() < -1e-4 and not border
        return choose(probabilities, draw, draws)

    generation.choose = checked
    try:
        generate_text(model, seed=seed, **options)
    finally:
        generation.choose = choose
    return clear


def write_model(name: str, model: Any, x: np.ndarray) -> None:
    """Write a model, and beside it what it gives for `x`."""
    write_directory(HERE / name, model_files(model))
    np.savez(HERE / f"{name}.npz", x=x, outputs=Trainer(model).predict(x))


def write_texts(model: Any) -> None:
    """Write what the language model says, with seeds for which it is clear."""
    texts = []
    for options in TEXTS:
        seed = next(seed for seed in range(10_000) if is_clear(model, options, seed))
        texts.append({**options, "seed": seed, "text": generate_text(model, seed=seed, **options)})
    (HERE / "texts.json").write_text(json.dumps(texts, indent=1) + "\n")


def main() -> None:
    registry.current()
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(4, 8, 8, 1)).astype(np.float32)
    tokens = generator.integers(0, 12, size=(4, 4)).astype(np.int32)
    series = generator.normal(size=(4, 6, 4)).astype(np.float32)
    cnn = draw_weights(build_cnn((8, 8, 1), 3, filters=(2, 2), dense_units=4, batch_normalization=True), images)
    gru = build_lstm(
        12, 4, units=3, embedding_size=3, cell="gru", bidirectional=True, output="steps", mask_padding=True
    )
    lstm = draw_weights(build_lstm(12, 4, units=4, embedding_size=3), tokens, width=3.0)
    note(lstm, vocabulary=WORDS)
    write_model("cnn", cnn, images)
    write_model("transfer", draw_weights(build_transfer(cnn, classes=2, dense_units=3), images), images)
    write_model("gru", draw_weights(gru, tokens), tokens)
    write_model("lstm", lstm, tokens)
    write_model("stranger", draw_weights(strangers_model(), series), series)
    write_texts(lstm)


if __name__ == "__main__":
    main()
