"""`fal-client`: `subscribe` with all its defaults (ten polls a second).

`python -m benchmarks.scripts.fal_queue URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

from functools import cache
from pathlib import Path

import aiohttp
import fal_client.client

from benchmarks.scripts.batch import run_batch


@cache
def client(url: str) -> fal_client.client.AsyncClient:
    # The client knows only https and the vendor's host.
    fal_client.client.QUEUE_URL_FORMAT = f"{url}/"
    return fal_client.client.AsyncClient(key="a key")


async def make(url: str, prompt: str, file: Path) -> None:
    result = await client(url).subscribe("fal/video", arguments={"prompt": prompt})
    async with aiohttp.ClientSession() as session, session.get(result["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(make)
