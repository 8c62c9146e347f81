"""`python -m unidl`: the same as the command `unidl`."""

import sys

from unidl.cli.main import main

sys.exit(main())
