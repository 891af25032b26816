"""What the sweeps share: the process that forks runs, and a place for their directories."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.sweeps.runs import Runs, forking

MEMORY: Final = Path("/dev/shm")


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Start the process that forks runs."""
    with forking() as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a directory, in memory where there is one: to a process's death it is the same."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)
