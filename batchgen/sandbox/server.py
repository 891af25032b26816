"""Starts and stops a sandbox: an account, its journal, the renderer and a listening socket.

The only room of the sandbox that touches the clock and the network. Installs no signal handlers:
who runs a sandbox owns its signals.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from os import cpu_count
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from aiohttp import web

from batchgen.errors import UsageError
from batchgen.sandbox import journal
from batchgen.sandbox.faults import FaultPlan
from batchgen.sandbox.files import Clip
from batchgen.sandbox.generations import (
    Account,
    Generation,
    SandboxSettings,
    number_of,
    seed_of,
    text_of,
)
from batchgen.sandbox.sabotage import Sabotage
from batchgen.sandbox.wire import Clock, Wire, application

if TYPE_CHECKING:
    from batchgen.sandbox.clips import ClipRequest

Render: TypeAlias = Callable[["ClipRequest"], bytes]
"""Draws a clip, blocking: an MP4's bytes, the same for the same request."""

_SHELF_BYTES: Final = 64 << 20
_PARTING_S: Final = 2.0  # for answers under way when the sandbox stops


class SystemClock:
    """The machine's own time of day."""

    def now(self) -> float:
        """Return the time of day in Unix seconds."""
        return time.time()


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """A clock that is set wrong.

    Attributes:
        right: The clock it is set by.
        ahead: Seconds by which it is ahead.
    """

    right: Clock
    ahead: float

    def now(self) -> float:
        """Return the time of day it shows, in Unix seconds."""
        return self.right.now() + self.ahead


_SYSTEM_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        url: Its base URL, without a slash at the end.
        port: The port it listens on.
        account: What it has taken and what it was asked.
    """

    url: str
    port: int
    account: Account


@asynccontextmanager
async def running(
    settings: SandboxSettings,
    *,
    faults: FaultPlan | None = None,
    clock: Clock = _SYSTEM_CLOCK,
    render: Render | None = None,
) -> AsyncIterator[Sandbox]:
    """Run a sandbox until the block ends.

    Cancelling the block stops the sandbox as its end does: no new connections, up to two seconds
    for answers under way, then the socket and the journal are closed.

    Args:
        settings: How it behaves.
        faults: What goes wrong, and when; nothing where none is given.
        clock: The time of day it lives by.
        render: Draws the clips; the real renderer where none is given.

    Raises:
        UsageError: The renderer is not given and the extra `media` is not installed.
        JournalError: The journal cannot be used.
        OSError: The address or port cannot be listened on.
    """
    draw = render or real_render()
    if faults is not None and faults.clock_ahead:
        clock = SkewedClock(clock, faults.clock_ahead)
    with _account(settings) as (account, secret, record):
        wire = Wire(settings, account, secret, record, Shelf(draw), clock)
        sabotage = Sabotage(faults, wire) if faults is not None else None
        middlewares = () if sabotage is None else (sabotage.middleware,)
        runner = web.AppRunner(
            application(wire, *middlewares),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_PARTING_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
            port = int(runner.addresses[0][1])
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            yield Sandbox(f"http://{host}:{port}", port, account)
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()


def real_render() -> Render:
    """Load the renderer that draws real clips.

    Raises:
        UsageError: The extra `media` is not installed.
    """
    with _media_extra():
        from batchgen.sandbox.clips import render  # noqa: PLC0415 - an optional extra

    return render


class Shelf:
    """Clips of completed generations: drawn when first asked for, the latest used kept.

    Args:
        render: Draws a clip, in a worker thread.
        limit: Bytes to keep; what falls off is drawn again, to the same bytes.
    """

    def __init__(self, render: Render, *, limit: int = _SHELF_BYTES) -> None:
        self._render = render
        self._limit = limit
        self._kept: OrderedDict[str, Clip] = OrderedDict()
        self._held = 0
        self._sizes: dict[str, int] = {}
        self._drawing: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._threads = anyio.CapacityLimiter(cpu_count() or 1)

    async def size(self, generation: Generation) -> int:
        """Return the clip's length in bytes, drawing it only if that was never done."""
        known = self._sizes.get(generation.generation_id)
        return len((await self.clip(generation)).data) if known is None else known

    async def clip(self, generation: Generation) -> Clip:
        """Return the clip; who asks while it is being drawn waits for that drawing.

        Cancelling waits for the thread, which cannot be stopped, and leaves the shelf as it was.
        """
        name = generation.generation_id
        if name not in self._kept:
            # The lock lives as long as someone holds or awaits it.
            lock = self._drawing.setdefault(name, anyio.Lock())
            async with lock:
                if name not in self._kept:
                    clip = await anyio.to_thread.run_sync(
                        self._drawn, generation, limiter=self._threads
                    )
                    self._keep(name, clip)
                    return clip
        self._kept.move_to_end(name)
        return self._kept[name]

    def _drawn(self, generation: Generation) -> Clip:
        data = self._render(clip_request(generation))
        return Clip(data, sha256(data).hexdigest()[:32])

    def _keep(self, name: str, clip: Clip) -> None:
        self._sizes[name] = len(clip.data)
        self._kept[name] = clip
        self._held += len(clip.data)
        while self._held > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.data)


def clip_request(generation: Generation) -> "ClipRequest":
    """Read what to draw out of a generation's body, defaults where it says nothing usable.

    Raises:
        UsageError: The extra `media` is not installed.
    """
    with _media_extra():
        from batchgen.sandbox.clips import ClipRequest  # noqa: PLC0415 - an optional extra

    body = generation.order.body
    upright = text_of(body, "aspect_ratio") == "9:16"
    return ClipRequest(
        prompt=text_of(body, "prompt"),
        seed=seed_of(generation),
        guidance_scale=float(number_of(body, "guidance_scale")),
        shift=float(number_of(body, "shift")),
        sampler=text_of(body, "sampler") or "unipc",
        inference_steps=int(number_of(body, "inference_steps")),
        negative_prompt=text_of(body, "negative_prompt"),
        width=480 if upright else 832,
        height=832 if upright else 480,
    )


@contextmanager
def _account(
    settings: SandboxSettings,
) -> Iterator[tuple[Account, str, Callable[[Generation], None]]]:
    """Open the account, its secret and the way to write a generation down."""
    if settings.journal is None:
        secret = secrets.token_hex(32)
        yield Account(settings, secret), secret, _forget
        return
    with journal.opened(settings.journal) as book:
        account = Account(settings, book.secret)
        for generation in book.generations:
            account.add(generation)
        yield account, book.secret, book.record


def _forget(generation: Generation) -> None:
    """Write nothing down: an account in memory ends with its sandbox."""


@contextmanager
def _media_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        raise UsageError(
            'the sandbox draws its clips with PyAV, NumPy and Pillow: pip install "batchgen[media]"'
        ) from missing
