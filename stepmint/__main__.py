"""`python -m stepmint` is the command `stepmint`."""

import sys

# This file is not the package: only whoever runs it takes the command line, and Prefect with it.
from flows.cli import main

if __name__ == "__main__":
    sys.exit(main())
