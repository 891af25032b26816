"""The requests that make videos, and nothing else: no ledger, no checks, no second try.

`python -m benchmarks.scripts.bare_loop URL PROMPTS_FILE FOLDER AT_ONCE keep|close|force`: POSTs on
connections that are kept, or on one each; with `force` the latter, and each file and its name are
forced to disk.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import uvloop

PATH = "/v2/generate/video/alibaba/generation"


async def worker(
    posts: aiohttp.ClientSession,
    gets: aiohttp.ClientSession,
    wanted: Iterator[tuple[int, str]],
    write: Callable[[int, bytes], None],
) -> None:
    for number, prompt in wanted:
        async with posts.post(PATH, json={"model": "a model", "prompt": prompt}) as answer:
            generation = (await answer.json())["id"]
        while True:
            question = f"{PATH}?generation_id={quote(generation, safe='')}"
            async with gets.get(question) as answer:
                content = await answer.json()
            if content["status"] == "completed":
                break
        async with gets.get(content["video"]["url"]) as answer:
            write(number, await answer.read())


def session(url: str, *, force_close: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, force_close=force_close)
    headers = {"Authorization": "Bearer a key"}
    return aiohttp.ClientSession(url, connector=connector, headers=headers)


def writing(folder: Path, *, forced: bool) -> Callable[[int, bytes], None]:
    def write(number: int, content: bytes) -> None:
        (folder / f"{number}.mp4").write_bytes(content)

    def force(number: int, content: bytes) -> None:
        part = folder / f"{number}.part"
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / f"{number}.mp4")
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return force if forced else write


async def main(url: str, prompts: str, folder: Path, at_once: int, how: str) -> None:
    wanted = iter(list(enumerate(prompts.splitlines())))
    write = writing(folder, forced=how == "force")
    async with (
        session(url, force_close=how != "keep") as posting,
        session(url, force_close=False) as asking,
    ):
        await asyncio.gather(*(worker(posting, asking, wanted, write) for _ in range(at_once)))


if __name__ == "__main__":
    to = Path(sys.argv[3])
    to.mkdir()
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]).read_text(), to, int(sys.argv[4]), sys.argv[5]))
