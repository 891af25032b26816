"""As in the API's own example: submit, sleep ten seconds, ask, for at most 1,000 seconds.

`python -m benchmarks.scripts.vendor_loop URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

import asyncio
import time
from pathlib import Path

import aiohttp

from benchmarks.scripts.batch import run_batch

PATH = "/v2/generate/video/alibaba/generation"


def connect(url: str) -> aiohttp.ClientSession:
    headers = {"Authorization": "Bearer a key"}
    return aiohttp.ClientSession(url, headers=headers, raise_for_status=True)


async def make(session: aiohttp.ClientSession, prompt: str, file: Path) -> None:
    async with session.post(PATH, json={"model": "a model", "prompt": prompt}) as answer:
        content = await answer.json()
    generation, began = content["id"], time.monotonic()
    while content["status"] in ("queued", "generating") and time.monotonic() - began < 1_000:
        await asyncio.sleep(10)
        async with session.get(PATH, params={"generation_id": generation}) as answer:
            content = await answer.json()
    async with session.get(content["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(connect, make)
