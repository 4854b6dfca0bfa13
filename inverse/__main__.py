"""`python -m inverse`: the command line."""

import sys

from inverse.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
