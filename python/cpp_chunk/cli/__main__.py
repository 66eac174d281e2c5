"""`python -m cpp_chunk.cli`, where the entry script is not on the path."""

import sys

from cpp_chunk.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
