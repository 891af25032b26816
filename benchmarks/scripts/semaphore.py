"""The script most people write: gather, a semaphore, one session, three tries, a poll in five s.

`python -m benchmarks.scripts.semaphore URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.scripts.batch import run_batch

PATH = "/v2/generate/video/alibaba/generation"
TRIES = 3


@cache
def session(url: str) -> aiohttp.ClientSession:
    headers = {"Authorization": "Bearer a key"}
    return aiohttp.ClientSession(url, headers=headers, raise_for_status=True)


async def ask(url: str, method: str, **request: Any) -> dict[str, Any]:
    for left in reversed(range(TRIES)):
        try:
            async with session(url).request(method, PATH, **request) as answer:
                content: dict[str, Any] = await answer.json()
                return content
        except aiohttp.ClientError:
            if not left:
                raise
            await asyncio.sleep(1)
    raise AssertionError("unreachable")


async def make(url: str, prompt: str, file: Path) -> None:
    generation = (await ask(url, "POST", json={"model": "a model", "prompt": prompt}))["id"]
    while True:
        await asyncio.sleep(5)
        content = await ask(url, "GET", params={"generation_id": generation})
        if content["status"] == "completed":
            break
    async with session(url).get(content["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(make)
