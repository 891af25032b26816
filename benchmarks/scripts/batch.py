"""A batch as most scripts run one: gathered, under a semaphore, a failed job printed and left."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

Client = TypeVar("Client")


def run_batch(
    connect: Callable[[str], AbstractAsyncContextManager[Client]],
    make: Callable[[Client, str, Path], Awaitable[None]],
) -> None:
    """Make what the command line asks for: URL PROMPTS_FILE FOLDER AT_ONCE.

    Args:
        connect: Opens a client for a server's address.
        make: Makes a video with it, of a prompt, into a file.
    """
    url, prompts, folder, at_once = sys.argv[1:]
    Path(folder).mkdir()
    wanted = Path(prompts).read_text().splitlines()

    async def batch() -> None:
        semaphore = asyncio.Semaphore(int(at_once))

        async def job(client: Client, number: int, prompt: str) -> None:
            async with semaphore:
                await make(client, prompt, Path(folder) / f"{number}.mp4")

        async with connect(url) as client:
            jobs = (job(client, number, prompt) for number, prompt in enumerate(wanted))
            for ended in await asyncio.gather(*jobs, return_exceptions=True):
                if ended is not None:
                    print(f"{type(ended).__name__}: {ended}"[:200])

    asyncio.run(batch())
