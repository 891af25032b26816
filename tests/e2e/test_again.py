"""Rerunning: a taste of a job, what failed once more, and what failed with another seed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Batchgen
from tests.e2e.test_command import FAST, account, job_file, manifest

JOB = """
version: 1
prompts: [A heron, An otter]
matrix: {seed: 1-3}
run: {concurrency: 2, order: shuffled, poll: {first: 0.1s, every: 0.1s}}
"""


@pytest.fixture
def faulty(serve: Callable[..., str], tmp_path: Path) -> str:
    """A sandbox that makes nothing of the first two submits."""
    rules = [{"on": "submit", "do": "fail", "code": "moderation", "first": 2}]
    plan = tmp_path / "faults.yaml"
    plan.write_text(json.dumps({"faults": rules}))
    return serve(*FAST, "--faults", str(plan))


def test_a_taste_makes_so_many_of_all_and_the_same_command_the_next(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path, JOB)
    for taste in (4, 6):
        assert batchgen("run", job, "--base-url", url, "--limit", 4).returncode == 0
        done = [row for row in manifest(tmp_path / "output" / "grid") if row["file_name"]]
        assert account(url)["submits"] == len(done) == taste
        assert {row["prompt"] for row in done} == {"A heron", "An otter"}
    assert batchgen("run", job, "--base-url", url, "--limit", 4).returncode == 0
    assert account(url)["submits"] == 6


def test_run_retries_what_failed_only_when_it_is_told_to(
    batchgen: Batchgen, faulty: str, tmp_path: Path
) -> None:
    job = job_file(tmp_path, JOB)
    assert batchgen("run", job, "--base-url", faulty).returncode == 5
    assert batchgen("run", job, "--base-url", faulty).returncode == 5
    assert account(faulty)["submits"] == 6
    assert batchgen("run", job, "--base-url", faulty, "--retry-failed").returncode == 0
    assert account(faulty)["submits"] == 8


def test_failed_tasks_get_another_seed_and_the_unchanged_job_knows_it(
    batchgen: Batchgen, faulty: str, tmp_path: Path
) -> None:
    job = job_file(tmp_path, JOB)
    folder = tmp_path / "output" / "grid"
    assert batchgen("run", job, "--base-url", faulty).returncode == 5
    failed = {row["task_id"]: row for row in manifest(folder) if row["status"] == "failed"}
    assert len(failed) == 2
    again = batchgen("retry", folder, "--only", "moderation,timed_out", "--new-seed")
    assert again.returncode == 0, again.stderr
    assert "6 of 6 videos" in again.stdout
    assert "no task ended with timed_out" in again.stderr
    rows = {row["task_id"]: row for row in manifest(folder)}
    assert len(rows) == 8
    for task_id, before in failed.items():
        assert rows[task_id] == {**before, "replaced_by": rows[task_id]["replaced_by"]}
        made = rows[rows[task_id]["replaced_by"]]
        assert (made["status"], made["index"]) == ("succeeded", before["index"])
        assert made["prompt"] == before["prompt"]
        assert made["seed"] not in range(1, 4)
    planned = json.loads(batchgen("plan", job, "--base-url", faulty, "--json").stdout)
    assert planned["by_status"] == {"new": 0, "succeeded": 6}
    for more in ((), ("--retry-failed",)):
        assert batchgen("run", job, "--base-url", faulty, *more).returncode == 0
    assert account(faulty)["submits"] == 8
    job_file(tmp_path, JOB.replace("seed: 1-3", "seed: 7"))
    assert batchgen("run", job, "--base-url", faulty).returncode == 0
    assert {row["task_id"] for row in manifest(folder)} > rows.keys(), "what was made stays"


def test_a_reason_that_nobody_ended_with_names_those_there_are(
    batchgen: Batchgen, faulty: str, tmp_path: Path
) -> None:
    job = job_file(tmp_path, JOB)
    assert batchgen("run", job, "--base-url", faulty).returncode == 5
    folder = Path("output/grid")
    mistyped = batchgen("retry", folder, "--only", "moderaton")
    assert mistyped.returncode == 2
    assert mistyped.stderr.splitlines()[-1] == (
        "batchgen: no task of output/grid ended with moderaton; tasks ended with moderation (2)"
    )
    both = batchgen("retry", folder, "--only", "moderation,moderaton")
    assert (both.returncode, both.stderr) == (2, mistyped.stderr)
    for known in ("timed_out", "no_video"):
        assert batchgen("retry", folder, "--only", known).returncode == 5
    assert account(faulty)["submits"] == 6
    assert batchgen("retry", folder, "--only", "generation").returncode == 0
    asked = account(faulty)["requests"]
    mistyped = batchgen("retry", folder, "--only", "moderaton")
    assert mistyped.returncode == 2
    assert "ended with moderaton; none failed or timed out" in mistyped.stderr
    assert account(faulty)["requests"] == {**asked, "ledger": asked["ledger"] + 1}
    assert batchgen("retry", folder, "--only", "moderation").returncode == 0, "nothing failed"
    assert account(faulty)["submits"] == 8


def test_retry_goes_where_the_environment_says_and_never_from_a_rehearsal_to_real_money(
    batchgen: Batchgen, faulty: str, tmp_path: Path
) -> None:
    key = {"AIMLAPI_KEY": "sandbox"}
    rehearsal = {**key, "BATCHGEN_PROVIDER": "sandbox"}
    job = job_file(tmp_path, f"{JOB}provider: {{kind: aimlapi, base_url: {faulty}}}")
    assert batchgen("run", job, **key).returncode == 5
    folder = Path("output/grid")
    for verb in ("retry", "status", "gallery", "resolve"):
        asked = batchgen(verb, job, **rehearsal)
        assert asked.returncode == 2, verb
        assert f"{folder}-sandbox is no run directory" in asked.stderr
    named = batchgen("retry", folder, **rehearsal)
    assert named.returncode == 2
    assert named.stderr == (
        "batchgen: output/grid holds a run of aimlapi, and BATCHGEN_PROVIDER asks for sandbox: "
        "set BATCHGEN_PROVIDER=aimlapi to go on with it\n"
    )
    led = batchgen("retry", job, **rehearsal, BATCHGEN_OUTPUT=str(folder))
    assert led.returncode == 2
    job_file(tmp_path, JOB)
    edited = batchgen("retry", job, **key)
    assert (edited.returncode, "grid.yaml asks for sandbox" in edited.stderr) == (2, True)
    assert account(faulty)["submits"] == 6
    elsewhere = batchgen("retry", folder, **key, BATCHGEN_BASE_URL="http://api.example.com")
    assert (elsewhere.returncode, "base_url is http" in elsewhere.stderr) == (4, True)
    assert batchgen("retry", folder, **key).returncode == 0
    assert account(faulty)["submits"] == 8
    for run in ([job], []):
        assert "grid" in batchgen("status", *run, BATCHGEN_OUTPUT=str(folder)).stdout
    assert "no run directory" in batchgen("status", BATCHGEN_OUTPUT="output").stderr
