"""`python -m nspike`, and what the command `nspike` calls."""

import sys

from nspike.cli.group import main

if __name__ == "__main__":
    sys.exit(main())
