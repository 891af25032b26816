"""What a verb imports: a command that only looks must not wait for what a run needs."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from batchgen.cli.app import VERBS
from batchgen.ledger.ledger import Ledger
from batchgen.report.status import RunStatus, write_status
from batchgen.rundir import RunDirectory
from batchgen.savedjob import save_job
from tests.test_expansion import job

NET = {"aiohttp", "anyio", "aiofiles", "multidict", "ssl", "uvloop", "yarl"}
MEDIA = {"PIL", "av", "numpy"}
SCREEN = {"rich", "rich_click"}
PAGE = {"jinja2", "markupsafe"}
CHECKS = {"pydantic", "yaml"}
LEDGER = {"asyncio", "sqlite3"}

SCRIPT = """
import sys
from batchgen.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def imported(folder: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job, and a run directory of another with one task that waits."""
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [A fox]\n")
    of = job()
    with Ledger.open(tmp_path / "run") as ledger:
        save_job(ledger.directory, of)
        ledger.bind(of.provider.kind)
    write_status(RunDirectory(tmp_path / "run"), RunStatus("done", {}, 0, 0.0, 0.0, 0.0, 0))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "not_needed"),
    [
        (["--help"], NET | MEDIA | SCREEN | PAGE | CHECKS | LEDGER | {"dataclasses", "json"}),
        (["--version"], NET | MEDIA | SCREEN | PAGE | CHECKS | LEDGER | {"dataclasses", "json"}),
        (["run", "--help"], NET | MEDIA | SCREEN | PAGE | CHECKS | LEDGER),
        (["init", "new.yaml"], NET | MEDIA | SCREEN | PAGE | LEDGER),
        (["validate", "job.yaml"], NET | MEDIA | SCREEN | PAGE | LEDGER),
        (["plan", "--tasks", "job.yaml"], NET | MEDIA | SCREEN | PAGE | LEDGER),
        # It may ask for the price, and http.client imports ssl.
        (["plan", "job.yaml"], (NET - {"ssl"}) | MEDIA | SCREEN | PAGE | {"asyncio"}),
        (["status", "run"], NET | MEDIA | SCREEN | PAGE | LEDGER | {"yaml"}),
        # The ledger's thread answers asyncio's loops, and asyncio imports ssl.
        (["gallery", "run"], (NET - {"ssl"}) | MEDIA | SCREEN | {"yaml"}),
        (["resolve", "run"], (NET - {"ssl"}) | MEDIA | SCREEN | PAGE | {"yaml"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_verb_imports_only_what_it_uses(
    folder: Path, arguments: list[str], not_needed: set[str]
) -> None:
    assert imported(folder, *arguments) & not_needed == set()


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_the_help_of_each_begins_with(verb: str) -> None:
    said = getattr(import_module(f"batchgen.cli.{verb}"), verb).help
    assert said.startswith(VERBS[verb].rstrip("."))
