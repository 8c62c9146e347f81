"""The built site. Without this a reader without a network sees half a page, follows a link to nowhere, or looks for a
name that is not in the reference."""

from __future__ import annotations

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from docstrings import public

from unidl.cli.main import COMMANDS, build_parser

SITE = Path(os.environ.get("UNIDL_SITE", Path(__file__).parents[2] / "docs/_build/html"))

pytestmark = pytest.mark.docs


class Page(HTMLParser):
    """What a page loads, links to, and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.without_text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {name for name in (found.get("id"), found.get("name")) if name}
        if tag in ("script", "img", "iframe", "source", "video", "embed") and found.get("src"):
            self.loaded.append(str(found["src"]))
        if tag == "link" and found.get("href") and found.get("rel") not in ("canonical", "search", "next", "prev"):
            self.loaded.append(str(found["href"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "img" and not found.get("alt"):
            self.without_text.append(str(found.get("src")))


@cache
def page(path: Path) -> Page:
    """A page, read once."""
    return Page(path.read_text(encoding="utf-8"))


@cache
def pages() -> tuple[Path, ...]:
    """All pages of the site."""
    found = tuple(sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts))
    assert len(found) > 100, f"build the site first: sphinx-build -W docs {SITE}"
    return found


def is_elsewhere(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def test_nothing_is_loaded_from_elsewhere():
    loaded = {address for path in pages() for address in page(path).loaded if is_elsewhere(address)}
    assert loaded == set()
    for path in SITE.rglob("*.css"):
        addresses = re.findall(r"(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')]+)", path.read_text(encoding="utf-8"))
        assert addresses == [], path


def test_every_link_leads_somewhere():
    """Pages, files and places on pages; what is elsewhere must be reached by https."""
    wrong = []
    for path in pages():
        for link in page(path).links:
            if is_elsewhere(link) or link.startswith(("mailto:", "javascript:")):
                wrong += [(path.name, link)] if link.startswith("http://") else []
                continue
            target, place = urldefrag(unquote(link))
            file = (path.parent / target).resolve() if target else path
            if not file.exists() or (place and file.suffix == ".html" and place not in page(file).names):
                wrong.append((path.name, link))
    assert wrong == []


def test_every_public_name_is_in_the_reference():
    names = {name for path in pages() for name in page(path).names}
    assert [one.name for one in public() if one.owner is None and one.name not in names] == []


def test_every_option_is_in_the_reference():
    [commands] = (action for action in build_parser()._actions if action.dest == "command")
    for name in COMMANDS:
        text = (SITE / f"reference/generated/command_{name}.html").read_text(encoding="utf-8")
        for action in commands.choices[name]._actions:
            for option in action.option_strings:
                assert option in text, f"unidl {name} {option}"


def test_the_pages_of_the_course_show_what_they_printed():
    """A page whose cells did not run has no output."""
    course = sorted((SITE / "course").glob("*.html"))
    assert len(course) == 14
    for path in course:
        assert path.name == "index.html" or "cell_output" in path.read_text(encoding="utf-8"), path.name


def test_the_search_knows_the_pages():
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    for word in ("course/batches", "reference/exit_codes", "quantis", "warp"):
        assert word in index, word
