"""A proxy that opens tunnels to one server of this test, whatever host it is asked for."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from tests.security.internet import CERTIFICATE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Proxy:
    """What came to the proxy, and to the server behind it.

    Attributes:
        port: Where the proxy listens, on this machine.
        login: User and password that it wants; empty for none.
        heads: What each connection began with, before any tunnel.
        requests: What came to the server.
    """

    port: int = 0
    login: str = ""
    heads: list[str] = field(default_factory=list)
    requests: list[web.BaseRequest] = field(default_factory=list)

    @property
    def asked_for(self) -> set[str]:
        """Return the first lines of all requests to the proxy itself."""
        return {head.partition("\r\n")[0] for head in self.heads}


@asynccontextmanager
async def tunnelling(answer: Handler, *, login: str = "") -> AsyncIterator[Proxy]:
    """Serve https with the box's certificate, to be reached through a proxy only.

    Args:
        answer: Answers every request that comes through a tunnel.
        login: User and password, with a colon between them, that the proxy wants.
    """
    seen = Proxy(login=login)

    async def noting(request: web.Request) -> web.StreamResponse:
        seen.requests.append(request)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", noting)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    origin = int(runner.addresses[0][1])
    tunnels: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.add(asyncio.current_task())  # type: ignore[arg-type]
        async with _closing(writer):
            with suppress(OSError, asyncio.IncompleteReadError):
                await _tunnel(seen, origin, reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        await runner.cleanup()
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)


async def _tunnel(
    seen: Proxy, origin: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    seen.heads.append(head)
    wanted = f"Proxy-Authorization: Basic {b64encode(seen.login.encode()).decode()}\r\n"
    if seen.login and wanted not in head:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        return
    if not head.startswith("CONNECT "):
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return
    from_origin, to_origin = await asyncio.open_connection("127.0.0.1", origin)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    async with _closing(to_origin):
        await asyncio.gather(_copy(reader, to_origin), _copy(from_origin, writer))


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
