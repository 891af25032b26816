"""What several tests need: one sandbox, one way to run the command."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from batchgen.ledger.ledger import Ledger

# How long an example takes is the machine's affair.
settings.register_profile("batchgen", deadline=None)
settings.load_profile("batchgen")

# What the suite starts would inherit that it was put in the background, or started by nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPO = Path(__file__).parent.parent


def committed(ledger: Ledger) -> tuple[float, int]:
    """Return US dollars spent or reserved, and how many submits that is."""
    spent = ledger.spent("m")
    return spent.committed_usd, spent.submits


@pytest.fixture
def anyio_backend() -> str:
    """The project runs on asyncio."""
    return "asyncio"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without the machine's keys and settings, and with a home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BATCHGEN_", "AIML")) and name != "NO_COLOR"
    }
    return {**kept, "HOME": str(tmp_path), "PYTHONWARNINGS": "error"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the servers of tests directly, whatever the machine's own environment says."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


Batchgen = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def batchgen(tmp_path: Path, environment: dict[str, str]) -> Batchgen:
    """Run the command in a directory of its own, as a person does."""

    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "batchgen", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return call


@pytest.fixture
def serve(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., str]]:
    """Start `batchgen serve` in a process of its own; return its URL. All end with the test."""
    servers: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        server = subprocess.Popen(
            [sys.executable, "-m", "batchgen", "serve", "--port", "0", *options],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        servers.append(server)
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("sandbox at http://"), line
        return line.split()[2]

    yield start
    for server in servers:
        server.terminate()
        server.wait(timeout=20)
        assert server.stdout is not None
        server.stdout.close()
