"""A ledger that is older than the world: what the manifest beside it knows is not bought again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchgen
from batchgen import Job, Output, Prompt, Status
from batchgen.errors import RunDirectoryError
from batchgen.job import PollSettings, RunSettings
from batchgen.ledger.catch_up import KnownSubmit, TakenIn
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.questions import MANIFEST
from batchgen.ledger.rescue import Rescue
from batchgen.ledger.tables import stem_of
from batchgen.planning.plan import make_plan
from batchgen.report.known import known_submits
from batchgen.rundir import RunDirectory
from batchgen.session import admit
from batchgen.task import Cause
from tests.conftest import committed

pytestmark = pytest.mark.anyio


def job(folder: Path, *texts: str) -> Job:
    prompts = tuple(Prompt(text) for text in texts or ("a lake", "a hill", "a fox"))
    return Job(
        name="older",
        prompts=prompts,
        output=Output(folder / "run"),
        defaults={"inference_steps": 1},
        run=RunSettings(poll=PollSettings(first=0.2, every=0.2)),
    )


def bought(directory: RunDirectory) -> list[str]:
    lines = directory.sandbox_journal.read_text().splitlines()
    return [
        json.loads(line)["body"]["prompt"]
        for line in lines
        if json.loads(line)["kind"] == "generation"
    ]


def rows(directory: RunDirectory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in directory.manifest.read_text().splitlines()]


async def restored(made: Job, *, first: int = 1) -> RunDirectory:
    """Run a job whole, and put back the ledger of when `first` of its videos had been made."""
    directory = RunDirectory(made.output.dir)
    await batchgen.run_job(made, limit=first)
    yesterday = directory.path.with_name("yesterday")
    shutil.copyfile(directory.ledger, yesterday)
    await batchgen.run_job(made)
    shutil.copyfile(yesterday, directory.ledger)
    return directory


async def told(made: Job) -> str:
    said: list[str] = []
    summary = await batchgen.run_job(
        made, observer=lambda event: said.append(getattr(event, "message", None) or "")
    )
    assert summary.submitted == 0
    return "\n".join(said)


async def test_yesterday_s_ledger_buys_nothing_again_and_takes_the_files_as_they_are(
    tmp_path: Path,
) -> None:
    made = job(tmp_path)
    directory = await restored(made)
    before = {path: path.stat().st_mtime_ns for path in directory.videos.iterdir()}
    known = rows(directory)
    assert "2 generations are taken in and not bought again" in await told(made)
    assert sorted(bought(directory)) == sorted(["a lake", "a hill", "a fox"])
    assert {path: path.stat().st_mtime_ns for path in directory.videos.iterdir()} == before
    same = ("task_id", "status", "generation_id", "client_request_id", "sha256", "cost_usd")
    assert [[row[name] for name in same] for row in rows(directory)] == [
        [row[name] for name in same] for row in known
    ]
    [kept] = directory.state.glob("manifest-*.jsonl")
    assert [json.loads(line) for line in kept.read_text().splitlines()] == known
    assert "older than" in directory.log.read_text()
    assert "older than" not in await told(made), "it is said once"


async def test_what_only_the_provider_s_log_knows_is_not_bought_again(tmp_path: Path) -> None:
    made = job(tmp_path)
    directory = await restored(made)
    directory.manifest.unlink()
    said = await told(made)
    assert "older than the provider's log: 2 generations are taken in" in said
    assert len(bought(directory)) == 3
    assert [row["status"] for row in rows(directory)] == ["succeeded"] * 3


async def test_submits_of_the_same_job_elsewhere_are_shown_and_not_taken_in(
    tmp_path: Path,
) -> None:
    elsewhere, here = job(tmp_path / "elsewhere"), job(tmp_path / "here")
    await batchgen.run_job(elsewhere)
    directory = RunDirectory(here.output.dir)
    directory.create()
    shutil.copyfile(RunDirectory(elsewhere.output.dir).sandbox_journal, directory.sandbox_journal)
    await batchgen.run_job(here, limit=1)
    said: list[str] = []
    summary = await batchgen.run_job(
        here, observer=lambda event: said.append(getattr(event, "message", None) or "")
    )
    [told] = [line for line in said if "another run directory" in line]
    assert told.startswith("the provider's log lists 3 submits of this job's tasks")
    assert rows(RunDirectory(elsewhere.output.dir))[0]["run_id"] in told
    assert summary.submitted == 2
    assert len(bought(directory)) == 6


async def test_a_plan_against_yesterday_s_ledger_shows_what_is_paid_for(tmp_path: Path) -> None:
    made = job(tmp_path)
    directory = await restored(made)
    ledger = directory.ledger.read_bytes()
    plan = make_plan(made, lambda _: 0.06)
    assert plan.new == 0
    assert plan.by_status["to_poll"] == 2
    assert directory.ledger.read_bytes() == ledger


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"another video"),
    ],
    ids=["gone", "another"],
)
async def test_a_file_is_taken_by_its_hash_and_else_fetched_by_its_id(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    made = job(tmp_path)
    directory = await restored(made)
    row = rows(directory)[2]
    path = directory.path / row["file_name"]
    spoil(path)
    left = path.read_bytes() if path.exists() else None
    await told(made)
    assert len(bought(directory)) == 3
    again = rows(directory)[2]
    assert (again["status"], again["generation_id"]) == ("succeeded", row["generation_id"])
    assert (directory.path / again["file_name"]).stat().st_size == again["bytes"]
    if left is not None:
        assert path.read_bytes() == left, "any other file under that name stays"
        assert again["file_name"] != row["file_name"]


async def test_what_the_job_does_not_have_any_more_is_taken_in_too(tmp_path: Path) -> None:
    made = job(tmp_path)
    directory = await restored(made)
    await told(replace(made, prompts=made.prompts[:1]))
    assert len(bought(directory)) == 3
    assert [row["status"] for row in rows(directory)] == ["succeeded"] * 3


async def test_what_neither_ledger_nor_job_has_is_kept_in_the_manifest_put_aside(
    tmp_path: Path,
) -> None:
    made = job(tmp_path)
    directory = RunDirectory(made.output.dir)
    fewer = replace(made, prompts=made.prompts[:1])
    await batchgen.run_job(fewer)
    yesterday = directory.path.with_name("yesterday")
    shutil.copyfile(directory.ledger, yesterday)
    await batchgen.run_job(made)
    shutil.copyfile(yesterday, directory.ledger)
    known = rows(directory)
    assert "2 are of tasks that the job does not have" in await told(fewer)
    [kept] = directory.state.glob("manifest-*.jsonl")
    assert [json.loads(line) for line in kept.read_text().splitlines()] == known
    assert len(list(directory.videos.iterdir())) == 3


def submit(task_id: str, sent: str, generation_id: str | None) -> KnownSubmit:
    return KnownSubmit(task_id, sent, generation_id, cost_usd=0.06)


async def intend(ledger: Ledger, task_id: str, sent: str) -> None:
    await ledger.intend(task_id, client_request_id=sent, body_sha256="0", reserved_usd=0.06, at=1.0)


async def test_each_kind_of_submit_that_a_ledger_does_not_know_is_taken_in_once(
    tmp_path: Path,
) -> None:
    made = job(tmp_path, *(f"prompt {number}" for number in range(6)))
    with Ledger.open(made.output.dir) as ledger:
        admit(made, ledger)
        new, doubted, made_already, lost, refused, shared = (
            record.task_id for record in ledger.records()
        )
        await intend(ledger, doubted, "old")
        await ledger.in_doubt(doubted, "reset", at=2.0)
        await intend(ledger, made_already, "mine")
        await ledger.accepted(made_already, "id:mine", at=2.0)
        await intend(ledger, lost, "cut off")
        ledger.recover()
        known = [
            submit(new, "a", "id:a"),
            submit(doubted, "b", "id:b"),  # somebody had submitted it again
            submit(made_already, "c", "id:c"),
            submit(made_already, "mine", "id:mine"),
            submit(lost, "cut off", "id:lost"),
            submit(refused, "d", None),
            submit(shared, "e", "id:mine"),  # a lie: that id is another task's
            submit("unknown", "f", "id:f"),
        ]
        spent, submits = committed(ledger)
        taken = ledger.catch_up(known, MANIFEST, at=3.0)
        assert taken == TakenIn((new, doubted, lost), (refused,), second=1, strange=1)
        by_id = {record.task_id: record for record in ledger.records()}
        assert {name: by_id[name].generation_id for name in (new, doubted, made_already, lost)} == {
            new: "id:a",
            doubted: "id:b",
            made_already: "id:mine",
            lost: "id:lost",
        }
        assert by_id[refused].status == Status.UNRESOLVED
        assert by_id[shared].status == Status.PENDING
        now, counted = committed(ledger)
        assert counted == submits + 4, "new, second of the doubt, second of the made, the doubtful"
        assert now == pytest.approx(spent + 4 * 0.06)
        again = ledger.catch_up(known, MANIFEST, at=4.0)
        assert again == TakenIn(strange=1)
    with Ledger.open(made.output.dir):
        pass  # it passes the checks that every opening makes


def test_what_a_retry_superseded_is_not_taken_for_news(tmp_path: Path) -> None:
    made = job(tmp_path, "a lake")

    async def failed(ledger: Ledger, name: str) -> None:
        await intend(ledger, name, "first")
        await ledger.accepted(name, "id:1", at=2.0)
        await ledger.failed(name, Cause.GENERATION, "moderation", "no", at=3.0)

    with Ledger.open(made.output.dir) as ledger:
        admit(made, ledger)
        [record] = ledger.records()
        anyio.run(failed, ledger, record.task_id)
        ledger.retry(at=3.0)
        assert not ledger.unknown([submit(record.task_id, "first", "id:1")])


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_manifest_is_read_without_an_error(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-manifest.jsonl"
    path.write_bytes(content)
    assert list(known_submits(path)) == []


def test_a_link_or_a_folder_in_place_of_a_manifest_is_not_read(tmp_path: Path) -> None:
    row = {"task_id": "t", "client_request_id": "c", "generation_id": "g"}
    (tmp_path / "elsewhere").write_text(json.dumps(row))
    assert list(known_submits(tmp_path / "elsewhere"))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "nothing"):
        assert not list(known_submits(tmp_path / name))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)
COLUMNS = st.sampled_from(
    [
        *("task_id", "client_request_id", "generation_id", "status", "file_name", "bytes"),
        *("sha256", "submitted_at", "completed_at", "cost_usd", "cost_is_estimate", "server"),
    ]
)


@given(st.dictionaries(COLUMNS, JSON | st.sampled_from(["succeeded", "videos/a.mp4", "pending"])))
def test_whatever_stands_in_a_row_it_is_a_submit_of_sound_values_or_none(
    tmp_path_factory: Any, row: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-row.jsonl"
    path.write_text(json.dumps(row) + "\n")
    for known in known_submits(path):
        assert known.task_id
        assert known.client_request_id
        assert known.cost_usd is None or known.cost_usd >= 0
        if known.video is not None:
            assert "/" not in known.video.stem


@pytest.mark.parametrize(
    "file_name",
    [
        *("", "a.mp4", "/x.mp4", "../videos/a.mp4"),
        *("videos/", "videos/.mp4", "videos/..mp4", "videos/a", "videos/a.webm"),
        *("videos/../x.mp4", "videos/a/b.mp4"),
    ],
)
def test_a_name_that_leads_out_of_the_videos_is_not_one(file_name: str) -> None:
    assert stem_of(file_name) is None


def test_a_name_among_the_videos_is_one() -> None:
    assert stem_of("videos/0001_a.b_s1.mp4") == "0001_a.b_s1"


async def test_a_write_ahead_log_that_is_lost_in_the_first_run_buys_nothing_again(
    tmp_path: Path,
) -> None:
    """Before the first checkpoint all that was bought is in that log alone."""
    made = job(tmp_path)
    directory = RunDirectory(made.output.dir)
    with Ledger.open(directory.path) as ledger:
        fresh = directory.path.with_name("fresh")
        shutil.copyfile(directory.ledger, fresh)
        run_id = ledger.run_id
    await batchgen.run_job(made)
    directory.manifest.unlink()
    for path in (*directory.videos.glob("*.mp4"), *directory.state.glob("ledger.sqlite*")):
        path.unlink()
    shutil.copyfile(fresh, directory.ledger)
    said = await told(made)
    assert "older than the provider's log: 3 generations are taken in" in said
    assert len(bought(directory)) == 3
    with Ledger.open(directory.path) as ledger:
        assert ledger.run_id == run_id


def test_a_ledger_that_is_gone_is_not_begun_anew_beside_an_id_that_was_rescued(
    tmp_path: Path,
) -> None:
    with Ledger.open(tmp_path) as ledger:
        directory = ledger.directory
    rescue = Rescue(directory.rescued_ids)
    rescue.keep("task", "id:paid")
    rescue.close()
    for path in directory.state.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(RunDirectoryError, match="empty or gone"):
        Ledger.open(tmp_path)


async def test_what_a_ledger_learns_from_others_does_not_make_it_look_younger(
    tmp_path: Path,
) -> None:
    """A run that is killed between manifest and log reads the log as far back again."""
    made = job(tmp_path, "a lake", "a hill")
    with Ledger.open(made.output.dir) as ledger:
        admit(made, ledger)
        own, learned = (record.task_id for record in ledger.records())
        await intend(ledger, own, "own")
        await ledger.accepted(own, "id:own", at=2.0)
        ledger.catch_up([submit(learned, "a", "id:a")], MANIFEST, at=50.0)
    with Ledger.open(made.output.dir) as ledger:
        ledger.bind("sandbox")
        assert ledger.last_entry == 1.0
