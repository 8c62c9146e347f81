"""A distribution with plugins, installed into a folder on the path, as pip leaves one."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, source: str, name: str = "added", **groups: str) -> None:
    """Install a module `name` with this source. groups: the group of entry points after `unidl.`, as in
    data="mine = added:MINE"; several with lines between them."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[unidl.{group}]\n{entries}\n" for group, entries in groups.items()]
    (information / "entry_points.txt").write_text("".join(lines))
    (folder / f"{name}.py").write_text(source)
