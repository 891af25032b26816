"""The command line: parses options, calls the library, chooses an exit code."""

import sys
from typing import NoReturn

from batchgen.cli.streams import open_closed

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    open_closed()
    try:
        from batchgen.cli.app import main as run
    except KeyboardInterrupt:
        # Ctrl-C while Python still imports: nothing has begun.
        sys.exit(130)
    run()
