"""A batch as most scripts run one: gathered, under a semaphore, a failed job printed and left."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

Make = Callable[[str, str, Path], Awaitable[None]]
"""Makes a video: the server's address, the prompt, the file to write."""


def run_batch(make: Make) -> None:
    """Make what the command line asks for: URL PROMPTS_FILE FOLDER AT_ONCE."""
    url, prompts, folder, at_once = sys.argv[1:]
    Path(folder).mkdir()
    asyncio.run(_gather(make, url, Path(prompts).read_text(), Path(folder), int(at_once)))


async def _gather(make: Make, url: str, prompts: str, folder: Path, at_once: int) -> None:
    semaphore = asyncio.Semaphore(at_once)

    async def job(number: int, prompt: str) -> None:
        async with semaphore:
            await make(url, prompt, folder / f"{number}.mp4")

    jobs = (job(number, prompt) for number, prompt in enumerate(prompts.splitlines()))
    for ended in await asyncio.gather(*jobs, return_exceptions=True):
        if ended is not None:
            print(f"{type(ended).__name__}: {ended}"[:200])
