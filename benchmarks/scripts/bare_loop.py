"""The requests that make videos, and nothing else: no ledger, no checks, no second try.

`python -m benchmarks.scripts.bare_loop URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import uvloop

PATH = "/v2/generate/video/alibaba/generation"


async def make(session: aiohttp.ClientSession, prompt: str, file: Path) -> None:
    async with session.post(PATH, json={"model": "a model", "prompt": prompt}) as answer:
        generation = (await answer.json())["id"]
    while True:
        question = f"{PATH}?generation_id={quote(generation, safe='')}"
        async with session.get(question) as answer:
            content = await answer.json()
        if content["status"] == "completed":
            break
    async with session.get(content["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


async def worker(
    session: aiohttp.ClientSession, prompts: Iterator[tuple[int, str]], folder: Path
) -> None:
    for number, prompt in prompts:
        await make(session, prompt, folder / f"{number}.mp4")


async def main(url: str, prompts: Path, folder: Path, at_once: int) -> None:
    folder.mkdir()
    wanted = iter(list(enumerate(prompts.read_text("utf-8").splitlines())))
    headers = {"Authorization": "Bearer a key"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        await asyncio.gather(*(worker(session, wanted, folder) for _ in range(at_once)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
