"""One video from its URL to a checked file, over connections that never carry the key.

Writes only the part file it is told; gives no final names and records nothing: the run does.
"""

import errno
import hashlib
import ipaddress
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
import anyio.to_thread
from yarl import URL

from batchgen import headers, mp4
from batchgen._version import __version__
from batchgen.connection_errors import unconnected
from batchgen.departure import Departure, departures
from batchgen.disk import Disk
from batchgen.limits import MinimumSpeed
from batchgen.naming import give_name
from batchgen.outcomes import Answered, Interrupted, NotSent, Trouble, Unusable
from batchgen.part import BLOCK_BYTES, NO_DESCRIPTORS, Incoming, Part
from batchgen.proxies import Proxy, ProxyError, proxy_for
from batchgen.terminal import printable
from batchgen.urls import is_loopback, literal_address, private_because

MAX_VIDEO_BYTES: Final = 4 << 30
MAX_REDIRECTS: Final = 3
READ_BYTES: Final = 512 * 1024
"""So much of an answer waits in aiohttp, twice over at most, before the server has to."""
WAITING_BYTES: Final = 32 << 20
"""Of all videos that come at once, no more than this waits to be a block."""
_NOT_PUBLIC: Final = "is not a public address"
_REFUSED: Final = re.compile(rf"([0-9a-f.:]+)(?:%\w+)? {_NOT_PUBLIC}")
MIN_BYTES_PER_SECOND: Final = 1024.0
"""A clip of 4 MB would take over an hour: no link is so slow, only a host that is out of order."""
CONNECT_SECONDS: Final = 60.0
"""For all of a connection: a proxy that never answers would hold the place of another download."""
STALL_SECONDS: Final = 60.0
"""A file host that sends nothing for so long is taken for gone."""
_PLAIN_URL: Final = re.compile(
    r"https?://[a-z0-9.-]+(:[0-9]{1,5})?/([\w.~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*\Z",
    re.ASCII | re.IGNORECASE,
)
"""An absolute URL with a plain host and nothing that RFC 3986 would have escaped."""
_EMBEDS_IPV4: Final = frozenset({0, 0xFFFF, 0x64FF9B << 64})
"""First 96 bits of IPv6 addresses that end in an IPv4 one: compatible, mapped, NAT64."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A whole video in the part file.

    Attributes:
        size: Bytes.
        sha256: Hexadecimal digest of the bytes.
        info: What its header says.
        announced: Bytes the host announced, if that is not how many there are.
    """

    size: int
    sha256: str
    info: mp4.VideoInfo
    announced: int | None = None


class Transfer:
    """Fetches videos. Made by `open_transfer`, which owns the connections.

    Args:
        session: Carries no key and no cookie, and connects to addresses that are allowed only.
        proxied: The same for requests that go through a proxy: connects to that and nothing else.
        disk: Where short files are written and names are given.
        open_to_loopback: Whether plain http and this machine's own addresses are allowed: only
            where the API itself is on this machine.
        seconds: How long one try may take.
        stall: Seconds without a byte, or with too few, after which a try is broken off.
        block_bytes: So much of a video is written in one go.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        proxied: aiohttp.ClientSession,
        disk: Disk,
        *,
        open_to_loopback: bool,
        seconds: float,
        stall: float,
        block_bytes: int,
    ) -> None:
        self._session = session
        self._proxied = proxied
        self._disk = disk
        self._block_bytes = block_bytes
        self._seconds = seconds
        self._window = min(stall, seconds)
        self._open_to_loopback = open_to_loopback
        self._timeout = aiohttp.ClientTimeout(
            total=seconds, connect=CONNECT_SECONDS, sock_connect=30.0, sock_read=self._window
        )

    async def fetch(self, url: str, part: Part) -> Saved | Trouble:
        """Fetch a file, or the rest of it, and check that it is a whole video.

        Cancelling it leaves the part, which a later try in this process goes on from.

        Raises:
            OSError: This machine's own trouble: the disk is full or fails, or there are no more
                descriptors for files and sockets. The part stays as far as it can be relied on.
            RunDirectoryError: The folder of parts was replaced by a link, which may lead anywhere.
        """
        found: mp4.VideoInfo | Trouble
        try:
            if part.durable:
                found = await anyio.to_thread.run_sync(mp4.inspect, part.path)
            else:
                found = await self._receive(url, part)
                if isinstance(found, Interrupted) and found.begun:
                    found = await self._whole_all_the_same(part) or found
        except mp4.NotAVideo as error:
            part.restart()
            return Unusable(str(error))
        except FileNotFoundError:
            part.restart()
            raise
        if isinstance(found, mp4.VideoInfo):
            announced = part.total if part.total != part.received else None
            return Saved(part.received, part.digest.hexdigest(), found, announced)
        return found

    async def _whole_all_the_same(self, part: Part) -> mp4.VideoInfo | None:
        """Take a part that breaks off at the same byte again, if its structure ends there.

        A host that announces more than it has would never be done with.
        """
        again, part.ended_at = part.received == part.ended_at > 0, part.received
        if not again or not await anyio.to_thread.run_sync(mp4.ends_by_itself, part.path):
            return None
        async with Incoming(part, self._disk, self._block_bytes) as incoming:
            return await incoming.seal()

    async def finish(self, part: Path, final: Path, sha256: str) -> None:
        """Give a durable part its final name, and make the name durable too.

        A link under that name is replaced, not followed; a file is replaced only by its own bytes.

        Args:
            part: The part.
            final: Its name to be.
            sha256: Hexadecimal digest of the part's bytes.

        Raises:
            FileExistsError: Another file has the name.
            NameRefused: It cannot have this name.
            IsADirectoryError: A directory has the name.
            RunDirectoryError: The folder of videos was replaced by a link, which may lead anywhere.
            OSError: The name cannot be given now.
        """

        def work() -> None:
            # Nobody else gives names here: the run directory is held.
            if _hash_there(final) not in (None, sha256):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
            give_name(part, final)

        await self._disk.do(work, names_in=final.parent)

    async def _receive(self, url: str, part: Part) -> mp4.VideoInfo | Trouble:
        """Follow redirects by hand, checking every hop, and write the body to the part."""
        for hop in range(MAX_REDIRECTS + 1):
            objection = self._objection(url)
            if objection is not None:
                return Unusable(objection)
            trace, proxy = Departure(), None
            begun = False
            try:
                proxy = proxy_for(url)
                if proxy is not None and (private := self._private_literal(url)) is not None:
                    return _private(url, private, redirected=hop > 0)
                session = self._session if proxy is None else self._proxied
                async with session.get(
                    _exactly(url),
                    headers=_range_headers(part),
                    allow_redirects=False,
                    timeout=self._timeout,
                    trace_request_ctx=trace,
                    proxy=proxy.url if proxy else None,
                    proxy_headers=proxy.headers if proxy else None,
                ) as response:
                    begun = response.ok
                    if response.status not in (301, 302, 303, 307, 308):
                        found = await self._take(response, part)
                        if isinstance(found, Interrupted):
                            return replace(found, begun=begun)
                        return found
                    url = urljoin(url, response.headers.get("Location", ""))
            except (aiohttp.ClientError, TimeoutError, ValueError, ProxyError) as error:
                if (
                    isinstance(error, aiohttp.ClientConnectorError)
                    and error.errno in NO_DESCRIPTORS
                ):
                    raise OSError(error.errno, os.strerror(error.errno)) from None
                if (refused := _REFUSED.search(str(error))) is not None:
                    return _private(url, refused[1], redirected=hop > 0)
                return _trouble(error, proxy, left=trace.left, begun=begun)
        return Unusable(f"more than {MAX_REDIRECTS} redirects")

    async def _take(self, response: aiohttp.ClientResponse, part: Part) -> mp4.VideoInfo | Trouble:
        """Write an answer's body to the part, and look at it when all of it came."""
        etag = headers.strong_etag(response.headers.get("ETag"))
        match response.status:
            case 200:
                part.restart()
                part.version, part.total = etag, response.content_length
            case 206:
                span = headers.content_range(response.headers.get("Content-Range"))
                if span is None or span[0] != part.received or etag != part.version:
                    part.restart()
                    return Interrupted(
                        "the server sent another part of the file than was asked for"
                    )
                total = part.total if span[1] is None else span[1]
                if part.total not in (None, total):
                    part.restart()
                    return Interrupted("the file has another length than before")
                part.total = total
            case 416:
                part.restart()
                return Interrupted("the server has no such part of the file")
            case status:
                # A date means the host's own clock, which its answer gives.
                dated = headers.with_date(response.headers, time.time())
                return Answered(status, retry_after=headers.retry_after(dated))
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            part.restart()
            return Unusable("the file came compressed, which was not asked for")
        if (part.total or 0) > MAX_VIDEO_BYTES:
            part.restart()
            return Unusable("the file is larger than any clip")
        return await self._write(response, part)

    async def _write(self, response: aiohttp.ClientResponse, part: Part) -> mp4.VideoInfo | Trouble:
        """Stream the body into the part file, make it durable, and look at it."""
        speed = MinimumSpeed(MIN_BYTES_PER_SECOND, self._window)
        deadline = anyio.current_time() + self._seconds
        async with Incoming(part, self._disk, self._block_bytes) as incoming:
            try:
                async for piece, _ in response.content.iter_chunks():
                    await incoming.take(piece)
                    now = anyio.current_time()
                    if now >= deadline:
                        # aiohttp looks at the time only where it has to wait for bytes.
                        raise TimeoutError  # noqa: TRY301  # it ends as all timeouts do
                    if not speed.is_kept(now, len(piece)):
                        await incoming.flush()
                        return Interrupted("the file comes too slowly to ever be here")
                    if incoming.size > MAX_VIDEO_BYTES:
                        part.restart()
                        return Unusable("the file is larger than any clip")
            except (aiohttp.ClientError, TimeoutError):
                # What came before the cut need not come again.
                await incoming.flush()
                raise
            if part.total is not None and incoming.size < part.total:
                await incoming.flush()
                return Interrupted(f"the file was cut at {part.received} of {part.total} bytes")
            if part.total is not None and incoming.size > part.total:
                part.restart()
                return Unusable("the server sent more than the whole file")
            return await incoming.seal()

    def _objection(self, url: str) -> str | None:
        """Say why an address is not fetched, without its query: that holds a signature."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            return "the video's address is no URL"
        if parts.scheme not in ("http", "https") or not host:
            return f"the video's address has the scheme {parts.scheme[:20]!r}, not https"
        if parts.scheme == "http" and not (self._open_to_loopback and is_loopback(host)):
            return f"the video's address is plain http, at {host[:100]}"
        return None

    def _private_literal(self, url: str) -> str | None:
        """Return the address that a proxy must not be asked for; of a name only it learns more."""
        address = literal_address(_exactly(url).raw_host or "")
        if address is None or _allowed(address, open_to_loopback=self._open_to_loopback):
            return None
        return address


@asynccontextmanager
async def open_transfer(
    *, base_url: str, seconds: float, stall: float = STALL_SECONDS, at_once: int = 1
) -> AsyncIterator[Transfer]:
    """Open the connections for files and close them at the end.

    Args:
        base_url: Root of the API; files on this machine are fetched only if it is here too.
        seconds: How long one try of one file may take.
        stall: Seconds without a byte, or with too few, after which a try is broken off.
        at_once: How many files are fetched at once, at most; they share the memory.
    """
    open_to_loopback = is_loopback(urlsplit(base_url).hostname or "")
    block_bytes = min(BLOCK_BYTES, WAITING_BYTES // at_once)

    def public_socket(address: Any) -> socket.socket:
        family, kind, protocol, _, target = address
        if not _allowed(target[0], open_to_loopback=open_to_loopback):
            # With a number: aiohttp shows the text of an OSError only where it has one.
            raise OSError(errno.EACCES, f"{target[0]} {_NOT_PUBLIC}")
        return socket.socket(family, kind, protocol)

    def session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"batchgen/{__version__}", "Accept-Encoding": "identity"},
            auto_decompress=False,
            read_bufsize=min(READ_BYTES, block_bytes),
            trace_configs=[departures()],
        )

    async with (
        # Names are checked where the connection is made: a resolver never sees a literal address.
        session(aiohttp.TCPConnector(limit=0, socket_factory=public_socket)) as direct,
        # A proxy may well have a private address, and makes the connection to the host itself.
        session(aiohttp.TCPConnector(limit=0)) as proxied,
    ):
        with Disk() as disk:
            yield Transfer(
                direct,
                proxied,
                disk,
                open_to_loopback=open_to_loopback,
                seconds=seconds,
                stall=stall,
                block_bytes=block_bytes,
            )


def _allowed(address: str, *, open_to_loopback: bool) -> bool:
    """Tell whether a file may be fetched from an IP address."""
    ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(ip, ipaddress.IPv6Address) and not ip.is_loopback:
        # Where it stands for an IPv4 address, that one counts.
        embedded = int(ip) >> 32 in _EMBEDS_IPV4
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if embedded else ip.sixtofour or ip
    if ip.is_loopback:
        return open_to_loopback
    return ip.is_global and not ip.is_multicast


def _exactly(url: str) -> URL:
    """Have a URL sent as it stands: a signature may be over its very letters.

    Left to itself, yarl would undo escapes it holds for needless, such as a query's %2F.
    """
    return URL(url, encoded=_PLAIN_URL.match(url) is not None)


def _range_headers(part: Part) -> dict[str, str]:
    """Ask for the rest, if what is here belongs to a version that can be named."""
    if part.received == 0 or part.version is None:
        return {}
    return {"Range": f"bytes={part.received}-", "If-Range": part.version}


def _private(url: str, address: str, *, redirected: bool) -> Trouble:
    """Judge an address that is not public: only an address in a redirect is the file's own fault.

    Where a name leads is for this machine's surroundings to say, and they may change.
    """
    host = urlsplit(url).hostname or ""
    if redirected and literal_address(host):
        return Unusable("the video's address leads to a host that is not public")
    return NotSent(private_because(printable(host)[:100], address), private=True)


def _trouble(error: BaseException, proxy: Proxy | None, *, left: bool, begun: bool) -> Trouble:
    """Put an exception into an outcome, without the address: it holds a signature."""
    said = str(error)
    if (failed := unconnected(error, proxy)) is not None:
        return failed
    match error:
        case TimeoutError():
            reason = "no answer in time"
        # These two quote what the server sent, which may be our own address.
        case aiohttp.ClientPayloadError():
            reason = "the connection broke off before the end of the file"
        case aiohttp.ClientResponseError():
            reason = "the server's answer is no HTTP"
        case aiohttp.ClientError() if not isinstance(error, aiohttp.InvalidURL):
            reason = printable(said.split("?", maxsplit=1)[0])[:200] or type(error).__name__
        case _:
            return Unusable("the video's address is no URL")
    if left:
        return Interrupted(reason, begun=begun)
    return NotSent(reason)


def _hash_there(final: Path) -> str | None:
    try:
        return hash_file(final)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None  # so nothing has this name
        raise


def hash_file(path: Path) -> str | None:
    """Hash a file; None where there is none, or a link to one. Blocks."""
    if not path.is_file() or path.is_symlink():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
