"""Code blocks of Markdown pages, and commands of pages on less data: what is tested is that they run as they stand."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unidl import registry
from unidl.cli.main import main

BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<head>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", flags=re.MULTILINE | re.DOTALL)
SENTENCES = "the value of the object is the value of the name . " * 60


@dataclass(frozen=True)
class Block:
    """A fenced block. directive: as in {code-block}, empty for a plain one; caption: the file that it stands for."""

    language: str
    body: str
    directive: str = ""
    caption: str | None = None


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    return [_block(found["head"].strip(), found["body"]) for found in BLOCK.finditer(text)]


def _block(head: str, body: str) -> Block:
    directive = re.fullmatch(r"\{([\w-]+)\}\s*(\S*)", head)
    if directive is None:
        return Block(head, body)
    options = re.match(r"(?::[\w-]+:[^\n]*\n)*", body)
    start = "" if options is None else options[0]
    caption = re.search(r"^:caption: (.+)$", start, flags=re.MULTILINE)
    return Block(directive[2], body[len(start) :].lstrip("\n"), directive[1], caption and caption[1])


def commands_in(body: str) -> list[str]:
    """Return the lines of a block of a shell."""
    return [line for line in body.splitlines() if line and not line.startswith("#")]


def shortened_python(source: str) -> str:
    """Return the same Python on less data."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "epochs":
            node.value = ast.Constant(1)
    return ast.unparse(tree).replace("text.train", "take(text.train, slice(0, 256))")


def shortened_command(words: Sequence[str]) -> list[str]:
    """Return the same command for one epoch, on a short text, and on one backend and in one short round where all of
    them would be verified or measured. words: without `unidl`. The folder has a file short.txt."""
    changed = list(words)
    if changed[:2] == ["train", "lstm"]:
        changed += ["--data", "short.txt"]
    elif changed[0] == "train" and not {"--resume", "--stages"} & {*changed}:
        changed += ["--epochs", "1"]
    if changed[0] in ("compare", "verify") and not {"--from", "--against"} & {*changed}:
        changed += ["--backends", registry.current().name]
    if changed[0] == "compare" and "--from" not in changed:
        changed += ["--rounds", "1", "--rows", "256"]
    return changed


def output_of(words: Sequence[str]) -> str:
    """Run a command of unidl in this process, and return what it printed. Fails if it fails."""
    output, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaints):
        code = main(list(words))
    assert code == 0, f"unidl {' '.join(words)}\n{complaints.getvalue()[-2000:]}"
    return output.getvalue()


def with_short_text(folder: Path) -> None:
    """Write the text that `shortened_command` names."""
    (folder / "short.txt").write_text(SENTENCES)
