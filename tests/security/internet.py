"""An internet in a box: names and public addresses that lead to a server of this test alone.

Only the operating system's part is played: looking names up and connecting a socket. All of ours
and of aiohttp's, from the URL to TLS, is as it is; every address that a socket is connected to is
written down.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp.connector
import pytest
from aiohttp import web

PUBLIC: Final = "93.184.216.34"
CDN: Final = "cdn.example"
CERTIFICATE: Final = Path(__file__).with_name("cdn.pem")
"""Signs itself for `cdn.example` and the public address, until the year 2126."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Internet:
    """What happened in the box.

    Attributes:
        connected: Every address a socket was connected to, or would have been.
        requests: What came to the public server.
        trapped: Where somebody came to this machine's own listeners.
        trap: The port these listen on, on every loopback address.
        names: What names lead to; may be changed while the box is open.
    """

    connected: list[str] = field(default_factory=list)
    requests: list[web.BaseRequest] = field(default_factory=list)
    trapped: list[str] = field(default_factory=list)
    trap: int = 0
    names: dict[str, Sequence[str]] = field(default_factory=dict)


@asynccontextmanager
async def internet(
    monkeypatch: pytest.MonkeyPatch,
    answer: Handler,
    names: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[Internet]:
    """Serve the public address with one handler, and listen here for whoever should not come.

    Args:
        monkeypatch: Takes the box away again.
        answer: Answers every request that comes to a public address.
        names: Addresses by name; `cdn.example` is there in any case.
    """
    box = Internet(names={CDN: [PUBLIC], **(names or {})})

    async def noting(request: web.Request) -> web.StreamResponse:
        box.requests.append(request)
        return await answer(request)

    async def trapped(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        box.trapped.append(str(writer.get_extra_info("sockname")))
        writer.close()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", noting)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    served = runner.addresses[0][1]
    trap = await asyncio.start_server(trapped, "0.0.0.0", 0)
    box.trap = trap.sockets[0].getsockname()[1]
    _play(monkeypatch, box, served)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    try:
        yield box
    finally:
        monkeypatch.undo()
        trap.close()
        await trap.wait_closed()
        await runner.cleanup()


def _play(monkeypatch: pytest.MonkeyPatch, box: Internet, served: int) -> None:
    """Stand in for the operating system: the name service, and who answers at an address."""
    loop = asyncio.get_running_loop()
    connect, look_up = loop.sock_connect, loop.getaddrinfo

    async def getaddrinfo(host: str, port: Any, **more: Any) -> list[Any]:
        if host.rstrip(".").lower() not in box.names:
            # Spellings of an address are the operating system's to read; other names it must not
            # look for outside.
            more["flags"] = more.get("flags", 0) | (
                0 if host.lower().startswith("localhost") else socket.AI_NUMERICHOST
            )
            return await look_up(host, port, **more)
        found: list[Any] = []
        for address in box.names[host.rstrip(".").lower()]:
            found += await look_up(address, port, type=socket.SOCK_STREAM)
        return found

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        box.connected.append(address[0])
        if address[0] == PUBLIC:
            await connect(sock, ("127.0.0.1", served))
        elif ipaddress.ip_address(address[0]).is_loopback:
            await connect(sock, address)
        else:
            raise OSError(errno.ENETUNREACH, "no test leaves this machine")

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
