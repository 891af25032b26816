"""The command line: parses options, calls the library, chooses an exit code."""

from batchgen.cli.app import main

__all__ = ["main"]
