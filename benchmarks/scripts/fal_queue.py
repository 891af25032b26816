"""`fal-client`: `subscribe` with all its defaults (ten polls a second).

`python -m benchmarks.scripts.fal_queue URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import fal_client.client

from benchmarks.scripts.batch import run_batch


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[fal_client.client.AsyncClient]:
    # The client knows only https and the vendor's host.
    fal_client.client.QUEUE_URL_FORMAT = f"{url}/"
    yield fal_client.client.AsyncClient(key="a key")


async def make(client: fal_client.client.AsyncClient, prompt: str, file: Path) -> None:
    result = await client.subscribe("fal/video", arguments={"prompt": prompt})
    async with aiohttp.ClientSession() as session, session.get(result["video"]["url"]) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(connect, make)
