"""A page of HTML that stands by itself: no script, no font and no file from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse}th,td{padding:.2rem .55rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}caption{text-align:left;color:#555;padding-bottom:.4rem}
td.cell{border:1px solid #fff;min-width:2.2rem}img{max-width:100%;border:1px solid #ddd}.note{color:#555}
.wide{overflow-x:auto}
"""


def page(title: str, parts: Sequence[str]) -> bytes:
    """Return a page. parts: HTML, of the functions below."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    head = f"<head>{head}<style>{STYLE}</style></head>"
    return f'<!doctype html>\n<html lang="en">{head}<body>\n{body}\n</body></html>\n'.encode()


def heading(words: str) -> str:
    """Return a heading."""
    return f"<h2>{escape(words)}</h2>"


def paragraph(words: str) -> str:
    """Return a paragraph in grey: what figures mean."""
    return f'<p class="note">{escape(words)}</p>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table of words."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def shaded_table(corner: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return a table of counts, each cell the darker the larger its share of its row."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in ("", *columns))
    body: list[str] = []
    for name, counts in rows:
        whole = sum(counts)
        cells = "".join(_cell(count, count / whole if whole else 0.0) for count in counts)
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    lines = "".join(body)
    return (
        f'<div class="wide"><table><caption>{escape(corner)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def picture(png: bytes, words: str) -> str:
    """Return a picture that is part of the page. words: what it shows."""
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def bars(values: Sequence[float | None], shares: Sequence[float], words: str) -> str:
    """Return a drawing of bars from 0 to 1 beside each other, with the line on which each bar would be its place.

    values: the heights; None for no bar. shares: how dark each bar is, from 0 to 1. words: what it shows.
    """
    side, margin = 260, 34
    width = side / max(len(values), 1)
    drawn = [
        f'<rect x="{margin + place * width + 1:.1f}" y="{10 + side * (1 - value):.1f}" width="{width - 2:.1f}" '
        f'height="{side * value:.1f}" fill="#2f6db5" fill-opacity="{0.25 + 0.75 * share:.2f}"/>'
        for place, (value, share) in enumerate(zip(values, shares, strict=True))
        if value is not None
    ]
    axes = (
        f'<path d="M{margin} 10V{side + 10}H{side + margin}" fill="none" stroke="#555"/>'
        f'<path d="M{margin} {side + 10}L{side + margin} 10" stroke="#999" stroke-dasharray="4 4"/>'
    )
    marks = "".join(
        f'<text x="{margin + side * at:.0f}" y="{side + 26}" text-anchor="middle">{at:g}</text>'
        f'<text x="{margin - 6}" y="{14 + side * (1 - at):.0f}" text-anchor="end">{at:g}</text>'
        for at in (0, 0.5, 1)
    )
    return (
        f'<svg role="img" aria-label="{escape(words)}" width="{side + 50}" height="{side + 36}" font-size="11">'
        f"{''.join(drawn)}{axes}{marks}</svg>"
    )


def _cell(count: int, share: float) -> str:
    colour = "#fff" if share > 0.55 else "#1c1c1c"
    background = f"rgba(47,109,181,{share:.3f})"
    return f'<td class="cell" style="background:{background};color:{colour}">{count:,}</td>'
