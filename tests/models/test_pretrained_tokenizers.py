"""The number of a piece of a word is its line in vocab.txt: one line too many, and all words after it are others."""

from __future__ import annotations

from unidl.models.pretrained_tokenizers import _word_pieces


def test_signs_that_unicode_takes_for_ends_of_lines_are_pieces(tmp_path):
    pieces = ["[PAD]", "[CLS]", "[SEP]", "\u2028", "\x85", "\x0b", "word"]
    (tmp_path / "vocab.txt").write_bytes(("\n".join(pieces) + "\n").encode())
    assert list(_word_pieces(tmp_path, ["token_ids"], 16).vocabulary) == pieces
