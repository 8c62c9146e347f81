"""Every command and every line of Python of the site's pages is run. Without this the first thing that a reader copies
fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from pages import Block, blocks_of, commands_in, output_of, shortened_command, with_short_text
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "generated"} & {*path.relative_to(DOCS).parts}
}
NOT_RUN = ("text", "toml", "console", "")
"""Languages of blocks that show something: a file, a folder, what was printed, or what needs other machines."""

pytestmark = pytest.mark.docs


def is_notebook(text: str) -> bool:
    """Whether a page is executed when the site is built."""
    return "file_format: mystnb" in text


def own_blocks(text: str) -> list[Block]:
    """The blocks of a page that the test has to run."""
    found = (block for block in blocks_of(text) if block.directive != "code-cell")
    return [block for block in found if block.language in ("sh", "python") or block.caption is not None]


RUN = [name for name, text in PAGES.items() if own_blocks(text)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the pages name: what a reader would have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples/seven.png", tmp_path / "examples")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    with_short_text(tmp_path)
    generator = np.random.default_rng(0)
    for name, brightness in {"cats": 60, "dogs": 200}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 50, (40, 40, 3)) + brightness
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "photos" / name / f"{number}.png")
    houses = [f"{30 + 10 * row},{('north', 'south')[row % 2]},{100 + 3 * row}" for row in range(40)]
    (tmp_path / "houses.csv").write_text("\n".join(["area,side,price", *houses]) + "\n")
    (tmp_path / "new_houses.csv").write_text("area,side\n75,north\n120,south\n")
    reviews = [
        f"{('good and kind', 'bad and slow')[row % 2]} number {row},{('glad', 'sad')[row % 2]}" for row in range(40)
    ]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,mood", *reviews]) + "\n")
    return tmp_path


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_run_or_shows_something(name: str):
    """A block in another language, or one of Python in a notebook's page that is no cell, would be run by nothing."""
    for block in blocks_of(PAGES[name]):
        if block.directive in ("code-block", "code-cell", ""):
            assert block.language in ("sh", "python", "ipython3", *NOT_RUN), block
    if is_notebook(PAGES[name]):
        assert own_blocks(PAGES[name]) == []


@pytest.mark.parametrize("name", RUN)
def test_a_page_runs(name: str, place: Path):
    """All of its blocks in order, in one folder; the Python of a page is one program."""
    variables: dict[str, object] = {"__name__": "__page__"}
    for block in own_blocks(PAGES[name]):
        if block.caption is not None:
            (place / block.caption).write_text(block.body)
        elif block.language == "python":
            exec(compile(block.body, name, "exec"), variables)
        else:
            for command in commands_in(block.body):
                run(command)


def run(command: str) -> None:
    """Run one line of a shell: a command of unidl in this process, or check what pip is to install."""
    words = shlex.split(command)
    if words[:2] == ["pip", "install"]:
        for extras in re.findall(r"\[([\w,-]+)\]", command):
            assert {*extras.split(",")} <= {*metadata.metadata("unidl").get_all("Provides-Extra")}, command
        return
    assert words[0] == "unidl", command
    printed = output_of(shortened_command(words[1:])).strip()
    assert printed or words[1] == "launch", command  # whose processes print for themselves


def files_written(text: str) -> list[Block]:
    return [block for block in blocks_of(text) if block.directive == "code-block" and block.caption is not None]


def test_the_files_that_commands_name_are_shown():
    """What a page tells the reader to run must be on the page."""
    for name, text in PAGES.items():
        for block in own_blocks(text):
            for file in re.findall(r"[\w/]+\.py\b", block.body if block.language == "sh" else ""):
                assert file in [one.caption for one in files_written(text)], f"{name}: {file}"


def test_every_variable_of_the_environment_is_told():
    told = PAGES["reference/environment.md"]
    for folder in ("unidl", "backends"):
        for path in (ROOT / folder).rglob("*.py"):
            for variable in re.findall(r"\bUNIDL_[A-Z_]+\b", path.read_text(encoding="utf-8")):
                assert f"`{variable}`" in told, f"{variable} of {os.path.relpath(path, ROOT)}"


def test_a_block_that_fails_is_found(place: Path):
    """The test of the test: a command that is refused, and one that does not exist."""
    for command in ("unidl predict no-such-run x.png", "unidl plan no-such-model"):
        with pytest.raises(AssertionError, match="no-such"):
            run(command)
    [written, ran] = blocks_of("```{code-block} python\n:caption: a.py\n\n1 + 1\n```\n\n```sh\nunidl runs\n```\n")
    assert (written.caption, written.body, ran.language) == ("a.py", "1 + 1\n", "sh")
