"""Why a file in Keras's own words needs somebody's word for it."""

from __future__ import annotations

from pathlib import Path

from unidl.errors import SavedModelError


def require_trust(trust: bool, path: Path, what: str, call: str) -> None:
    """Raise `SavedModelError` unless the caller trusts the file. what: it is; call: how to say so, in Python."""
    if trust is not True:
        raise SavedModelError(
            f"Cannot load {path}: it is {what}, and nobody has said that it can be trusted. Keras does what such a "
            "file says: its safe mode stops Python lambdas, but not every call of a function, nor sizes that fill the "
            f"memory.\nIf you know who made it, call {call}, or pass --trust to the command. A model of a builder of "
            "unidl needs no trust: save it with Trainer.save."
        )
