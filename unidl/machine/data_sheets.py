"""Figures of GPUs, read from `gpus.toml` or from a file of the same form. Rates are dense."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unidl.errors import DataError, UsageError

OURS = Path(__file__).with_name("gpus.toml")
RATES = ("fp32_tflops", "tf32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops")
MATRIX_RATES = ("fp16_tflops", "bf16_tflops")
"""The rates of matrix units that units and clock give."""
MOST = {"tf32_tflops": 0.5, "fp8_tflops": 2.0}
"""The highest dense rates of other matrix units, as multiples of the 16-bit one. TF32 is slower than half on some; FP8
is listed at another clock for some, by up to 1.3%."""
MOST_TOLERANCE = 0.02
TOLERANCE = 0.01
"""How far a listed rate may be from the one that units and clock give; data sheets round to three digits."""


@dataclass(frozen=True)
class DataSheet:
    """The figures of one GPU; None where it has no such unit, or where they are unknown."""

    name: str
    memory_gb: float
    bandwidth_gb_s: float
    fp32_tflops: float
    power_watts: float
    as_of: str
    source: tuple[str, ...]
    tf32_tflops: float | None = None
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    fp8_tflops: float | None = None
    range: str = ""
    architecture: str = ""
    capability: str = ""
    released: str = ""
    memory_type: str = ""
    units: int | None = None
    clock_mhz: float | None = None
    flop_per_unit_clock: int | None = None
    fp32_flop_per_unit_clock: int | None = None
    fp32_clock_mhz: float | None = None
    derived: tuple[str, ...] = ()
    note: str = ""

    @property
    def bytes_per_second(self) -> float:
        """Bandwidth of its memory."""
        return self.bandwidth_gb_s * 1e9

    @property
    def memory_bytes(self) -> float:
        """Size of its memory."""
        return self.memory_gb * 1e9

    @property
    def derived_tflops(self) -> float | None:
        """The dense 16-bit rate from units, operations of a unit in a clock, and clock."""
        if self.units is None or self.clock_mhz is None or self.flop_per_unit_clock is None:
            return None
        return self.units * self.flop_per_unit_clock * self.clock_mhz * 1e-6

    @property
    def derived_fp32_tflops(self) -> float | None:
        """The float32 rate, likewise."""
        clock = self.fp32_clock_mhz or self.clock_mhz
        if self.units is None or clock is None or self.fp32_flop_per_unit_clock is None:
            return None
        return self.units * self.fp32_flop_per_unit_clock * clock * 1e-6

    def flops_per_second(self, column: str) -> float | None:
        """The rate of one of `RATES`; None if the GPU has no units for it."""
        found = getattr(self, column)
        return None if found is None else found * 1e12


FIGURES = {field.name: field for field in fields(DataSheet)}
WORDS = ("name", "as_of", "range", "architecture", "capability", "released", "memory_type", "note")
LISTS = ("source", "derived")
REQUIRED = ("name", "memory_gb", "bandwidth_gb_s", "fp32_tflops", "power_watts", "as_of", "source")


def data_sheets(file: Path = OURS) -> tuple[DataSheet, ...]:
    """Return the GPUs of a file. Raises `DataError` for a file that cannot be read, a figure that is missing or is not
    a number above 0, or a listed rate that differs from the one that units and clock give."""
    try:
        rows = tomllib.loads(file.read_text(encoding="utf-8")).get("gpu", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"Cannot read the figures of GPUs in {file}: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"Cannot use {file}: it has no table [[gpu]]. unidl's own is {OURS}.")
    found = tuple(_data_sheet(row, file) for row in rows)
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Cannot use {file}: it has two GPUs named {twice!r}.")
    return found


def _data_sheet(row: Any, file: Path) -> DataSheet:
    name = row.get("name") if isinstance(row, Mapping) else None
    place = f"the GPU {name!r} in {file}"
    if not isinstance(name, str) or not name:
        raise DataError(f"Cannot use {file}: a table [[gpu]] has no name.")
    unknown = [key for key in row if key not in FIGURES]
    if unknown:
        raise DataError(f"Cannot use {place}: unknown figure {unknown[0]!r}. Known: {', '.join(FIGURES)}.")
    missing = [key for key in REQUIRED if key not in row]
    if missing:
        raise DataError(f"Cannot use {place}: {missing[0]!r} is missing. Required: {', '.join(REQUIRED)}.")
    values: dict[str, Any] = {}
    for key, value in row.items():
        if key in LISTS:
            value = [value] if isinstance(value, str) else value
            good = isinstance(value, list) and all(isinstance(word, str) for word in value)
            values[key] = tuple(value) if good else None
        elif key in WORDS:
            good = isinstance(value, str)
            values[key] = value
        else:
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
            values[key] = value
        if not good:
            raise DataError(f"Cannot use {place}: {key} = {value!r} is not {_wanted(key)}.")
    sheet = DataSheet(**values)
    require_dense(sheet, place)
    return sheet


def _wanted(key: str) -> str:
    return "a text" if key in WORDS else "a list of texts" if key in LISTS else "a number above 0"


def require_dense(sheet: DataSheet, place: str) -> None:
    """Raise `DataError` if a rate is not the dense one that units and clock give, as far as both are known."""
    derived = sheet.derived_tflops
    checked = [(name, derived) for name in MATRIX_RATES if derived is not None]
    if sheet.derived_fp32_tflops is not None:
        checked.append(("fp32_tflops", sheet.derived_fp32_tflops))
    for name, expected in checked:
        listed = getattr(sheet, name)
        if listed is None or abs(listed / expected - 1) <= TOLERANCE:
            continue
        if abs(listed / expected / 2 - 1) <= TOLERANCE:
            why = "twice that: it is the rate with structured sparsity. Give the dense one, which is half of it"
        else:
            why = "another one. Correct the rate, the units or the clock"
        raise DataError(f"Cannot use {place}: units and clock give {name} = {expected:.1f}, but {listed:g} is {why}.")
    for name, times in MOST.items():
        listed = getattr(sheet, name)
        if derived is not None and listed is not None and listed > times * derived * (1 + MOST_TOLERANCE):
            raise DataError(
                f"Cannot use {place}: {name} = {listed:g} is above the dense rate that units and clock give, "
                f"{times * derived:.1f}. Give the dense rate."
            )


def chosen(words: Sequence[str], sheets: Sequence[DataSheet]) -> tuple[DataSheet, ...]:
    """Return the GPUs of the given names, each a part of exactly one full name, such as "RTX 4090". Raises
    `UsageError`."""
    return tuple(dict.fromkeys(_one(word, sheets) for word in words))


def _one(word: str, sheets: Sequence[DataSheet]) -> DataSheet:
    wanted = _parts(word)
    whole = [sheet for sheet in sheets if _parts(sheet.name) == wanted]
    equal = [sheet for sheet in sheets if wanted and set(wanted) <= set(_parts(sheet.name))]
    begun = [sheet for sheet in sheets if wanted and all(_begins(part, sheet) for part in wanted)]
    found = whole or equal or begun
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(sheet.name for sheet in found)
        raise UsageError(f"Cannot use the GPU {word!r}: several have this name. Say which: {names}.")
    near = _nearest(word, sheets)
    raise UsageError(
        f"Unknown GPU {word!r}. Nearest: {', '.join(near)}. {len(sheets)} are known; give the figures of another in a "
        "file with --gpu-file."
    )


def _parts(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _begins(part: str, sheet: DataSheet) -> bool:
    return any(one.startswith(part) for one in _parts(sheet.name))


def _nearest(word: str, sheets: Sequence[DataSheet], most: int = 4) -> list[str]:
    """Return the names of which a part is closest to a part of the word."""
    owners: dict[str, list[str]] = {}
    for sheet in sheets:
        for part in [*_parts(sheet.name), sheet.name.lower()]:
            owners.setdefault(part, []).append(sheet.name)
    found: list[str] = []
    for part in [word.lower(), *_parts(word)]:
        for close in get_close_matches(part, owners, n=most, cutoff=0.4):
            found += owners[close]
    return list(dict.fromkeys(found))[:most] or [sheet.name for sheet in sheets[:most]]
