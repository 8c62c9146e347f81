"""The table of exit codes, from the errors that carry them."""

from __future__ import annotations

import inspect

from unidl import errors
from unidl.cli import main, train, verify


def pages() -> dict[str, str]:
    """Return the table as a file to include."""
    rows = {
        0: ("", "The command did what it was asked to do."),
        verify.DISAGREES: ("", "`unidl verify` ran, and something does not agree."),
        main.UNEXPECTED: ("", "An error in unidl itself; please report it, with the output of `--debug`."),
        main.OUTPUT_FAILED: ("", "The output cannot be written, as on a full disk."),
        main.INTERRUPTED: ("", "Ctrl-C; with checkpoints, one was saved."),
        main.BROKEN_PIPE: ("", "The reader of the output has gone, as in `unidl ... | head -1`."),
        train.TERMINATED: ("", "SIGTERM; with checkpoints, one was saved."),
    }
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.UnidlError):
            rows[kind.exit_code] = (kind.__name__, (inspect.getdoc(kind) or "").partition("\n")[0])
    lines = ["| code | error in Python | meaning |", "|---:|---|---|"]
    for code in sorted(rows):
        name, meaning = rows[code]
        lines.append(f"| {code} | {f'`{name}`' if name else ''} | {meaning} |")
    return {"exit_codes.txt": "\n".join(lines) + "\n"}
