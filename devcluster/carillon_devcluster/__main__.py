"""`python3 -m carillon_devcluster`."""

import sys

from carillon_devcluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
