"""The command as a person uses it: real processes, real HTTP, real files."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchgen import mp4
from tests.conftest import REPO, Batchgen

GRID = """
version: 1
prompts: ["Paper boat in a drain: macro, rain"]
matrix: {seed: 1-2, guidance_scale: [3, 9]}
run: {concurrency: 4, poll: {first: 0.1s, every: 0.1s}}
"""
FAST = ("--queue", "0s", "--generate", "0.05s")


def account(url: str, key: str = "sandbox") -> dict[str, Any]:
    """What the server says it did."""
    request = urllib.request.Request(
        f"{url}/sandbox/ledger", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: dict[str, Any] = json.load(answer)
        return content


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def job_file(folder: Path, text: str = GRID, name: str = "grid.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_quickstart_leaves_a_playable_clip_a_manifest_and_a_page(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    ended = batchgen("run", REPO / "jobs" / "quickstart.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "1 of 1 video is in output/quickstart" in ended.stdout
    folder = tmp_path / "output" / "quickstart"
    (row,) = manifest(folder)
    assert row["status"] == "succeeded"
    info = mp4.inspect(folder / row["file_name"])
    assert (info.width, info.height, info.fps) == (832, 480, 16.0)
    assert (row["width"], row["height"]) == (832, 480)
    assert row["bytes"] == (folder / row["file_name"]).stat().st_size
    assert row["file_name"] in (folder / "index.html").read_text()
    with (folder / "manifest.csv").open(newline="") as file:
        assert [line["task_id"] for line in csv.DictReader(file)] == [row["task_id"]]
    assert (folder / "job.yaml").read_text() == (REPO / "jobs" / "quickstart.yaml").read_text()


def test_the_same_command_again_sends_nothing(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    for _ in range(2):
        assert batchgen("run", job, "--base-url", url).returncode == 0
    assert account(url)["submits"] == 4


def test_new_cells_of_an_edited_job_are_the_only_ones_sent(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    assert batchgen("run", job, "--base-url", url).returncode == 0
    before = {row["task_id"]: row["file_name"] for row in manifest(tmp_path / "output" / "grid")}
    job_file(tmp_path, GRID.replace("seed: 1-2", "seed: 0-2"))
    planned = json.loads(batchgen("plan", job, "--json").stdout)
    assert (planned["tasks"], planned["by_status"]) == (6, {"new": 2, "succeeded": 4})
    assert batchgen("run", job, "--base-url", url).returncode == 0
    assert account(url)["submits"] == 6
    after = {row["task_id"]: row["file_name"] for row in manifest(tmp_path / "output" / "grid")}
    assert before.items() <= after.items()


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(
    serve: Callable[..., str], batchgen: Batchgen, environment: dict[str, str], tmp_path: Path
) -> None:
    """Real SIGKILLs, at moments that differ: whatever is cut, ids are kept and polled."""
    url = serve("--queue", "0.1s", "--generate", "0.3s")
    text = GRID.replace("seed: 1-2", "seed: 1-14")
    job = job_file(tmp_path, text)
    command = [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url]
    folder = tmp_path / "output" / "grid"
    for kill in range(3):
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        # Killed while submits, polls and downloads are all under way.
        while account(url)["submits"] < 8 * (kill + 1) and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=10)
    status = batchgen("status", folder)
    assert "was killed" in status.stdout
    ended = batchgen("run", job, "--base-url", url)
    done = account(url)
    rows = manifest(folder)
    ids = {generation["generation_id"] for generation in done["generations"]}
    unresolved = [row for row in rows if row["status"] == "unresolved"]
    # A kill between an intent and its POST leaves a doubt that nobody can settle: held, not paid.
    assert done["submits"] == len(ids) == 28 - len(unresolved)
    assert len(unresolved) <= 3 * 4
    assert {row["generation_id"] for row in rows if row["status"] == "succeeded"} == ids
    assert ended.returncode == (5 if unresolved else 0), ended.stderr
    assert len(list((folder / "videos").glob("*.mp4"))) == len(ids)
    assert not list((folder / ".batchgen" / "parts").iterdir())


def test_one_ctrl_c_finishes_what_is_in_flight(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0.2s", "--generate", "1s")
    job = job_file(tmp_path, GRID.replace("seed: 1-2", "seed: 1-20"))
    run = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while account(url)["submits"] < 4:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "in flight, starting no more; Ctrl-C again to stop now" in err
    assert "left to do: run the same command again" in out
    taken = account(url)["submits"]
    counts = [row["status"] for row in manifest(tmp_path / "output" / "grid")]
    assert counts.count("succeeded") == taken
    assert counts.count("pending") == 40 - taken


def test_two_ctrl_c_leave_at_once_with_everything_recorded(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0s", "--generate", "600s")
    job = job_file(tmp_path)
    run = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while account(url)["submits"] < 4:
        time.sleep(0.05)
    time.sleep(0.3)
    assert run.stderr is not None
    run.send_signal(signal.SIGINT)
    while "Ctrl-C again" not in run.stderr.readline():
        pass
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert run.returncode == 130
    rows = manifest(tmp_path / "output" / "grid")
    taken = {generation["generation_id"] for generation in account(url)["generations"]}
    assert {row["generation_id"] for row in rows} == taken
    assert {row["status"] for row in rows} == {"pending"}


def test_a_budget_nobody_can_reckon_with_is_a_usage_error(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    text = GRID + f"budget: {{max_usd: 1}}\nprovider: {{base_url: '{url}/nowhere'}}\n"
    ended = batchgen("run", job_file(tmp_path, text))
    assert ended.returncode == 2
    assert "usd_per_video" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_failed_tasks_are_reported_and_retried_alone(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    text = "version: 1\nprompts: [A calm lake, sandbox:fail on purpose]\n"
    job = job_file(tmp_path, text)
    ended = batchgen("run", job, "--base-url", url)
    assert ended.returncode == 5
    assert "1 failed" in ended.stdout
    folder = tmp_path / "output" / "grid"
    rows = {row["prompt"]: row for row in manifest(folder)}
    failed = rows["sandbox:fail on purpose"]
    assert failed["status"] == "failed"
    assert failed["error_message"]
    assert failed["cost_usd"] is None
    assert batchgen("run", job, "--base-url", url).returncode == 5
    assert account(url)["submits"] == 2
    again = batchgen("retry", folder)
    assert again.returncode == 5, again.stderr
    assert account(url)["submits"] == 3
    assert batchgen("retry", folder, "--only", "no_such_reason").returncode == 2
    assert account(url)["submits"] == 3


def test_a_wrong_job_file_names_line_and_column_and_nothing_is_sent(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path, "version: 1\nprompts: [x]\nmatrix:\n  sampeler: [unipc]\n")
    for verb in ("validate", "plan", "run"):
        ended = batchgen(verb, job, "--base-url", url)
        assert ended.returncode == 3
        assert "grid.yaml:4:3: " in ended.stderr
        assert 'did you mean "sampler"?' in ended.stderr
        assert "Traceback" not in ended.stderr
    assert account(url)["requests"].get("submit", 0) == 0
    assert not (tmp_path / "output").exists()


def test_a_wrong_key_ends_with_one_sentence_and_nothing_taken(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST, "--key", "right-key-0123456789")
    job = job_file(tmp_path, GRID + f"provider: {{kind: aimlapi, base_url: '{url}'}}\n")
    wrong = "canary-key-9876543210"
    ended = batchgen("run", job, AIMLAPI_KEY=wrong)
    assert ended.returncode == 4
    whom, refusal = ended.stderr.strip().splitlines()
    assert whom == f"provider: aimlapi at {url}"
    assert "AIMLAPI_KEY" in refusal
    assert f"info: {whom}" in (tmp_path / "output" / "grid" / "run.log").read_text()
    assert account(url, "right-key-0123456789")["submits"] == 0
    assert batchgen("run", job).returncode == 4, "no key at all is refused too"
    ended = batchgen("run", job, AIMLAPI_KEY="right-key-0123456789")
    assert ended.returncode == 0, ended.stderr
    everything = [ended.stdout, ended.stderr]
    everything += [
        path.read_bytes().decode("utf-8", "replace")
        for path in (tmp_path / "output").rglob("*")
        if path.is_file()
    ]
    assert not any(key in text for text in everything for key in (wrong, "right-key-0123456789"))


def test_a_second_run_of_the_same_directory_is_turned_away(
    batchgen: Batchgen, serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0s", "--generate", "600s")
    job = job_file(tmp_path)
    run = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url, "-q"],
        cwd=tmp_path,
        env=environment,
    )
    try:
        while account(url)["submits"] < 4:
            time.sleep(0.05)
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "output" / "grid")
        for output in ("output/grid", "link"):
            second = batchgen("run", job, "--base-url", url, "--output", output)
            assert second.returncode == 7
            assert "another batchgen works in" in second.stderr
        status = json.loads(batchgen("status", "output/grid", "--json").stdout)
        assert (status["running"], status["state"]) == (True, "running")
        assert status["counts"]["in_flight"] == 4
    finally:
        run.kill()
        run.wait(timeout=10)


def test_limit_is_a_taste_and_the_rest_follows(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    assert batchgen("run", job, "--base-url", url, "--limit", 1).returncode == 0
    assert account(url)["submits"] == 1
    assert batchgen("run", job, "--base-url", url).returncode == 0
    assert account(url)["submits"] == 4


def test_a_budget_stops_the_run_before_it_is_passed(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path, GRID + "budget: {max_usd: 0.13}\n")
    ended = batchgen("run", job, "--base-url", url)
    assert ended.returncode == 6
    assert "budget of $0.13" in ended.stdout
    assert account(url)["submits"] == 2, "the sandbox quotes 6 cents a video"


def test_every_starter_that_init_writes_is_valid(batchgen: Batchgen, tmp_path: Path) -> None:
    for option, tasks in (("--quickstart", 1), ("--grid", 29), ("--overnight", 6)):
        folder = tmp_path / option.strip("-")
        folder.mkdir()
        assert batchgen("init", option, folder / "job.yaml").returncode == 0
        ended = batchgen("validate", folder / "job.yaml")
        assert f": {tasks} task" in ended.stdout, ended.stderr
        again = batchgen("init", option, folder / "job.yaml")
        assert again.returncode == 2
        assert "is there already" in again.stderr


def test_a_starter_beside_prompts_that_are_there_reads_them(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("A fox of mine\n")
    made = batchgen("init", "--overnight", "o2.yaml")
    assert made.returncode == 0, made.stderr
    assert "kept prompts.txt, which was there already: o2.yaml reads it" in made.stdout
    assert (tmp_path / "prompts.txt").read_text() == "A fox of mine\n"
    assert ": 2 tasks" in batchgen("validate", "o2.yaml").stdout


def test_starters_of_one_folder_share_the_schema_that_they_name(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    for option in ("--quickstart", "--grid", "--csv", "--overnight"):
        job = tmp_path / f"{option[2:]}.yaml"
        assert batchgen("init", option, job).returncode == 0
        first = job.read_text("utf-8").splitlines()[0]
        assert first == "# yaml-language-server: $schema=batchgen.schema.json"
    written = json.loads((tmp_path / "batchgen.schema.json").read_text("utf-8"))
    assert written == json.loads(batchgen("schema").stdout)


def test_plan_prints_exactly_what_is_sent(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    lines = batchgen("plan", job, "--tasks").stdout.splitlines()
    planned = [json.loads(line) for line in lines]
    assert [task["index"] for task in planned] == [0, 1, 2, 3]
    assert batchgen("run", job, "--base-url", url).returncode == 0
    sent = [json.dumps(each["body"], sort_keys=True) for each in account(url)["generations"]]
    assert sorted(sent) == sorted(json.dumps(each["params"], sort_keys=True) for each in planned)


def test_plan_asks_for_the_price_and_for_nothing_else_unless_it_is_offline(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    planned = json.loads(batchgen("plan", job, "--base-url", url, "--json").stdout)
    assert (planned["cost_usd"], planned["price_from"]) == (0.24, "provider")
    offline = json.loads(batchgen("plan", job, "--base-url", url, "--json", "--offline").stdout)
    assert (offline["cost_usd"], offline["price_from"]) == (None, None)
    asked = account(url)["requests"]
    assert (asked.pop("ledger"), asked) == (1, {"models": 1}), "our own question, and one of plan"
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("name", ["quickstart", "seed-guidance-grid", "overnight-sweep"])
def test_the_projects_own_jobs_are_valid(batchgen: Batchgen, name: str) -> None:
    tasks = {"quickstart": 1, "seed-guidance-grid": 29, "overnight-sweep": 200}[name]
    ended = batchgen("plan", REPO / "jobs" / f"{name}.yaml", "--json")
    assert json.loads(ended.stdout)["tasks"] == tasks


def test_a_model_of_the_universal_form_is_submitted_and_fetched(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = {
        "version": 1,
        "prompts": ["A lighthouse at dusk"],
        "defaults": {"resolution": "480P", "enhance_prompt": False},
        "provider": {"kind": "sandbox", "base_url": url, "model": "alibaba/wan2.1-t2v-turbo"},
    }
    path = job_file(tmp_path, yaml.safe_dump(job))
    assert batchgen("run", path).returncode == 0
    (generation,) = account(url)["generations"]
    assert generation["model"] == "alibaba/wan2.1-t2v-turbo"
    (row,) = manifest(tmp_path / "output" / "grid")
    assert (row["resolution"], row["enhance_prompt"]) == ("480P", False)


def test_without_a_server_the_run_says_so_and_one_ctrl_c_ends_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    job = job_file(tmp_path)
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "batchgen", "run", str(job)),
            *("--base-url", "http://127.0.0.1:9", "--display", "plain"),
        ],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    assert run.stderr.readline() == "provider: sandbox at http://127.0.0.1:9\n"
    assert "could not connect" in run.stderr.readline()
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=20)
    assert run.returncode == 130
    assert "4 left to do" in out
    assert all(row["attempts"] == 0 for row in manifest(tmp_path / "output" / "grid"))


def test_a_read_only_place_is_named(batchgen: Batchgen, tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file in the way")
    ended = batchgen("run", job_file(tmp_path))
    assert ended.returncode == 2
    assert "output" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_pipe_that_closes_early_is_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    job = job_file(tmp_path, GRID.replace("seed: 1-2", "seed: 1-20000"))
    plan = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "plan", str(job), "--tasks"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert plan.stdout is not None
    plan.stdout.readline()
    plan.stdout.close()
    _, err = plan.communicate(timeout=30)
    assert err == b""
    assert plan.returncode == os.EX_OK


def test_a_video_that_was_deleted_is_fetched_again_and_not_bought_again(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    assert batchgen("run", job, "--base-url", url).returncode == 0
    folder = tmp_path / "output" / "grid"
    before = manifest(folder)
    (folder / before[0]["file_name"]).unlink()
    ended = batchgen("run", job, "--base-url", url)
    assert ended.returncode == 0
    assert "fetching them by their ids" in ended.stderr
    after = manifest(folder)
    assert (folder / after[0]["file_name"]).exists()
    assert [row["sha256"] for row in after] == [row["sha256"] for row in before]
    assert after[0]["completed_at"] == before[0]["completed_at"]
    assert account(url)["submits"] == 4


def test_an_interrupt_with_nothing_left_to_do_is_no_interruption(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0s", "--generate", "1.5s")
    run = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(job_file(tmp_path)), "--base-url", url],
        cwd=tmp_path,
        env=environment,
    )
    while account(url)["submits"] < 4:
        time.sleep(0.05)
    time.sleep(0.3)
    run.send_signal(signal.SIGHUP)
    assert run.wait(timeout=30) == 0


def test_an_empty_output_is_no_directory(batchgen: Batchgen, tmp_path: Path) -> None:
    ended = batchgen("run", job_file(tmp_path), "--output", "")
    assert ended.returncode == 2
    assert "--output is empty" in ended.stderr


def test_a_directory_in_the_way_of_a_report_is_named(batchgen: Batchgen, tmp_path: Path) -> None:
    (tmp_path / "output" / "grid" / "run.log").mkdir(parents=True)
    ended = batchgen("run", job_file(tmp_path))
    assert ended.returncode == 2
    assert "run.log" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_whose_directory_is_moved_away_stops_and_goes_on_from_where_it_is_now(
    serve: Callable[..., str], batchgen: Batchgen, environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0.2s", "--generate", "1s")
    job = job_file(tmp_path, GRID.replace("seed: 1-2", "seed: 1-5"))
    run = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while account(url)["submits"] < 6:
        time.sleep(0.05)
    place, moved = tmp_path / "output" / "grid", tmp_path / "moved"
    place.rename(moved)
    (place / "videos").mkdir(parents=True)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 6
    assert "was moved or replaced" in out
    assert [path.name for path in place.rglob("*")] == ["videos"], "what lies there is not ours"
    ended = batchgen("run", job, "--base-url", url, "--output", moved)
    assert ended.returncode == 0, ended.stderr
    assert [row["status"] for row in manifest(moved)] == ["succeeded"] * 10
    assert account(url)["submits"] == 10
