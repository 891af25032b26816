"""One benchmark, in this process: `python -m benchmarks.one NAME [--quick]` prints its tables."""

import sys
from importlib import import_module

from benchmarks.tables import Benchmark

if __name__ == "__main__":
    tables: Benchmark = import_module(f"benchmarks.{sys.argv[1]}").tables
    for table in tables("--quick" in sys.argv[2:]):
        print(table, flush=True)
