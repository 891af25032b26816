"""Fetches files with batchgen's own room for it, hashed, checked and forced to disk.

`python -m benchmarks.scripts.fetch_all ADDRESSES_FILE FOLDER AT_ONCE hashed|unhashed` prints the
seconds it took, on the wall and of CPU, once everything was imported.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import uvloop

from batchgen.part import Part
from batchgen.transfer import Saved, Transfer, open_transfer


class NoHash:
    """Stands in for a hash: what is left is what everything else costs."""

    def update(self, block: bytes) -> None:
        """Do nothing."""

    def hexdigest(self) -> str:
        """Return the hash of nothing."""
        return ""


async def worker(transfer: Transfer, wanted: Iterator[tuple[int, str]], folder: Path) -> None:
    for number, url in wanted:
        found = await transfer.fetch(url, Part(folder / f"{number}.part"))
        assert isinstance(found, Saved), found


async def main(urls: list[str], folder: Path, at_once: int) -> None:
    wanted = iter(list(enumerate(urls)))
    # What anyio imports at its first use belongs to the start.
    await anyio.to_thread.run_sync(int)
    began, worked = time.perf_counter(), time.process_time()
    async with open_transfer(base_url=urls[0], seconds=600.0, at_once=at_once) as transfer:
        await asyncio.gather(*(worker(transfer, wanted, folder) for _ in range(at_once)))
    print(time.perf_counter() - began, time.process_time() - worked)


if __name__ == "__main__":
    into = Path(sys.argv[2])
    into.mkdir()
    if sys.argv[4] == "unhashed":
        hashlib.sha256 = NoHash  # type: ignore[assignment]
    uvloop.run(main(Path(sys.argv[1]).read_text().split(), into, int(sys.argv[3])))
