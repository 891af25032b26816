"""Has runs done in processes that may die of it, against a sandbox that survives them."""

import json
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import aiohttp
import anyio
import anyio.to_thread

from batchgen.sandbox import Sandbox, SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest, render
from tests.sweeps.child import Order

REPO: Final = Path(__file__).parents[2]
LARGE_BYTES: Final = 300_000
"""What one clip in five has more: enough for a thread of its own."""
DOWNLOADS: Final = (4, 200)
"""How many videos may come at once: where it is 200, a block is so small that these are several."""
WRITING: Final = ("open", "write", "fsync parts")
"""Kinds of steps that are made in another way there."""


def steps(kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Pair kinds of steps with how many videos may come at once."""
    few, many = DOWNLOADS
    return [*((kind, few) for kind in kinds), *((kind, many) for kind in WRITING)]


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        status: Exit status of its process; less the signal's number where one ended it.
        killed_at: The name of the point at which it died; empty where it did not.
        counts: Tasks by status, where the run came to its end.
        error: What was raised; empty where nothing was.
        trace: Its traceback.
        clean: Whether that is a sentence for people, with an exit code of its own.
        said: All notices.
        points: The points it reached that count, in order.
        harmed: Those at which something was done to it.
    """

    status: int
    killed_at: str = ""
    counts: dict[str, int] | None = None
    error: str = ""
    trace: str = ""
    clean: bool = True
    said: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    harmed: tuple[str, ...] = ()


class Runs:
    """Does one run after another, each in a process of its own. Made by `forking`.

    Attributes:
        root: The file system as these processes see it.
    """

    def __init__(self, orders: IO[str], ends: IO[str], process: int) -> None:
        self.root = Path(f"/proc/{process}/root")
        self._orders = orders
        self._ends = ends

    async def run(self, order: Order) -> End:
        """Do a run, and return how it ended."""
        return await anyio.to_thread.run_sync(self._run, order)

    def _run(self, order: Order) -> End:
        self._orders.write(json.dumps(asdict(order), default=str) + "\n")
        self._orders.flush()
        answer = self._ends.readline()
        assert answer, "the process that forks runs has died"
        words = json.loads(answer)
        return End(**{name: _frozen(word) for name, word in words.items()})


def _frozen(word: Any) -> Any:
    return tuple(word) if isinstance(word, list) else word


@contextmanager
def forking(*wrapper: str) -> Iterator[Runs]:
    """Start the process that forks runs, and end it.

    Args:
        wrapper: A command that starts the one behind it, and its arguments.
    """
    with subprocess.Popen(
        [*wrapper, sys.executable, "-m", "tests.sweeps.zygote"],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Runs(process.stdin, process.stdout, process.pid)
        process.stdin.close()


@asynccontextmanager
async def server() -> AsyncIterator[Sandbox]:
    """Run a sandbox that is done with a generation at once, its clips cheap and each different."""
    async with running(SandboxSettings(queue_s=0, generate_s=0), render=cheap_clip) as sandbox:
        yield sandbox


async def taken(sandbox: Sandbox) -> list[dict[str, str]]:
    """Return the server's account: `generation_id` and `client_request_id` of all it took."""
    # A dead client's last request may just have come in.
    await anyio.wait_all_tasks_blocked()
    headers = {"Authorization": "Bearer sandbox"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{sandbox.url}/sandbox/ledger") as answer,
    ):
        account = await answer.json()
    generations: list[dict[str, str]] = account["generations"]
    assert account["submits"] == len(generations)
    return generations


@cache
def _template_clip() -> bytes:
    return render(ClipRequest("a sweep", width=160, height=96))


def cheap_clip(request: ClipRequest) -> bytes:
    """Return a whole MP4, different for each request; one in five is large."""
    own = f"{request.prompt} {request.seed}".encode()
    large = sum(own) % 5 == 0
    content = b"sweeps-of-batchgen"[:16] + own + b"\0" * (LARGE_BYTES if large else 0)
    return _template_clip() + struct.pack(">I4s", 8 + len(content), b"uuid") + content
