"""The command tells a channel how its run ended, and keeps the channel's address to itself."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Batchgen

SECRET = "S3CRETCHANNEL"


class Channel(BaseHTTPRequestHandler):
    """Takes one kind of message and refuses all others."""

    taken: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(json.loads(body))
        self.send_response(200 if self.path.startswith("/open/") else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def channel() -> Iterator[HTTPServer]:
    Channel.taken = []
    server = HTTPServer(("127.0.0.1", 0), Channel)
    threading.Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["open", "closed"])
def test_a_run_tells_its_end_once_and_no_file_and_no_line_holds_the_address(
    batchgen: Batchgen, channel: HTTPServer, tmp_path: Path, path: str
) -> None:
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [A fox]\n", "utf-8")
    url = f"http://127.0.0.1:{channel.server_port}/{path}/{SECRET}"
    ended = batchgen("run", "job.yaml", "-v", BATCHGEN_NOTIFY_URL=url)
    assert ended.returncode == 0, ended.stderr
    (told,) = Channel.taken
    assert told["text"].startswith("job finished: 1 of 1 video in ")
    assert ("nobody was notified" in ended.stderr) == (path == "closed")
    assert SECRET not in ended.stdout + ended.stderr
    for file in (tmp_path / "output").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_a_job_that_names_a_variable_which_is_not_set_says_so_and_runs(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    job = "version: 1\nprompts: [A fox]\nnotify: {url_env: NIGHT_CHANNEL, on: [stop]}\n"
    (tmp_path / "job.yaml").write_text(job, "utf-8")
    ended = batchgen("run", "job.yaml")
    assert ended.returncode == 0
    assert "NIGHT_CHANNEL is not set" in ended.stderr
