"""The picture of the architecture, drawn as SVG: boxes in rows, and arrows downward to what each row rests on."""

from __future__ import annotations

from html import escape

WIDTH, ROW, BOX, GAP, MARGIN = 760, 86, 52, 12, 16
LAYERS = (
    ("what you run", ("unidl train, verify, ...", "your Python program", "a notebook")),
    ("what it does", ("runs", "agreement", "compare", "planning", "deploy", "report")),
    ("how it trains", ("training: one loop", "models: builders", "data: sources", "layers")),
    ("the seam", ("unidl.backend: Backend, Trains, Distributes, Exports, Native",)),
    ("an adapter each", ("unidl_jax", "unidl_torch", "unidl_tensorflow", "yours")),
    ("frameworks", ("JAX", "PyTorch", "TensorFlow", "any")),
)
"""Rows from top to bottom: a title, and the names of the boxes."""
TITLE_WIDTH = 120


def pages() -> dict[str, str]:
    """Return the picture as a file."""
    return {"architecture.svg": architecture()}


def architecture() -> str:
    """Return the picture of the layers, as SVG. It names its own colours, so that it can be read on light and dark."""
    height = MARGIN + ROW * len(LAYERS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="The layers of unidl">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5a6270"/></marker></defs>',
    ]
    for number, (title, names) in enumerate(LAYERS):
        top = MARGIN + number * ROW
        parts.append(f'<text x="{MARGIN}" y="{top + BOX / 2 + 4}" fill="#5a6270">{escape(title)}</text>')
        parts += _boxes(names, top, number)
        if number + 1 < len(LAYERS):
            parts += _arrows(len(names), len(LAYERS[number + 1][1]), top + BOX)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(count: int) -> list[tuple[float, float]]:
    """The left edge and the width of each of some boxes in a row."""
    room = WIDTH - TITLE_WIDTH - 2 * MARGIN
    width = (room - GAP * (count - 1)) / count
    return [(TITLE_WIDTH + MARGIN + place * (width + GAP), width) for place in range(count)]


def _boxes(names: tuple[str, ...], top: float, number: int) -> list[str]:
    fill = ("#e8f0fe", "#e6f4ea", "#e6f4ea", "#fef3d6", "#fce8e6", "#eceff3")[number]
    found = []
    for name, (left, width) in zip(names, _places(len(names)), strict=True):
        found.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BOX}" rx="6" fill="{fill}" stroke="#9aa3af"/>'
            f'<text x="{left + width / 2:.1f}" y="{top + BOX / 2 + 4}" text-anchor="middle" fill="#1b1f24">'
            f"{escape(name)}</text>"
        )
    return found


def _arrows(above: int, below: int, top: float) -> list[str]:
    """Arrows from one row to the next: one a box where both have as many, one in the middle otherwise."""
    centres = [left + width / 2 for left, width in _places(above)] if above == below else [_middle()]
    return [
        f'<line x1="{x:.1f}" y1="{top + 2}" x2="{x:.1f}" y2="{top + ROW - BOX - 3}" stroke="#5a6270" '
        'marker-end="url(#tip)"/>'
        for x in centres
    ]


def _middle() -> float:
    return TITLE_WIDTH + MARGIN + (WIDTH - TITLE_WIDTH - 2 * MARGIN) / 2
