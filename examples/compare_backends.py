"""Measure how fast each installed backend trains here: by unidl, by stock Keras, and by hand.

python examples/compare_backends.py [OPTIONS]    the options are those of `unidl compare`, --help lists them
"""

import sys

from unidl.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
