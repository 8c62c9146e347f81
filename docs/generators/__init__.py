"""Pages of the reference that are written from the code itself, so that they cannot differ from it."""

from __future__ import annotations

from pathlib import Path

from generators import api, command_line, exit_codes, gpus, performance, pictures

PAGES = (api, command_line, exit_codes, gpus, performance, pictures)
"""Modules with a function `pages`, which returns texts by names of files."""


def write_all(folder: Path) -> None:
    """Write all generated pages and pictures into a folder. What has not changed keeps its time, which Sphinx reads."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {name: text for module in PAGES for name, text in module.pages().items()}
    for old in folder.iterdir():
        if old.is_file() and old.name not in written:
            old.unlink()
    for name, text in written.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
