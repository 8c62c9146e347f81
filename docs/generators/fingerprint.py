"""What the executed pages depend on besides their own content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import unidl


def fingerprint() -> str:
    """Return a name for this state of unidl and of the backend: pages are executed again where it differs."""
    digest = hashlib.sha256(os.environ["UNIDL_BACKEND"].encode())
    package = Path(unidl.__file__).parent
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".toml")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
