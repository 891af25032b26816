"""The `openai` client's videos: `create_and_poll` with all its defaults (a poll a second).

`python -m benchmarks.scripts.openai_client URL PROMPTS_FILE FOLDER AT_ONCE`.
"""

from pathlib import Path

from openai import AsyncOpenAI

from benchmarks.scripts.batch import run_batch


def connect(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="a key")


async def make(client: AsyncOpenAI, prompt: str, file: Path) -> None:
    video = await client.videos.create_and_poll(model="sora-2", prompt=prompt)
    content = await client.videos.download_content(video.id)
    file.write_bytes(await content.aread())


if __name__ == "__main__":
    run_batch(connect, make)
