"""The check that the caller trusts a file in Keras's own format."""

from __future__ import annotations

from pathlib import Path

from unidl.errors import SavedModelError


def require_trust(trust: bool, path: Path, what: str, call: str) -> None:
    """Raise `SavedModelError` unless the caller trusts the file. what: kind of file; call: how to trust it in
    Python."""
    if trust is not True:
        raise SavedModelError(
            f"Cannot load {path}: it is {what}, and such files are loaded only if you trust them. Keras may call "
            "functions that the file names: its safe mode blocks Python lambdas, but neither every function call nor "
            f"sizes that exhaust memory.\nIf you trust its source, call {call}, or pass --trust to the command. Models "
            "of unidl's builders do not need this: save them with Trainer.save."
        )
