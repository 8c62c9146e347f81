"""Measure how fast each installed backend trains on this machine: unidl, stock Keras, and hand-written code.

python examples/compare_backends.py [OPTIONS]    takes the options of `unidl compare`; --help lists them
"""

import sys

from unidl.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
