"""Holds what a run directory says against the server's own account. Changes neither."""

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SUBMITS: Final = 4
"""POSTs in flight, at most: what one kill can leave in doubt."""
Account = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Books:
    """What lies in a run directory.

    Attributes:
        tasks: Rows of the ledger by task id.
        submits: Rows of its submits by client request id.
        rescued: Generation ids in the side file.
        hashes: SHA-256 of each file with a final name.
    """

    tasks: Mapping[str, Mapping[str, Any]]
    submits: Mapping[str, Mapping[str, Any]]
    rescued: frozenset[str]
    hashes: Mapping[str, str]

    def in_state(self, *statuses: str) -> set[str]:
        """Return the ids of the tasks with one of these statuses."""
        return {task_id for task_id, row in self.tasks.items() if row["status"] in statuses}


def read(directory: Path) -> Books:
    """Read a run directory that no process holds; of the ledger, a copy."""
    state = directory / ".batchgen"
    tasks: dict[str, Mapping[str, Any]] = {}
    submits: dict[str, Mapping[str, Any]] = {}
    # SQLite recovers what it opens, and the next run must find things as the kill left them.
    with tempfile.TemporaryDirectory() as folder:
        for file in state.glob("ledger.sqlite*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "ledger.sqlite")) as db:
            assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            db.row_factory = sqlite3.Row
            if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'submits'").fetchone():
                tasks = {row["task_id"]: dict(row) for row in db.execute("SELECT * FROM tasks")}
                submits = {
                    row["client_request_id"]: dict(row)
                    for row in db.execute("SELECT * FROM submits")
                }
    return Books(tasks, submits, _rescued(state / "rescued-ids"), _hashes(directory / "videos"))


def _rescued(path: Path) -> frozenset[str]:
    found = set()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.add(json.loads(line)[1])
        except ValueError:
            continue  # blank, or torn
    return frozenset(found)


def _hashes(videos: Path) -> dict[str, str]:
    return {
        f"videos/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(videos.iterdir() if videos.exists() else ())
        # A kill may leave the hidden trial of a name; the next trial takes it away.
        if not file.name.startswith(".")
    }


def check_at_rest(directory: Path, account: Account) -> set[str]:
    """Check what must be true of a run directory at any moment at which its process may die.

    Returns:
        Tasks whose submit is in doubt although the server has not taken it.
    """
    books = read(directory)
    sent = [generation["client_request_id"] for generation in account]
    assert set(sent) <= books.submits.keys(), "a POST left without a durable intent"
    assert len({books.submits[each]["task_id"] for each in sent}) == len(sent), "paid for twice"

    known = {row["generation_id"] for row in books.tasks.values()} | books.rescued
    doubtful = books.in_state("submitting", "unresolved")
    for generation in account:
        task_id = books.submits[generation["client_request_id"]]["task_id"]
        assert generation["generation_id"] in known or task_id in doubtful, "a lost generation"
    assert len(books.in_state("submitting")) <= SUBMITS

    recorded = {
        f"videos/{row['stem']}.mp4": row["sha256"]
        for row in books.tasks.values()
        if row["bytes"] is not None
    }
    for name, sha256 in books.hashes.items():
        assert recorded.get(name) == sha256, f"{name} has its name, but no record"
    succeeded = {
        f"videos/{books.tasks[task_id]['stem']}.mp4" for task_id in books.in_state("succeeded")
    }
    assert succeeded <= books.hashes.keys(), "said to be saved, but not there"
    taken = {books.submits[each]["task_id"] for each in sent}
    return {
        task_id for task_id in doubtful - taken if books.tasks[task_id]["generation_id"] is None
    }


def check_end(directory: Path, account: Account, tasks: int, untaken: set[str]) -> None:
    """Check that a job is done: all that was taken is on disk, and nothing else is left open.

    Args:
        directory: The run directory.
        account: What the server took.
        tasks: How many tasks the job has.
        untaken: Tasks that may be unresolved: their submits never arrived.
    """
    check_at_rest(directory, account)
    manifest = (directory / "manifest.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in manifest.splitlines()]
    assert len(rows) == tasks
    by_status: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_status.setdefault(row["status"], []).append(row)
    assert by_status.keys() <= {"succeeded", "unresolved"}, by_status.keys()
    assert {row["task_id"] for row in by_status.get("unresolved", ())} == untaken

    succeeded = by_status.get("succeeded", [])
    assert {row["generation_id"] for row in succeeded} == {
        generation["generation_id"] for generation in account
    }
    assert len(succeeded) == len(account) == tasks - len(untaken)
    assert {row["file_name"]: row["sha256"] for row in succeeded} == _hashes(directory / "videos")
    assert not list(directory.rglob("*.part")), "a part was left behind"
    assert json.loads((directory / ".batchgen/status.json").read_text())["state"] == "done"
