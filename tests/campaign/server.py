"""The sandbox in a process of its own, at the campaign's clock, with small clips.

`python -m tests.campaign.server --journal FILE --key KEY --rate R --epoch T [--faults PLAN]`
"""

import argparse
import json
import signal
import struct
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio

from batchgen.sandbox import SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.sandbox.faults import FaultPlan
from tests.campaign.hurry import HurriedClock

QUEUE_SECONDS: Final = 0.05
GENERATE_SECONDS: Final = 0.2
"""Of the machine's time, however fast the campaign's own clock runs."""
LARGE_EVERY: Final = 100
LARGE_BYTES: Final = 3 << 20
"""One clip in so many is so much larger: of a small one nothing was kept yet when it is cut."""
MARK: Final = uuid.UUID("d7c3f1d0-2f0e-4a53-9d6c-3a1f5b0c7e11")
"""Type of the box that says whose clip it is (ISO/IEC 14496-12, section 11.1)."""


def marked_clips() -> Callable[[ClipRequest], bytes]:
    """Return a renderer of one small real clip, with a box at its end that names prompt and seed.

    Drawing 10,000 different clips would take longer than the night; with the box every file is
    unique all the same, and says which task it belongs to.
    """
    padding = struct.pack(">I4s", LARGE_BYTES, b"free") + bytes(LARGE_BYTES - 8)
    template = render(ClipRequest("A night of many clips", width=32, height=32))

    def draw(request: ClipRequest) -> bytes:
        says = json.dumps([request.prompt, request.seed]).encode()
        mark = struct.pack(">I4s", 24 + len(says), b"uuid") + MARK.bytes + says
        return template + (padding if request.seed % LARGE_EVERY == 0 else b"") + mark

    return draw


def mark_of(clip: bytes) -> tuple[str, int] | None:
    """Read prompt and seed back out of a clip; None where it is not marked."""
    _, found, says = clip.rpartition(b"uuid" + MARK.bytes)
    if not found:
        return None
    prompt, seed = json.loads(says)
    return prompt, seed


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM; print the URL first."""
    clock = HurriedClock.of(options)
    settings = SandboxSettings(
        key=options.key,
        journal=options.journal,
        queue_s=QUEUE_SECONDS * clock.rate,
        generate_s=GENERATE_SECONDS * clock.rate,
        balance_usd=1e6,
    )
    plan = FaultPlan.model_validate_json(options.faults.read_text()) if options.faults else None
    async with running(settings, faults=plan, clock=clock, render=marked_clips()) as sandbox:
        print(sandbox.url, flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.server")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--faults", type=Path)
    HurriedClock.add_arguments(parser)
    fast = find_spec("uvloop") is not None
    anyio.run(serve, parser.parse_args(), backend_options={"use_uvloop": fast})


if __name__ == "__main__":
    main()
