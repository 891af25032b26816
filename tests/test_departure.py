"""Every way a connection can fail, really provoked: what never left is told from what may have.

Resets, refusals and silence after the request left are in test_aimlapi; here is the rest.
"""

import asyncio
import os
import resource
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from batchgen.job import TimeoutSettings
from batchgen.models import WAN_1_3B
from batchgen.outcomes import Interrupted, NotSent, Trouble
from batchgen.policy import Action, Phase, decide
from batchgen.providers.aimlapi import AimlApi, Secret, connect

pytestmark = pytest.mark.anyio

BODY = b'{"model":"m","prompt":"a fox"}'
SHORT = TimeoutSettings(request=0.2, submit=0.2)
# Signed by itself and good for nothing else: an EC key for 127.0.0.1, valid for a century.
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnPJJN98FjL3QY1A2
ansn9or7K/q0vUZGtXdQ+cRaMg2hRANCAAQaq/UHLTgwz2ulmrzc9zJ58+woI7Tg
XFDWch+UuieaFFuP1v1XzrbTaCNEaREMrX1+UgPkfMSNS9HGkgTl3R4v
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBjzCCATagAwIBAgIUS0YokyQ5kfkWMzGEjmMTJQeO/50wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNDExMTMwM1oYDzIxMjYxMDMx
MTExMzAzWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQaq/UHLTgwz2ulmrzc9zJ58+woI7TgXFDWch+UuieaFFuP1v1XzrbT
aCNEaREMrX1+UgPkfMSNS9HGkgTl3R4vo2QwYjAdBgNVHQ4EFgQUxN+TQq90Dw9+
5oanPK225a/Fp8YwHwYDVR0jBBgwFoAUxN+TQq90Dw9+5oanPK225a/Fp8YwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0cAMEQC
IEHH1PiCHnGNCptYYB2wVN4tp3Awg2AJxq7v3AE+OpVCAiAi6mWAySGJXa5BPj23
lPkHqa/cCNhZRyvcQbaFOXen+g==
-----END CERTIFICATE-----
"""

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def host(
    behave: Behaviour, *, scheme: str = "http", tls: ssl.SSLContext | None = None
) -> AsyncIterator[AimlApi]:
    """Connect to a host that behaves like this on every connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # What it does is to be broken off.
            with suppress(OSError):
                await behave(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        base = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with provider_at(base) as provider:
            yield provider


@asynccontextmanager
async def provider_at(base: str) -> AsyncIterator[AimlApi]:
    async with connect(base, Secret("sk-0123456789"), WAN_1_3B, SHORT) as provider:
        yield provider


async def never_left(provider: AimlApi, *, certificate: bool = False) -> None:
    for outcome in (await provider.submit(BODY, "a"), await provider.fetch("id")):
        assert isinstance(outcome, NotSent)
        assert outcome.reason
        assert outcome.certificate is certificate


async def may_have_been_taken(provider: AimlApi) -> None:
    submitted, fetched = await provider.submit(BODY, "a"), await provider.fetch("id")
    assert isinstance(submitted, Trouble)
    assert decide(Phase.SUBMIT, submitted) is Action.HOLD, submitted
    assert isinstance(fetched, Trouble)
    assert decide(Phase.FETCH, fetched) is Action.RETRY, fetched


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side reads ECONNRESET."""
    no_linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


async def test_a_certificate_that_proves_nothing_pauses_and_nothing_left(tmp_path: Path) -> None:
    pem = tmp_path / "self-signed.pem"
    pem.write_text(SELF_SIGNED)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    heard: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        heard.append(await reader.read(1))

    async with host(behave, scheme="https", tls=tls) as provider:
        await never_left(provider, certificate=True)
        for phase, outcome in (
            (Phase.SUBMIT, await provider.submit(BODY, "a")),
            (Phase.FETCH, await provider.fetch("id")),
        ):
            assert isinstance(outcome, NotSent)
            assert decide(phase, outcome) is Action.PAUSE
    assert b"".join(heard) == b""


async def _hello_then_silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del writer
    await reader.read(5_000)
    await reader.read(5_000)


async def _hello_then_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(5_000)
    reset(writer)


async def _hello_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del writer
    await reader.read(5_000)


async def _hello_then_alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(5_000)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake_failure (RFC 5246, 7.2)
    await writer.drain()


@pytest.mark.parametrize(
    "behave", [_hello_then_silence, _hello_then_reset, _hello_then_close, _hello_then_alert]
)
async def test_a_request_whose_tls_handshake_fails_never_left(behave: Behaviour) -> None:
    async with host(behave, scheme="https") as provider:
        await never_left(provider)


@contextmanager
def full_backlog() -> Iterator[int]:
    """Listen without ever accepting, with no room for one more: a connect gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        waiting = []
        try:
            for _ in range(3):
                waiting.append(socket.socket())
                waiting[-1].settimeout(0)
                waiting[-1].connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for each in waiting:
                each.close()


async def test_a_connect_that_is_never_answered_never_left() -> None:
    with full_backlog() as port:
        async with provider_at(f"http://127.0.0.1:{port}") as provider:
            await never_left(provider)


async def test_a_network_that_cannot_be_reached_never_left() -> None:
    async with provider_at("http://255.255.255.255:9") as provider:
        await never_left(provider)


async def test_without_a_file_descriptor_to_spare_nothing_left() -> None:
    async with provider_at("http://127.0.0.1:9") as provider:
        spare = os.dup(0)
        os.close(spare)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            outcomes = await provider.submit(BODY, "a"), await provider.fetch("id")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [type(outcome) for outcome in outcomes] == [NotSent, NotSent]
    assert "Too many open files" in str(outcomes)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
BROKEN_ANSWERS = {
    "a status line that is cut": b"HTTP/1.1 20",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a head of 100 kB": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "a head that never ends": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "chunks without their end": CHUNKED + b'\r\n5\r\n{"id"\r\n',
    "a chunk without a size": CHUNKED + b"\r\nno\r\n{}\r\n0\r\n\r\n",
    "a chunk larger than told": CHUNKED + b"\r\n1\r\n{}{}\r\n0\r\n\r\n",
    "a body that is no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    b'Content-Length: 9\r\n\r\n{"id":1}\n',
    "another protocol from here on": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n"
    b"Connection: upgrade\r\n\r\n",
    "a body of nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "promises only": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "a NUL": b"\0" * 64,
}


@pytest.mark.parametrize("answer", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
async def test_behind_the_headers_a_broken_answer_leaves_a_submit_in_doubt_and_is_made_once(
    answer: bytes,
) -> None:
    requests: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()

    async with host(behave) as provider:
        await may_have_been_taken(provider)
    # A question costs nothing: the library asks it again where a connection just closed.
    assert [request.split()[0] for request in requests].count(b"POST") == 1


async def test_a_submit_that_is_reset_in_the_middle_of_its_own_body_is_in_doubt() -> None:
    """The server has the head and half of the body: nobody can say what it makes of them."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        reset(writer)

    async with host(behave) as provider:
        outcome = await provider.submit(b'{"prompt":"' + b"x" * 1_000_000 + b'"}', "a")
    assert isinstance(outcome, Interrupted)


async def test_an_answer_before_the_whole_request_is_an_answer() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        while await reader.read(1 << 20):
            pass

    async with host(behave) as provider:
        outcome = await provider.submit(b'{"prompt":"' + b"x" * 1_000_000 + b'"}', "a")
    # Refused or in doubt: either is true, and neither is repeated.
    assert isinstance(outcome, Trouble)
    assert decide(Phase.SUBMIT, outcome) in (Action.FAIL, Action.HOLD)
