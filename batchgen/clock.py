"""Time as an argument: a night runs in a test in milliseconds."""

import asyncio
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the edge knows of time."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""

    def now(self) -> float:
        """Return wall-clock seconds since 1970-01-01 UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait. Cancelling it leaves nothing behind."""


class SystemClock:
    """The machine's clock; its monotonic time is the event loop's, which tests may replace."""

    def monotonic(self) -> float:
        """Return the event loop's time, in seconds."""
        # What anyio.current_time() returns after finding out, each time, whose loop it is.
        return asyncio.get_running_loop().time()

    def now(self) -> float:
        """Return wall-clock seconds since 1970-01-01 UTC."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait. Cancelling it leaves nothing behind."""
        await anyio.sleep(seconds)
