"""Fetches files as a short script would: aiohttp's pieces into aiofiles, nothing checked.

`python -m benchmarks.scripts.plain_fetch ADDRESSES_FILE FOLDER AT_ONCE hashed|unhashed` prints the
seconds it took, on the wall and of CPU, once everything was imported.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiofiles
import aiohttp
import uvloop

WRITE_BYTES: Final = 256 * 1024


async def worker(
    session: aiohttp.ClientSession,
    wanted: Iterator[tuple[int, str]],
    folder: Path,
    *,
    hashed: bool,
) -> None:
    for number, url in wanted:
        digest = hashlib.sha256()
        async with (
            session.get(url) as response,
            aiofiles.open(folder / f"{number}.part", "wb", buffering=0) as file,
        ):
            async for piece in response.content.iter_chunked(WRITE_BYTES):
                if hashed:
                    digest.update(piece)
                await file.write(piece)


async def main(urls: list[str], folder: Path, at_once: int, *, hashed: bool) -> None:
    wanted = iter(list(enumerate(urls)))
    began, worked = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        read_bufsize=2 * WRITE_BYTES,
    ) as session:
        await asyncio.gather(
            *(worker(session, wanted, folder, hashed=hashed) for _ in range(at_once))
        )
    print(time.perf_counter() - began, time.process_time() - worked)


if __name__ == "__main__":
    into = Path(sys.argv[2])
    into.mkdir()
    addresses = Path(sys.argv[1]).read_text().split()
    uvloop.run(main(addresses, into, int(sys.argv[3]), hashed=sys.argv[4] == "hashed"))
