"""A tiny BERT in a folder in the format of Hugging Face, and what it gives, in NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTH, HEADS, LAYERS, LONGEST = 8, 2, 2, 16
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "cat", "dog", "sleep", "##s", "bark", "soft", "##ly", "loud", "a", "cafe", ".", "!")
VOCABULARY = (*PIECES, *WORDS)


def bert_folder(path: Path, *, fast: bool = False) -> dict[str, np.ndarray]:
    """Write the folder, and return the tensors in it. fast: whether its tokenizer is a tokenizer.json."""
    from safetensors.numpy import save_file

    path.mkdir(parents=True, exist_ok=True)
    tensors = _tensors()
    save_file(tensors, path / "model.safetensors")
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(VOCABULARY),
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": LONGEST,
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    if fast:
        pieces = {piece: number for number, piece in enumerate(VOCABULARY)}
        made = {"model": {"type": "WordPiece", "vocab": pieces}, "normalizer": {"lowercase": True}}
        (path / "tokenizer.json").write_text(json.dumps(made))
    else:
        (path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tensors


def _tensors() -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(3)
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    } | _norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{layer}.{name}.weight": (WIDTH, WIDTH), f"{layer}.{name}.bias": (WIDTH,)}
        shapes |= {f"{layer}.intermediate.dense.weight": (2 * WIDTH, WIDTH)}
        shapes |= {f"{layer}.intermediate.dense.bias": (2 * WIDTH,)}
        shapes |= {f"{layer}.output.dense.weight": (WIDTH, 2 * WIDTH), f"{layer}.output.dense.bias": (WIDTH,)}
        shapes |= _norm(f"{layer}.attention.output.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    return {name: drawn.normal(0, 0.5, shape).astype("float32") for name, shape in shapes.items()}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def pooled(given: dict[str, np.ndarray], tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What BERT pools, (rows, 8): Devlin et al. 2018, with the approximate GELU that KerasHub uses."""

    def dense(x, name):
        return x @ given[f"{name}.weight"].T + given[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * given[f"{name}.weight"] + given[f"{name}.bias"]

    x = given["embeddings.word_embeddings.weight"][tokens]
    x = x + given["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = norm(x + given["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            dense(x, f"{layer}.attention.self.{name}").reshape(*tokens.shape, HEADS, -1).transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS)
        scores = np.where(mask[:, None, None] > 0, scores, -1e9)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads = (weights / weights.sum(-1, keepdims=True)) @ value
        heads = heads.transpose(0, 2, 1, 3).reshape(*tokens.shape, WIDTH)
        x = norm(x + dense(heads, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = dense(x, f"{layer}.intermediate.dense")
        inner = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        x = norm(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return np.tanh(dense(x[:, 0], "pooler.dense"))


def sentences(path: Path, rows: int = 6) -> Path:
    """Write a folder of two classes of sentences, one a file."""
    for kind, words in (("calm", "the cat sleeps softly"), ("loud", "the dog barks loud !")):
        (path / kind).mkdir(parents=True)
        for number in range(rows):
            (path / kind / f"{number}.txt").write_text(f"{'a ' * (number % 3)}{words}", encoding="utf-8")
    return path
