"""The other side of `unidl.data.decoding`: a process that calls what it is asked to, until the pipe to it is closed."""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np

from unidl.errors import UnidlError


def serve() -> None:
    """Answer each call with the shape, the type and the bytes of an array, or with an error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a decoder prints is no answer
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            array = np.ascontiguousarray(function(*arguments))
        except UnidlError as error:
            pickle.dump(error, answers)
        else:
            pickle.dump((array.shape, array.dtype.str), answers)
            answers.write(array.reshape(-1).view(np.uint8).data)
        answers.flush()


if __name__ == "__main__":
    serve()
