"""The reference of the command line, one page a command, from the parsers of `argparse`."""

from __future__ import annotations

import argparse
import re

from unidl.cli.main import COMMANDS, build_parser


def pages() -> dict[str, str]:
    """Return a page for each command, and one that lists them."""
    parsers = _parsers(build_parser())
    listed = [f"| [`unidl {name}`](command_{name}.md) | {_escaped(parsers[name].description)} |" for name in COMMANDS]
    names = "\n".join(f"command_{name}" for name in COMMANDS)
    index = [
        "# The command line",
        "Each command has `--help`, which says what these pages say.",
        "\n".join(["| command | what it does |", "|---|---|", *listed]),
        f"```{{toctree}}\n:hidden:\n\n{names}\n```",
    ]
    return {"commands.md": _page(index)} | {f"command_{name}.md": _command(name, parsers[name]) for name in COMMANDS}


def _parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    [commands] = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    parts = [f"# unidl {name}", _escaped(parser.description)]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if actions:
            parts.append(f"## {_title(group.title or '')}")
            parts += [f"`{_invocation(action)}`\n: {_escaped(_help(parser, action))}" for action in actions]
    epilog, _, examples = (parser.epilog or "").rpartition("example")
    parts += _sections(epilog)
    parts += ["## Examples", f"```text\n{_without_margin(examples.partition(chr(10))[2])}\n```"]
    return _page(parts)


def _sections(epilog: str) -> list[str]:
    """What a command says below its options: paragraphs with a title in their first line."""
    found: list[str] = []
    for paragraph in filter(None, (part.strip("\n") for part in epilog.split("\n\n"))):
        title, _, text = paragraph.partition("\n")
        found += [f"## {_title(title.rstrip(':'))}", f"```text\n{_without_margin(text)}\n```"]
    return found


def _invocation(action: argparse.Action) -> str:
    """An option as it is written, such as `--out DIR`."""
    value = "" if action.nargs == 0 else _value(action)
    if not action.option_strings:
        return value
    return ", ".join(f"{option} {value}".strip() for option in action.option_strings)


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        word = f"{{{','.join(map(str, action.choices))}}}"
    else:
        word = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    many = {argparse.REMAINDER: f"[{word} ...]", "?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} [{word} ...]"}
    return many.get(str(action.nargs), word)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _title(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _without_margin(text: str) -> str:
    return re.sub(r"^  ", "", text.rstrip(), flags=re.MULTILINE)


def _escaped(text: str | None) -> str:
    """Text of a help as Markdown: what stands between backquotes stays, other signs of markup are escaped."""
    parts = re.split(r"(`[^`]*`)", text or "")
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|~])", r"\\\1", part) for part in parts)


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"
