"""`replicate`: `async_run` with all its defaults (two polls a second).

`python -m benchmarks.scripts.replicate_run URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

from functools import cache
from pathlib import Path

import replicate

from benchmarks.scripts.batch import run_batch


@cache
def client(url: str) -> replicate.Client:
    return replicate.Client(api_token="a key", base_url=url)


async def make(url: str, prompt: str, file: Path) -> None:
    output = await client(url).async_run("a/model", input={"prompt": prompt})
    file.write_bytes(await output.aread())


if __name__ == "__main__":
    run_batch(make)
