"""A certificate on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidl.agreement import wording
from unidl.agreement.certificate import Certificate
from unidl.machine.environment import machine
from unidl.tables import escaped, in_markdown, on_terminal

if TYPE_CHECKING:
    from rich.console import Console


def draw(certificates: Sequence[Certificate], console: Console) -> None:
    """Print the trials of each subject, and the layers of trials that disagree."""
    for one in certificates:
        for line in wording.about(one):
            console.print(line, style="dim", soft_wrap=True)
        console.print(on_terminal(wording.trials(one)))
        for line in wording.remarks(one):
            console.print(line, soft_wrap=True)
        console.print(f"\n{wording.verdict(one)}\n", style="bold")
    if certificates:
        console.print(wording.LEGEND, style="dim")


def markdown(certificates: Sequence[Certificate]) -> str:
    """Return the certificates as Markdown, with every layer of every trial."""
    parts = ["# Certificate of agreement"]
    for one in certificates:
        parts.append(f"## {escaped(wording.verdict(one))}")
        parts.append("\n".join(f"- {escaped(line)}" for line in [*wording.about(one), machine(dict(one.environment))]))
        parts.append(in_markdown(wording.trials(one)))
        if wording.remarks(one):
            parts.append("\n".join(f"- {escaped(line.strip())}" for line in wording.remarks(one)))
        for trial in one.trials:
            if trial.failure is None:
                parts += [f"### {escaped(str(trial))}", in_markdown(wording.layers(one, trial))]
    return "\n\n".join([*parts, escaped(wording.LEGEND)]) + "\n"
