"""A server that costs next to nothing, in a process of its own: what is measured is its clients.

`python -m benchmarks.server '{"service": 2.0}'` serves under such terms, prints its address and
ends with its standard input.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Final, cast

import uvloop

from benchmarks.account import Account, Terms
from benchmarks.dialects import Request, Server
from benchmarks.processes import REPO, python

HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs.

    Attributes:
        url: Its root.
    """

    url: str

    def counts(self) -> dict[str, int]:
        """Ask it for its books."""
        with urllib.request.urlopen(f"{self.url}/account") as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


@contextmanager
def serving(terms: Terms) -> Iterator[Running]:
    """Run a server with empty books in a process of its own."""
    with subprocess.Popen(
        python("-m", "benchmarks.server", json.dumps(asdict(terms))),
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # Leaving the block closes its standard input, at which it ends.
        yield Running(process.stdout.readline().strip())


class Connection(asyncio.Protocol):
    """One connection; requests on it are answered in turn."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (request := self._next_request()) is not None:
            answer = self._server.answer(request, time.time())
            if answer.lost:
                # A reset, as of a server or a router that falls over: no end that is in order.
                self._transport.abort()
                return
            closing = request.headers.get("connection", "").lower() == "close"
            self._transport.write(
                f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
                f"Content-Type: {answer.kind}\r\nContent-Length: {len(answer.body)}\r\n"
                f"Connection: {'close' if closing else 'keep-alive'}\r\n\r\n".encode()
                + answer.body
            )
            if closing:
                self._transport.close()
                return

    def _next_request(self) -> Request | None:
        """Take a whole request out of what has come; None where there is none yet."""
        end = self._waiting.find(HEAD_END)
        if end < 0:
            return None
        first, *lines = self._waiting[:end].decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body_at = end + len(HEAD_END)
        whole = body_at + int(headers.get("content-length", "0"))
        if len(self._waiting) < whole:
            return None
        method, target, _ = first.split(" ")
        body = bytes(self._waiting[body_at:whole])
        del self._waiting[:whole]
        return Request(method, target, headers, body)


async def serve(terms: Terms) -> None:
    """Serve on a free port of this machine until standard input ends."""
    # Not above: who starts servers stays small, since a child's peak memory begins at its parent's.
    from benchmarks.clips import clip  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = Server(Account(terms), url, clip(terms.clip_bytes))
    async with await loop.create_server(lambda: Connection(server), sock=listening):
        print(url, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(Terms(**json.loads(sys.argv[1]))))
