"""`batchgen resolve`: submits whose answer was lost, settled by the person who owns the run."""

import json
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from batchgen.jobfile import Overrides, load_job
from batchgen.ledger.ledger import Ledger
from batchgen.savedjob import save_job
from batchgen.session import admit
from tests.conftest import Batchgen, committed
from tests.e2e.test_command import FAST, account, manifest

JOB = """
version: 1
prompts: [A heron, An otter, A newt]
defaults: {seed: 1}
budget: {usd_per_video: 0.06}
run: {poll: {first: 0.1s, every: 0.1s}}
"""


@pytest.fixture
def url(serve: Callable[..., str]) -> str:
    return serve(*FAST)


@pytest.fixture
def run(tmp_path: Path, url: str) -> Path:
    """A run directory as a kill between intent and answer leaves it, for each of three tasks."""
    path = tmp_path / "birds.yaml"
    path.write_text(JOB)
    job = load_job(path, Overrides(base_url=url, output=tmp_path / "run"))
    with Ledger.open(job.output.dir) as ledger:
        ledger.bind(job.provider.kind)
        admit(job, ledger)
        save_job(ledger.directory, job)

        async def intend() -> None:
            for number, record in enumerate(await ledger.pending(-1, 10)):
                await ledger.intend(
                    record.task_id,
                    client_request_id=f"{record.task_id}.lost",
                    body_sha256="-",
                    reserved_usd=0.06,
                    at=1_790_000_000.0 + number,
                )

        anyio.run(intend)
    return job.output.dir


def submit(url: str, prompt: str) -> str:
    """Have the server take a generation of this prompt; return its id."""
    body = {"model": "wan/v2.1/1.3b/text-to-video", "prompt": prompt, "seed": 1}
    request = urllib.request.Request(
        f"{url}/v2/generate/video/alibaba/generation",
        json.dumps(body).encode(),
        {"Authorization": "Bearer sandbox", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["id"])


def task_ids(run: Path) -> list[str]:
    with Ledger.open(run) as ledger:
        return [record.task_id for record in ledger.records()]


def outcomes(run: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(run / ".batchgen" / "ledger.sqlite") as db:
        rows = db.execute("SELECT client_request_id, outcome FROM submits").fetchall()
    db.close()
    return sorted(rows)


def test_without_a_verb_it_says_what_is_in_doubt_what_it_may_cost_and_what_can_be_done(
    batchgen: Batchgen, run: Path, url: str
) -> None:
    said = batchgen("resolve", run)
    assert said.returncode == 0, said.stderr
    assert "3 submits are unresolved, which may have cost $0.18" in said.stdout
    for task_id in task_ids(run):
        assert task_id in said.stdout
        assert f"client request id {task_id}.lost" in said.stdout
    for verb in ("--adopt ID", "--resubmit", "--abandon"):
        assert verb in said.stdout
    assert account(url)["submits"] == 0, "it only tells"


def test_what_runs_submitted_again_is_listed_with_the_evidence(
    batchgen: Batchgen, run: Path
) -> None:
    heron, otter, _ = task_ids(run)
    with Ledger.open(run) as ledger:
        ledger.recover()

        async def repeat() -> None:
            for at, task_id in enumerate((heron, otter)):
                await ledger.sightings.repeat(task_id, f"{task_id} was nowhere", at=at)
            await ledger.sightings.turned_up(f"{otter}.lost", "id-late", 9_000.0)

        anyio.run(repeat)
    said = batchgen("resolve", run).stdout
    assert "1 submit is unresolved" in said
    assert "0 known submits were seen in the provider's log, and 100 are needed" in said
    assert (
        f"  {heron}  {heron} was nowhere\n  {otter}  {otter} was nowhere\n    paid for twice"
        in said
    )
    assert "turned up as id-late" in said
    assert "submitted again, as on_ambiguous says: 2" in said
    batchgen("resolve", run, "--abandon")
    assert "submitted again, as on_ambiguous says: 2" in batchgen("resolve", run).stdout


def test_each_verb_settles_its_task_and_the_next_run_goes_on_with_that(
    batchgen: Batchgen, run: Path, url: str, tmp_path: Path
) -> None:
    heron, otter, newt = task_ids(run)
    ended = batchgen("run", tmp_path / "birds.yaml", "--output", run, "--base-url", url)
    assert ended.returncode == 5
    assert "3 unresolved" in ended.stdout
    assert f"batchgen resolve {run}" in ended.stdout
    generation_id = submit(url, "A heron")
    for arguments in (
        (heron, "--adopt", generation_id),
        (otter, "--resubmit"),
        (newt, "--abandon"),
    ):
        settled = batchgen("resolve", run, *arguments)
        assert settled.returncode == 0, settled.stderr
    assert [row["status"] for row in manifest(run)] == ["pending", "pending", "cancelled"]
    ended = batchgen("run", tmp_path / "birds.yaml", "--output", run, "--base-url", url)
    assert ended.returncode == 0, ended.stderr
    rows = manifest(run)
    assert [row["status"] for row in rows] == ["succeeded", "succeeded", "cancelled"]
    assert rows[0]["generation_id"] == generation_id
    assert rows[2]["error_code"] == "abandoned"
    assert account(url)["submits"] == 2, "the adopted one and the one that was submitted again"
    decided = dict(outcomes(run))
    assert decided[f"{heron}.lost"] == "accepted"
    assert decided[f"{otter}.lost"] == "resubmitted"
    assert decided[f"{newt}.lost"] == "abandoned"
    with Ledger.open(run) as ledger:
        dollars, submits = committed(ledger)
    assert (round(dollars, 6), submits) == (0.24, 4), "a doubt stays counted"


def test_without_a_task_all_of_them_are_settled_at_once(
    batchgen: Batchgen, run: Path, url: str, tmp_path: Path
) -> None:
    assert "3 tasks to be submitted again" in batchgen("resolve", run, "--resubmit").stdout
    assert "nothing is unresolved" in batchgen("resolve", run, "--resubmit").stdout
    ended = batchgen("run", tmp_path / "birds.yaml", "--output", run, "--base-url", url)
    assert ended.returncode == 0, ended.stderr
    assert account(url)["submits"] == 3


def test_what_was_abandoned_can_still_turn_up(batchgen: Batchgen, run: Path, url: str) -> None:
    heron, *_ = task_ids(run)
    assert batchgen("resolve", run, "--abandon").returncode == 0
    assert batchgen("resolve", run, heron, "--adopt", submit(url, "A heron")).returncode == 0
    assert [row["status"] for row in manifest(run)] == ["pending", "cancelled", "cancelled"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--adopt", "id:1"), "--adopt needs the task"),
        (("HERON",), "say what became of it"),
        (("HERON", "--resubmit", "--abandon"), "--resubmit and --abandon exclude each other"),
        (("nosuchtask", "--resubmit"), "this run has no task nosuchtask"),
        (("HERON", "--adopt", " "), "--adopt takes a generation id"),
        (("HERON", "--adopt", "a\x1b[31mb"), "--adopt takes a generation id"),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    batchgen: Batchgen, run: Path, arguments: tuple[str, ...], said: str
) -> None:
    heron, *_ = task_ids(run)
    ended = batchgen("resolve", run, *(heron if word == "HERON" else word for word in arguments))
    assert ended.returncode == 2
    assert said in ended.stderr
    with Ledger.open(run) as ledger:
        ledger.recover()
        assert len(ledger.unresolved()) == 3


def test_a_task_that_is_done_and_an_id_that_is_taken_are_refused(
    batchgen: Batchgen, run: Path, url: str, tmp_path: Path
) -> None:
    heron, otter, _ = task_ids(run)
    generation_id = submit(url, "A heron")
    assert batchgen("resolve", run, heron, "--adopt", generation_id).returncode == 0
    again = batchgen("resolve", run, otter, "--adopt", generation_id)
    assert again.returncode == 2
    assert "another task of this run has this generation id" in again.stderr
    batchgen("run", tmp_path / "birds.yaml", "--output", run, "--base-url", url)
    settled = batchgen("resolve", run, heron, "--resubmit")
    assert settled.returncode == 2
    assert "is succeeded: there is nothing to settle" in settled.stderr


def test_an_id_that_the_provider_does_not_know_is_not_adopted(
    batchgen: Batchgen, run: Path, url: str
) -> None:
    heron, *_ = task_ids(run)
    generation_id = submit(url, "A heron")
    mistyped = generation_id.replace(generation_id[:4], "ffff", 1)
    refused = batchgen("resolve", run, heron, "--adopt", mistyped)
    assert refused.returncode == 2
    assert f"does not know the generation {mistyped}" in refused.stderr
    unreachable = batchgen(
        *("resolve", run, heron, "--adopt", generation_id), BATCHGEN_BASE_URL="http://127.0.0.1:9"
    )
    assert unreachable.returncode == 4
    assert "could not be asked" in unreachable.stderr
    assert "nothing was changed" in unreachable.stderr
    assert dict(outcomes(run))[f"{heron}.lost"] != "accepted"
    adopted = batchgen("resolve", run, heron, "--adopt", generation_id)
    assert adopted.stdout.startswith("1 task adopted: the next run fetches its video (the provider")
    assert account(url)["submits"] == 1
