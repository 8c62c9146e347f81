"""The tokenizer that belongs to a preset or a folder of a pretrained backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidl.data.tokenizer import TOKENS, USUAL_LENGTH, Tokenizer
from unidl.errors import DataError
from unidl.hub import keras_hub
from unidl.notices import notice

if TYPE_CHECKING:
    import keras

LONGEST = 512
"""Tokens that a backbone reads at once, if it has no limit of its own: attention takes the square of it."""
WORD_PIECES = ("bert", "distilbert")
"""Kinds of models of Hugging Face whose vocab.txt holds pieces of words."""


def tokenizer_of(name: str, backbone: keras.Model) -> Tokenizer | None:
    """Return the tokenizer of a preset or folder; None, with a notice, if it has none that can be kept as JSON."""
    inputs = list(backbone.input) if isinstance(backbone.input, dict) else [TOKENS]
    longest = getattr(backbone, "max_sequence_length", None) or LONGEST
    try:
        config = _read(Path(name), "config.json")
        if config.get("model_type") in WORD_PIECES:
            return _word_pieces(Path(name), inputs, longest)
        return Tokenizer.of(keras_hub().tokenizers.Tokenizer.from_preset(name), inputs, longest)
    except (ImportError, OSError, ValueError, KeyError, TypeError, DataError) as error:
        # What KerasHub raises where files of the tokenizer are missing or damaged, and what its own kinds need.
        notice(f"{name}: its tokenizer cannot be used ({str(error).rstrip('.')}); pass token ids to the model")
        return None


def _word_pieces(folder: Path, inputs: list[str], longest: int) -> Tokenizer:
    """Return the tokenizer of BERT's kind in a folder in the format of Hugging Face.

    As there, accents are dropped where letters become small, unless the folder says otherwise; KerasHub keeps them.
    """
    settings, fast = _read(folder, "tokenizer_config.json"), _read(folder, "tokenizer.json")
    normalizer = fast.get("normalizer") or {}
    if fast:
        by_id = {number: piece for piece, number in fast["model"]["vocab"].items()}
        pieces = [by_id[number] for number in range(len(by_id))]
    else:
        # Not splitlines: a piece may be a sign that Unicode takes for the end of a line.
        pieces = (folder / "vocab.txt").read_text("utf-8").removesuffix("\n").split("\n")
    lower = settings.get("do_lower_case", normalizer.get("lowercase", True))
    strip = settings.get("strip_accents", normalizer.get("strip_accents"))
    number = {piece: place for place, piece in enumerate(pieces)}
    return Tokenizer(
        "WordPieceTokenizer",
        tuple(pieces),
        {"lowercase": bool(lower), "strip_accents": bool(lower if strip is None else strip)},
        number["[CLS]"],
        number["[SEP]"],
        number["[PAD]"],
        tuple(name for name in ("token_ids", "segment_ids", "padding_mask") if name in inputs),
        min(USUAL_LENGTH, longest),
        longest,
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    """Return what a JSON file says; nothing if it does not exist."""
    if not (folder / name).is_file():
        return {}
    found = json.loads((folder / name).read_text("utf-8"))
    return found if isinstance(found, dict) else {}
