"""Argparse types for numbers and lists of names; errors state the allowed values."""

from __future__ import annotations

import argparse
import math


def names(words: str) -> list[str]:
    """Parse comma-separated names."""
    found = [word.strip() for word in words.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"invalid names {words!r}: expected comma-separated names")
    return found


def positive_whole(word: str) -> int:
    """Parse an integer of at least 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 1")
    return int(word)


def whole(word: str) -> int:
    """Parse an integer of at least 0."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 0")
    return int(word)


def positive_number(word: str) -> float:
    """Parse a finite number above 0."""
    number = _number(word)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0")
    return number


def number_from_zero(word: str) -> float:
    """Parse a finite number of at least 0."""
    number = _number(word)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of at least 0")
    return number


def fraction(word: str) -> float:
    """Parse a number in [0, 1)."""
    number = _number(word)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 0 up to, but not including, 1")
    return number


def share(word: str) -> float:
    """Parse a number in (0, 1]."""
    number = _number(word)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0 and up to 1")
    return number


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number") from None
