"""Ledgers of earlier versions: opened, brought to today's tables, and gone on with.

`tests/ledgers/N/` holds what format N left after a SIGKILL in the middle of a run of
`tests/ledgers/job.yaml`, and the account of the sandbox it ran against.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import batchgen
from batchgen import Output
from batchgen.column_types import ColumnType, type_of
from batchgen.errors import RunDirectoryError
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.migrations import STEPS
from batchgen.ledger.snapshot import read_ledger
from batchgen.ledger.tables import SCHEMA_VERSION
from batchgen.models import Scalar
from batchgen.rundir import RunDirectory
from batchgen.task import Status

LEDGERS = Path(__file__).parent / "ledgers"
VERSIONS = sorted(int(folder.name) for folder in LEDGERS.iterdir() if folder.is_dir())

each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def earlier(tmp_path: Path, version: int) -> RunDirectory:
    """Lay out a run directory as the earlier version left it."""
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    shutil.copyfile(LEDGERS / str(version) / "ledger.sqlite", directory.ledger)
    shutil.copyfile(LEDGERS / str(version) / "account.jsonl", directory.sandbox_journal)
    return directory


def tables(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as db:
        names = db.execute("SELECT name, type FROM sqlite_schema ORDER BY name").fetchall()
        return {
            name: sorted(row[1:] for row in db.execute(f"PRAGMA {kind}_xinfo({name})"))
            for name, kind in names
        }


def bought(directory: RunDirectory) -> int:
    lines = directory.sandbox_journal.read_text().splitlines()
    return sum(json.loads(line)["kind"] == "generation" for line in lines)


def test_there_is_a_ledger_of_every_earlier_version() -> None:
    assert VERSIONS == sorted(STEPS) == list(range(1, SCHEMA_VERSION))


@each_version
def test_an_earlier_ledger_gets_the_tables_of_a_new_one(
    earlier: RunDirectory, tmp_path: Path
) -> None:
    Ledger.open(earlier.path).close()
    Ledger.open(tmp_path / "new").close()
    assert tables(earlier.ledger) == tables(RunDirectory(tmp_path / "new").ledger)


@each_version
@pytest.mark.anyio
async def test_a_run_goes_on_from_an_earlier_ledger_and_buys_nothing_twice(
    earlier: RunDirectory,
) -> None:
    job = replace(batchgen.load_job(LEDGERS / "job.yaml"), output=Output(earlier.path))
    with Ledger.open(earlier.path) as ledger:
        before = ledger.counts()
    paid = bought(earlier)
    summary = await batchgen.run_job(job)
    assert summary.submitted == before.get(Status.PENDING, 0)
    assert bought(earlier) == paid + summary.submitted
    # The two that were refused stay so; the one that never leaves the queue times out again.
    assert summary.counts == {Status.SUCCEEDED: 17, Status.FAILED: 2, Status.TIMED_OUT: 1}
    rows = [json.loads(line) for line in (earlier.path / "manifest.jsonl").read_text().splitlines()]
    assert len({row["generation_id"] for row in rows} - {None}) == 19


@each_version
def test_plan_reads_an_earlier_ledger_and_changes_no_byte_of_it(earlier: RunDirectory) -> None:
    before = earlier.ledger.read_bytes()
    with read_ledger(earlier) as snapshot:
        assert snapshot is not None
        assert snapshot.counts()[Status.UNRESOLVED] == 2
    assert earlier.ledger.read_bytes() == before
    assert sorted(path.name for path in earlier.state.iterdir()) == [
        "ledger.sqlite",
        "parts",
        "sandbox.jsonl",
    ]


@each_version
def test_an_earlier_ledger_learns_the_types_of_its_columns(earlier: RunDirectory) -> None:
    odd: dict[str, Scalar] = {
        "guidance_scale": 5.5,
        "big": 2**63,
        "n": 2**63 - 1,
        "loop": True,
        "style": "an ime",
    }
    with closing(sqlite3.connect(earlier.ledger)) as db:
        sql = "UPDATE tasks SET variables = ?, params = json_set(params, '$.flag', ?) WHERE idx = 0"
        db.execute(sql, (json.dumps(odd), "on"))
        db.commit()
    with Ledger.open(earlier.path) as ledger:
        sent, used = ledger.column_types()
    text = {ColumnType.STRING}
    assert sent == {
        "flag": text,
        "guidance_scale": {ColumnType.INTEGER, ColumnType.NUMBER},
        "model": text,
        "prompt": text,
        "seed": {ColumnType.INTEGER},
    }
    assert used == {name: {type_of(value)} for name, value in odd.items()}


@each_version
def test_a_migration_that_fails_halfway_leaves_the_ledger_as_it_was(
    earlier: RunDirectory, version: int
) -> None:
    with closing(sqlite3.connect(earlier.ledger, isolation_level=None)) as db:
        # The last step of all adds this row.
        db.execute("INSERT INTO about VALUES ('run_id', 'in the way')")
    before = tables(earlier.ledger)
    with pytest.raises(RunDirectoryError, match=r"cannot be used: UNIQUE.*Nothing was changed"):
        Ledger.open(earlier.path)
    assert tables(earlier.ledger) == before
    with closing(sqlite3.connect(earlier.ledger)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == version


def test_a_newer_ledger_is_refused_with_words_that_cost_nothing(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    file = RunDirectory(tmp_path).ledger
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer = file.read_bytes()
    for use in (Ledger.open, lambda path: read_ledger(RunDirectory(path)).__enter__()):
        with pytest.raises(RunDirectoryError, match="Update batchgen") as refused:
            use(tmp_path)
        assert f"format {SCHEMA_VERSION + 1}" in str(refused.value)
        assert "--output" not in str(refused.value), "elsewhere everything is bought again"
        assert file.read_bytes() == newer
