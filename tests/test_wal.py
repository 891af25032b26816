"""What was said to be kept is there or is missed: a damaged write-ahead log is no shorter one."""

import asyncio
import shutil
from pathlib import Path

import pytest

from batchgen.errors import RunDirectoryError
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.wal import is_damaged
from tests.test_ledger import NOW, by_id, intend, tasks

TASKS = 5
HEADER = 32
FRAME = 24 + 4096


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A run directory as a kill leaves it: five ids were accepted, nothing is in the database."""
    with Ledger.open(tmp_path / "run") as ledger:
        ledger.admit(tasks(range(TASKS)))

        async def accept() -> None:
            for name in by_id(ledger):
                await intend(ledger, name)
                assert await ledger.accepted(name, f"id:{name}", at=NOW)

        asyncio.run(accept())
        shutil.copytree(tmp_path / "run", tmp_path / "killed")
    return tmp_path / "killed"


def log_of(run: Path) -> Path:
    return run / ".batchgen" / "ledger.sqlite-wal"


def ids_in(run: Path) -> int:
    with Ledger.open(run) as ledger:
        return sum(record.generation_id is not None for record in ledger.records())


def test_a_log_that_is_whole_is_gone_on_with(killed: Path) -> None:
    assert not is_damaged(log_of(killed))
    assert ids_in(killed) == TASKS


@pytest.mark.parametrize(
    "at",
    [
        *range(0, HEADER, 4),
        *range(HEADER, HEADER + FRAME, 411),
        *range(HEADER + FRAME, HEADER + 20 * FRAME, FRAME),
    ],
)
def test_a_bit_that_flips_in_a_commit_others_were_built_on_is_refused(
    killed: Path, at: int
) -> None:
    log = bytearray(log_of(killed).read_bytes())
    log[at] ^= 1
    log_of(killed).write_bytes(log)
    with pytest.raises(RunDirectoryError, match="restore it from a copy"):
        Ledger.open(killed)
    assert log_of(killed).read_bytes() == log


@pytest.mark.parametrize("lost", [1, 100, FRAME - 1, FRAME, FRAME + 5, 3 * FRAME])
def test_a_log_that_is_cut_as_a_power_cut_does_it_is_gone_on_with(killed: Path, lost: int) -> None:
    log = log_of(killed).read_bytes()
    log_of(killed).write_bytes(log[:-lost])
    assert 0 < ids_in(killed) < TASKS


def test_a_last_commit_of_which_some_pages_were_never_written_is_gone_on_without(
    killed: Path,
) -> None:
    log = log_of(killed).read_bytes()
    log_of(killed).write_bytes(log[:-FRAME] + bytes(100) + log[-FRAME + 100 :])
    assert ids_in(killed) == TASKS - 1


def test_what_an_earlier_log_left_behind_is_no_damage(killed: Path) -> None:
    log = log_of(killed).read_bytes()
    older = bytearray(log[HEADER : HEADER + 4 * FRAME])
    for start in range(0, len(older), FRAME):
        older[start + 8] ^= 0xFF  # other salts
    log_of(killed).write_bytes(log + older)
    assert ids_in(killed) == TASKS


def test_where_there_is_no_log_nothing_is_damaged(tmp_path: Path) -> None:
    assert not is_damaged(tmp_path / "none")
    (tmp_path / "empty").touch()
    assert not is_damaged(tmp_path / "empty")


def test_two_ids_for_one_generation_are_a_damaged_ledger(killed: Path) -> None:
    with Ledger.open(killed):
        pass  # the log goes into the database
    file = killed / ".batchgen" / "ledger.sqlite"
    content = file.read_bytes()
    assert content.count(b"id:task00000003") >= 2
    file.write_bytes(content.replace(b"id:task00000003", b"id:task0000000#", 1))
    with pytest.raises(RunDirectoryError):
        Ledger.open(killed)
