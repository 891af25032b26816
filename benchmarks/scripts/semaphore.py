"""The script most people write: gather, a semaphore, one session, three tries, a poll in five s.

`python -m benchmarks.scripts.semaphore URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.scripts.batch import run_batch

PATH = "/v2/generate/video/alibaba/generation"
TRIES = 3


def connect(url: str) -> aiohttp.ClientSession:
    headers = {"Authorization": "Bearer a key"}
    return aiohttp.ClientSession(url, headers=headers, raise_for_status=True)


async def ask(session: aiohttp.ClientSession, method: str, **request: Any) -> dict[str, Any]:
    tries = 0
    while True:
        try:
            async with session.request(method, PATH, **request) as answer:
                content: dict[str, Any] = await answer.json()
                return content
        except aiohttp.ClientError:
            tries += 1
            if tries == TRIES:
                raise
            await asyncio.sleep(1)


async def make(session: aiohttp.ClientSession, prompt: str, file: Path) -> None:
    content = await ask(session, "POST", json={"model": "a model", "prompt": prompt})
    generation = content["id"]
    while content["status"] != "completed":
        await asyncio.sleep(5)
        content = await ask(session, "GET", params={"generation_id": generation})
    async with session.get(content["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(connect, make)
