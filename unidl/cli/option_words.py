"""Messages of the library in the words of the command line: `--target a` where Python writes `target='a'`."""

from __future__ import annotations

import argparse
import re

_WORD = r"'[^'\s]*'"
_ARGUMENT = re.compile(
    r"(?<![^\s(])(?P<name>[a-z]+(?:_[a-z]+)*)="
    rf"(?P<value>\[{_WORD}(?:, {_WORD})*\]|{_WORD}|[\w+-]+(?:\.\d+)?)?"
)
_IN_A_CALL = re.compile(r"\w\([^()]*$")
"""What precedes an argument in code, as in DataLoader(data, batch_size=32)."""


def in_options(message: str, parser: argparse.ArgumentParser) -> str:
    """Return a message in which arguments of functions that are options of a command are written as such.

    parser: of the command. An argument is an option if it has the name of one.
    """
    known = set(re.findall(r"--[a-z][a-z-]*", parser.format_usage()))

    def option(found: re.Match[str]) -> str:
        name, value = found["name"].replace("_", "-"), found["value"]
        flag = f"--no-{name}" if value == "False" else f"--{name}"
        if flag not in known or _IN_A_CALL.search(message[: found.start()]):
            return found[0]
        if value is None or value in ("True", "False"):
            return flag
        words = [word.strip("'") for word in re.findall(_WORD, value)]
        return f"{flag} {','.join(words) or value}"

    return _ARGUMENT.sub(option, message)
