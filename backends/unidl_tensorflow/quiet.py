"""TensorFlow's C++ libraries write some twenty lines to standard error when loaded, whatever their log level is."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("unidl.tensorflow")

STANDARD_ERROR = 2
"""The file descriptor; C++ code does not pass through `sys.stderr`."""


@contextmanager
def quiet_standard_error() -> Iterator[None]:
    """Keep what is written to standard error for the debug log; write it out after all if the block raises.

    TensorFlow 2.21 logs before its `absl::InitializeLog`, so neither TF_CPP_MIN_LOG_LEVEL nor ABSL_MIN_LOG_LEVEL nor
    GLOG_minloglevel silences it (each was tried).
    """
    kept = os.dup(STANDARD_ERROR)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), STANDARD_ERROR)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
            written.seek(0)
            text = written.read().decode(errors="replace")
            if failed:
                os.write(STANDARD_ERROR, text.encode())
            elif text:
                log.debug("while TensorFlow was loaded:\n%s", text)
