"""What a video costs is asked without a key and without patience."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from batchgen.job import ProviderSettings
from batchgen.providers.pricing import SANDBOX_USD, known_price, quoted_price
from batchgen.sandbox import SandboxSettings

PRICED = (
    b'{"data": [{"id": "m", "pricing": {"kind": "fixed", "currency": "USD",'
    b' "units": [{"price": 0.25, "per": "video"}]}}]}'
)


class Models(BaseHTTPRequestHandler):
    """Answers as the test says, and keeps what it was asked."""

    asked: list[str]
    answer: tuple[int, bytes]

    def do_GET(self) -> None:
        self.asked.append(f"{self.path}\n{self.headers}")
        status, body = self.answer
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests are silent."""


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Models,), {"asked": asked, "answer": (status, body)})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def settings(url: str | None, kind: str = "aimlapi") -> ProviderSettings:
    return ProviderSettings(kind, "m", url)


def test_the_provider_s_price_is_read_and_no_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMLAPI_KEY", "canary-key-0123456789")
    with answering(200, PRICED) as (url, asked):
        assert quoted_price(settings(f"{url}/api")) == 0.25
    (request,) = asked
    assert request.startswith("/api/v1/models?id=m&include=pricing\n")
    assert "canary" not in request
    assert "authorization" not in request.lower()


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"{}"), (200, b"\xff no json"), (302, PRICED), (500, PRICED)]
)
def test_an_answer_without_a_price_is_none(status: int, body: bytes) -> None:
    with answering(status, body) as (url, _):
        assert quoted_price(settings(url)) is None


@contextmanager
def silent() -> Iterator[str]:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def closed() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("place", [silent, closed])
def test_nobody_who_answers_in_time_is_no_price(
    place: Callable[[], AbstractContextManager[str]],
) -> None:
    with place() as url:
        assert quoted_price(settings(url), patience=0.05) is None


def test_the_sandbox_inside_a_run_is_not_asked() -> None:
    assert quoted_price(settings(None, "sandbox")) == SANDBOX_USD == SandboxSettings().usd_per_video
    assert known_price(settings(None, "sandbox")) == SANDBOX_USD
    assert known_price(settings(None)) is None
    assert known_price(settings("http://127.0.0.1:9", "sandbox")) is None
