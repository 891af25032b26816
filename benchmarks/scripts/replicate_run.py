"""`replicate`: `async_run` with all its defaults (two polls a second).

`python -m benchmarks.scripts.replicate_run URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from replicate.client import Client

from benchmarks.scripts.batch import run_batch


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    yield Client(api_token="a key", base_url=url)


async def make(client: Client, prompt: str, file: Path) -> None:
    # An address of https would come wrapped as a file; one of plain http comes as it is.
    address = await client.async_run("a/model", input={"prompt": prompt})
    async with aiohttp.ClientSession() as session, session.get(str(address)) as answer:
        file.write_bytes(await answer.read())


if __name__ == "__main__":
    run_batch(connect, make)
