"""A night in a second: an event loop whose time jumps to the next timer, and a clock that reads it.

What runs outside of the loop takes no time at all here: steps of the ledger and work in threads are
done where they are asked for, and while a file is fetched over its real socket time stands still.
So nothing depends on how fast the machine is.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import looptime
import pytest
from anyio.lowlevel import checkpoint

from batchgen.ledger.writer import Step, Writer
from batchgen.outcomes import Trouble
from batchgen.part import Part
from batchgen.transfer import Saved, Transfer

T = TypeVar("T")
TICK = 1e-5
"""Seconds. Virtual time moves in microseconds: a shorter sleep would move it by none."""
DUSK = 1_800_000_000.0
"""When nights begin: 2027-01-15, 08:00 UTC."""


class NightClock:
    """A machine's two clocks, which can be set wrong, and the time outside, which cannot.

    Attributes:
        wall_error: Seconds by which the clock on the wall is ahead.
        dusk: Unix seconds at which the night begins.
    """

    def __init__(self, dusk: float = DUSK) -> None:
        self.dusk = dusk
        self.wall_error = 0.0
        self._slept = 0.0

    def outside(self) -> float:
        """Return true seconds since dusk."""
        return anyio.current_time() + self._slept

    def monotonic(self) -> float:
        return anyio.current_time()

    def now(self) -> float:
        return self.dusk + self.outside() + self.wall_error

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(TICK, seconds))

    def suspend(self, seconds: float, *, monotonic_counts: bool) -> None:
        """Let the machine sleep: on some systems the monotonic clock counts that, on Linux not."""
        if monotonic_counts:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, looptime.LoopTimeEventLoop)
            loop.setup_looptime(start=loop.time() + seconds, noop_cycles=0)
        else:
            self._slept += seconds


def run(night: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time."""
    with _outside() as in_the_air, asyncio.Runner(loop_factory=lambda: _loop(in_the_air)) as runner:
        return runner.run(night())


def _loop(in_the_air: list[object]) -> asyncio.AbstractEventLoop:
    loop: Any = asyncio.new_event_loop()
    look = loop._selector.select
    looptime.patch_event_loop(loop, start=0, noop_cycles=0)
    look_or_jump = loop._selector.select

    def select(timeout: float | None) -> Any:
        if in_the_air and timeout != 0:
            # Bytes are on their way: that takes none of the night.
            return look(None)
        return look_or_jump(timeout)

    def run_in_executor(_: object, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        done: asyncio.Future[T] = loop.create_future()
        try:
            done.set_result(work(*args))
        except Exception as error:  # noqa: BLE001  # as a thread hands it on
            done.set_exception(error)
        return done

    loop._selector.select = select
    loop.run_in_executor = run_in_executor
    return loop  # type: ignore[no-any-return]


@contextmanager
def _outside() -> Iterator[list[object]]:
    """Do in place what threads do otherwise; yield the transfers that are in the air."""
    in_the_air: list[object] = []
    fetch = Transfer.fetch

    async def record(writer: Writer, step: Step[T]) -> T:
        try:
            return writer.ask(step)
        finally:
            await checkpoint()

    async def run_sync(work: Callable[..., T], *args: Any, **_: Any) -> T:
        try:
            return work(*args)
        finally:
            await checkpoint()

    async def fetch_at_once(transfer: Transfer, url: str, part: Part) -> Saved | Trouble:
        in_the_air.append(part)
        try:
            return await fetch(transfer, url, part)
        finally:
            in_the_air.remove(part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "record", record)
        patch.setattr(anyio.to_thread, "run_sync", run_sync)
        patch.setattr(Transfer, "fetch", fetch_at_once)
        yield in_the_air


def dice() -> random.Random:
    """Return the same chance for every run."""
    return random.Random(7)
