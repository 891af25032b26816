"""What is on disk before what: looked at from outside, at the moment the next step is made."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchgen.outcomes import FetchOutcome, SubmitOutcome
from batchgen.task import Status
from tests.test_run import Scripted, clip, do, job, video_url  # noqa: F401  # fixtures

pytestmark = pytest.mark.anyio


def as_a_kill_would_leave_it(run: Path, scratch: Path) -> sqlite3.Connection:
    """Open a copy of the ledger as it is on disk now: what was not committed is not in it."""
    scratch.mkdir(exist_ok=True)
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        (scratch / name).unlink(missing_ok=True)
        if (run / ".batchgen" / name).exists():
            shutil.copy(run / ".batchgen" / name, scratch / name)
    return sqlite3.connect(scratch / "ledger.sqlite")


class Watching(Scripted):
    """Looks at the ledger's file at each request."""

    def __init__(self, video_url: str, folder: Path) -> None:  # noqa: F811  # its value
        super().__init__(video_url)
        self.folder = folder
        self.intents: list[Any] = []
        self.ids: list[Any] = []

    def _look(self, sql: str, value: str) -> Any:
        run, scratch = self.folder / "run", self.folder / "scratch"
        with closing(as_a_kill_would_leave_it(run, scratch)) as db:
            return db.execute(sql, (value,)).fetchone()

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        sql = (
            "SELECT status, outcome FROM submits JOIN tasks USING (task_id)"
            " WHERE submits.client_request_id = ?"
        )
        self.intents.append(self._look(sql, client_request_id))
        return await super().submit(body, client_request_id)

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        sql = "SELECT status FROM tasks WHERE generation_id = ?"
        self.ids.append(self._look(sql, generation_id))
        return await super().fetch(generation_id, model)


async def test_no_submit_leaves_before_its_intent_is_on_disk(
    tmp_path: Path,
    video_url: str,  # noqa: F811
) -> None:
    provider = Watching(video_url, tmp_path)
    await do(job(tmp_path, 5), provider)
    assert provider.intents == [("submitting", None)] * 5


async def test_no_id_is_asked_about_before_it_is_on_disk(
    tmp_path: Path,
    video_url: str,  # noqa: F811
) -> None:
    provider = Watching(video_url, tmp_path)
    await do(job(tmp_path, 5), provider)
    assert provider.ids == [("in_flight",)] * 5


async def test_bytes_then_hash_then_name_then_success(
    tmp_path: Path,
    video_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    steps: list[tuple[str, Any]] = []
    fsync, replace = os.fsync, os.replace

    def look() -> Any:
        with closing(as_a_kill_would_leave_it(run, tmp_path / "scratch")) as db:
            return db.execute("SELECT status, bytes, length(sha256) FROM tasks").fetchone()

    def forced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        fsync(descriptor)
        if path.parent.name == "parts":
            steps.append(("the bytes are forced to disk", look()))
        elif path == run / "videos":
            steps.append(("the name is forced to disk", look()))

    def renamed(old: Any, new: Any, **more: Any) -> None:
        if Path(old).parent.name == "parts":
            steps.append(("the file gets its name", look()))
        replace(old, new, **more)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", renamed)
    await do(job(tmp_path), Scripted(video_url))
    (video,) = (run / "videos").iterdir()
    recorded = (Status.COMPLETED, video.stat().st_size, 64)
    assert steps == [
        ("the bytes are forced to disk", (Status.COMPLETED, None, None)),
        ("the file gets its name", recorded),
        ("the name is forced to disk", recorded),
    ]
    assert look()[0] == Status.SUCCEEDED
