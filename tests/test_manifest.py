"""The manifest: every task, the same columns in every row, whole at every moment."""

import asyncio
import csv
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen._version import __version__
from batchgen.job import Job, Output, Prompt, ProviderSettings
from batchgen.ledger.ledger import Ledger
from batchgen.models import WAN_1_3B, Scalar
from batchgen.report.manifest import Layout, written_rows
from batchgen.rundir import replacing
from batchgen.task import Cause, Status, Task

NOW = 1_785_585_600.0625
COLUMNS = [
    "task_id",
    "index",
    "status",
    "file_name",
    "prompt",
    "prompt_id",
    "prompt_template",
    "negative_prompt",
    "seed",
    "guidance_scale",
    "shift",
    "sampler",
    "inference_steps",
    "aspect_ratio",
    "repeat",
    "model",
    "provider",
    "generation_id",
    "client_request_id",
    "video_url",
    "submitted_at",
    "completed_at",
    "downloaded_at",
    "queue_s",
    "generate_s",
    "download_s",
    "polls",
    "attempts",
    "error_code",
    "error_message",
    "bytes",
    "sha256",
    "width",
    "height",
    "fps",
    "duration_s",
    "cost_usd",
    "cost_is_estimate",
    "job_sha256",
    "batchgen_version",
    "server",
    "run_id",
]
"""As the contract lists them, without the parameters and variables that differ by job."""
NASTY = [
    "plain",
    'with "quotes", commas, and a trailing quote"',
    "two\nlines",
    "carriage\r\nreturn and a lone \r one",
    "emoji 🦊 狐 \u202e turned",
    "escape \x1b[31m and \x00 and \x07",
    "=cmd()|'/c calc'!A1",
    "'quoted' and ''twice",
    " leading and trailing ",
    "separators \u2028 \u2029 \x85",
    "</script><b>${x} $$",
    "",
]


def job_for(path: Path, *, model: str = WAN_1_3B, source: str = "") -> Job:
    settings = ProviderSettings("aimlapi", model)
    return Job("j", (Prompt("p"),), Output(path), provider=settings, source=source)


def task(number: int, prompt: str = "a fox", **params: Scalar) -> Task:
    sent: dict[str, Scalar] = {"model": WAN_1_3B, "prompt": prompt, **params}
    return Task(f"task{number:08}", number, sent, prompt)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "run") as opened:
        yield opened


async def bring(ledger: Ledger, name: str, status: Status) -> None:
    """Take a pending task to a status."""
    if status is Status.PENDING:
        return
    await ledger.intend(
        name,
        client_request_id=f"c-{name}",
        body_sha256="0",
        reserved_usd=0.06,
        base_url="https://api.test",
        at=NOW,
    )
    match status:
        case Status.SUBMITTING:
            return
        case Status.UNRESOLVED:
            await ledger.in_doubt(name, "reset", at=NOW)
            return
        case Status.FAILED:
            await ledger.failed(name, Cause.SUBMIT, "rejected", "no\nway", at=NOW)
            return
    await ledger.accepted(name, f"id:{name}/x", at=NOW)
    if status is Status.TIMED_OUT:
        await ledger.timed_out(name, "too long", polls=7)
    if status in (Status.COMPLETED, Status.SUCCEEDED):
        await ledger.completed(
            name,
            video_url="https://h/x.mp4",
            at=NOW + 60,
            polls=3,
            queue_s=10.5,
            generate_s=49.5,
            cost_usd=0.06,
            cost_is_estimate=False,
        )
    if status is Status.SUCCEEDED:
        await ledger.verified(name, size=1234, sha256="ab" * 32)
        await ledger.succeeded(
            name, at=NOW + 61, download_s=0.5, width=832, height=480, fps=16.0, duration_s=5.0
        )


def admit(ledger: Ledger, *tasks: Task) -> None:
    ledger.admit((one, number, f"{number:04}") for number, one in enumerate(tasks))


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def table(path: Path) -> list[dict[str, str]]:
    """Read manifest.csv as whoever wants the exact texts does: an apostrophe in front comes off."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: cell.removeprefix("'") for name, cell in row.items()}
            for row in csv.DictReader(file, strict=True)
        ]


def write_manifest(job: Job, ledger: Ledger) -> None:
    deque(written_rows(job, ledger), maxlen=0)


ALL = [status for status in Status if status is not Status.CANCELLED]


def of_every_status(ledger: Ledger) -> None:
    admit(ledger, *(task(number) for number in range(len(ALL))))

    async def go() -> None:
        for number, status in enumerate(ALL):
            await bring(ledger, f"task{number:08}", status)

    asyncio.run(go())


def test_every_row_of_either_file_has_every_column_of_the_contract(ledger: Ledger) -> None:
    of_every_status(ledger)
    job = job_for(ledger.directory.path)
    write_manifest(job, ledger)
    rows = jsonl(ledger.directory.path / "manifest.jsonl")
    cells = table(ledger.directory.path / "manifest.csv")
    assert len(rows) == len(cells) == len(ALL)
    names = list(rows[0])
    assert not set(COLUMNS) - set(names)
    assert len(set(names)) == len(names)
    assert [name for name in names if name in COLUMNS] == COLUMNS
    for row, cell in zip(rows, cells, strict=True):
        assert list(row) == list(cell) == names
        assert [value == "" for value in cell.values()] == [value is None for value in row.values()]


@pytest.mark.parametrize("model", [WAN_1_3B, "alibaba/wan2.1-t2v-turbo", "a model of tomorrow"])
def test_the_contract_s_columns_are_there_whatever_the_model_takes(
    ledger: Ledger, model: str
) -> None:
    admit(ledger, task(0, resolution="720p", brand_new=1))
    columns = Layout.of(job_for(ledger.directory.path, model=model), ledger).columns
    assert {*COLUMNS, "resolution", "brand_new"} <= set(columns)


def test_the_exported_statuses_are_the_contract_s_words(ledger: Ledger) -> None:
    of_every_status(ledger)
    words = [row["status"] for row in written_rows(job_for(ledger.directory.path), ledger)]
    exported = {"submitting": "pending", "in_flight": "pending", "completed": "pending"}
    assert words == [exported.get(status, status.value) for status in ALL]


def test_a_row_says_all_that_is_known_of_a_video(ledger: Ledger) -> None:
    source = "prompts: [a fox]\n"
    job = job_for(ledger.directory.path, source=source)
    one = Task(
        "task00000000",
        0,
        {"model": WAN_1_3B, "prompt": "a fox", "seed": 7, "guidance_scale": 5.0},
        "a ${animal}",
        prompt_id="p1",
        variables={"animal": "fox"},
        repeat=2,
    )
    admit(ledger, one)
    asyncio.run(bring(ledger, "task00000000", Status.SUCCEEDED))
    write_manifest(job, ledger)
    [row] = jsonl(ledger.directory.path / "manifest.jsonl")
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {
        "task_id": "task00000000",
        "index": 0,
        "status": "succeeded",
        "file_name": "videos/0000.mp4",
        "prompt": "a fox",
        "prompt_id": "p1",
        "prompt_template": "a ${animal}",
        "seed": 7,
        "guidance_scale": 5.0,
        "var_animal": "fox",
        "repeat": 2,
        "model": WAN_1_3B,
        "provider": "aimlapi",
        "generation_id": "id:task00000000/x",
        "client_request_id": "c-task00000000",
        "video_url": "https://h/x.mp4",
        "submitted_at": "2026-08-01T12:00:00.062Z",
        "completed_at": "2026-08-01T12:01:00.062Z",
        "downloaded_at": "2026-08-01T12:01:01.062Z",
        "queue_s": 10.5,
        "generate_s": 49.5,
        "download_s": 0.5,
        "polls": 3,
        "attempts": 1,
        "bytes": 1234,
        "sha256": "ab" * 32,
        "width": 832,
        "height": 480,
        "fps": 16.0,
        "duration_s": 5.0,
        "cost_usd": 0.06,
        "cost_is_estimate": False,
        "job_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "batchgen_version": __version__,
        "server": "https://api.test",
        "run_id": ledger.run_id,
    }
    [cells] = table(ledger.directory.path / "manifest.csv")
    assert (cells["cost_is_estimate"], cells["index"], cells["shift"]) == ("false", "0", "")


def test_a_file_is_named_only_where_it_lies(ledger: Ledger) -> None:
    of_every_status(ledger)
    for row in written_rows(job_for(ledger.directory.path), ledger):
        there = row["status"] == "succeeded"
        assert [row[name] is not None for name in ("file_name", "bytes", "sha256")] == [there] * 3


def test_the_dataset_s_metadata_holds_succeeded_videos_only(ledger: Ledger) -> None:
    of_every_status(ledger)
    write_manifest(job_for(ledger.directory.path), ledger)
    rows = jsonl(ledger.directory.path / "manifest.jsonl")
    metadata = jsonl(ledger.directory.path / "metadata.jsonl")
    assert metadata == [row for row in rows if row["status"] == "succeeded"]
    assert len(metadata) == 1


def test_nasty_prompts_come_back_from_either_file_as_they_were(ledger: Ledger) -> None:
    admit(ledger, *(task(n, prompt, negative_prompt=prompt) for n, prompt in enumerate(NASTY)))
    write_manifest(job_for(ledger.directory.path), ledger)
    rows = jsonl(ledger.directory.path / "manifest.jsonl")
    cells = table(ledger.directory.path / "manifest.csv")
    for name in ("prompt", "negative_prompt", "prompt_template"):
        assert [row[name] for row in rows] == NASTY
        assert [cell[name] for cell in cells] == NASTY
    # An escape is spelled out where a person may print the file.
    assert b"\x1b" not in (ledger.directory.path / "manifest.jsonl").read_bytes()


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    prompts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=8
    )
)
def test_any_prompts_come_back_from_either_file_as_they_were(
    ledger: Ledger, prompts: list[str]
) -> None:
    admit(ledger, *(task(number, prompt) for number, prompt in enumerate(prompts)))
    # What an earlier example admitted keeps its first prompt: compare with the ledger.
    expected = [record.task.prompt for record in ledger.records()]
    write_manifest(job_for(ledger.directory.path), ledger)
    assert [row["prompt"] for row in jsonl(ledger.directory.path / "manifest.jsonl")] == expected
    assert [cell["prompt"] for cell in table(ledger.directory.path / "manifest.csv")] == expected


def types_of(ledger: Ledger, column: str, file: str = "manifest.jsonl") -> list[str]:
    return [type(row[column]).__name__ for row in jsonl(ledger.directory.path / file)]


def test_a_parameter_of_type_number_is_a_float_in_every_row(ledger: Ledger) -> None:
    admit(ledger, task(0, guidance_scale=5), task(1, guidance_scale=5, shift=3), task(2))
    job = job_for(ledger.directory.path)
    write_manifest(job, ledger)
    assert types_of(ledger, "guidance_scale") == ["float", "float", "NoneType"]
    assert types_of(ledger, "shift") == ["NoneType", "float", "NoneType"]
    assert [cell["shift"] for cell in table(ledger.directory.path / "manifest.csv")] == [
        "",
        "3.0",
        "",
    ]


def test_a_column_with_any_text_is_text_throughout(ledger: Ledger) -> None:
    mixed: list[Scalar] = [2, "many", True, 2.5]
    admit(
        ledger,
        *(
            Task(
                f"task{number:08}",
                number,
                {"model": "m", "prompt": "a", "odd": value},
                "a",
                variables={"n": value},
            )
            for number, value in enumerate(mixed)
        ),
    )
    for number in range(len(mixed)):
        asyncio.run(bring(ledger, f"task{number:08}", Status.SUCCEEDED))
    write_manifest(job_for(ledger.directory.path, model="a model of tomorrow"), ledger)
    for file in ("manifest.jsonl", "metadata.jsonl"):
        rows = jsonl(ledger.directory.path / file)
        for column in ("odd", "var_n"):
            assert [row[column] for row in rows] == ["2", "many", "true", "2.5"]


def test_whole_numbers_and_others_of_one_variable_are_floats(ledger: Ledger) -> None:
    values: list[Scalar] = [1, 2.5]
    admit(
        ledger,
        *(
            Task(
                f"task{n:08}", n, {"model": "m", "prompt": "a"}, "a", variables={"n": value, "k": n}
            )
            for n, value in enumerate(values)
        ),
    )
    write_manifest(job_for(ledger.directory.path), ledger)
    assert types_of(ledger, "var_n") == ["float", "float"]
    assert types_of(ledger, "var_k") == ["int", "int"]


def test_the_page_gets_values_as_they_are_sent_so_that_picks_send_them_again(
    ledger: Ledger,
) -> None:
    sent: list[dict[str, Scalar]] = [{"style": 3, "shift": 5}, {"style": "anime", "shift": 5.5}]
    admit(ledger, *(task(number, "a fox", **more) for number, more in enumerate(sent)))
    rows = list(written_rows(job_for(ledger.directory.path), ledger))
    for row, more in zip(rows, sent, strict=True):
        assert [(type(row[name]), row[name]) for name in more] == [
            (type(value), value) for value in more.values()
        ]


def test_types_do_not_change_between_writings_nor_by_the_order_of_rows(ledger: Ledger) -> None:
    tasks = [task(number, style=number) for number in range(1, 4)]
    admit(ledger, *tasks, task(4, style="last of all"))
    job = job_for(ledger.directory.path)
    write_manifest(job, ledger)
    assert types_of(ledger, "style") == ["str"] * 4
    # The row that made it text was never sent and goes: those who read the file before still can.
    admit(ledger, *tasks)
    write_manifest(job, ledger)
    assert types_of(ledger, "style") == ["str"] * 3


def test_parameters_called_like_our_columns_are_kept_apart(ledger: Ledger) -> None:
    odd: dict[str, Scalar] = {
        "index": 5,
        "status": "fast",
        "param_index": 6,
        "var_animal": "cat",
        "fps": 24,
        "sha256": "x",
        "provider": "p",
    }
    sent = {"model": WAN_1_3B, "prompt": "a fox", **odd}
    admit(ledger, Task("task00000000", 0, sent, "a ${animal}", variables={"animal": "fox"}))
    write_manifest(job_for(ledger.directory.path), ledger)
    header = (ledger.directory.path / "manifest.csv").read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    [row] = jsonl(ledger.directory.path / "manifest.jsonl")
    assert list(row) == header
    assert (row["index"], row["status"], row["var_animal"], row["fps"]) == (
        0,
        "pending",
        "fox",
        None,
    )
    assert {name: row[f"param_{name}"] for name in odd} == odd


def test_tasks_the_job_no_longer_has_come_last(ledger: Ledger) -> None:
    admit(ledger, *(task(number) for number in range(4)))
    asyncio.run(bring(ledger, "task00000000", Status.SUCCEEDED))
    ledger.admit((task(number), number, "x") for number in (1, 2, 3))
    rows = list(written_rows(job_for(ledger.directory.path), ledger))
    assert [row["index"] for row in rows] == [1, 2, 3, 0]


def test_a_manifest_of_no_tasks_has_its_head(ledger: Ledger) -> None:
    write_manifest(job_for(ledger.directory.path), ledger)
    assert (ledger.directory.path / "manifest.jsonl").read_bytes() == b""
    header = (ledger.directory.path / "manifest.csv").read_text().splitlines()
    assert len(header) == 1
    assert not set(COLUMNS) - set(header[0].split(","))


def test_a_reader_never_sees_a_half_written_manifest(ledger: Ledger) -> None:
    count = 520
    admit(ledger, *(task(number, f"fox\n{number}") for number in range(count)))
    job, folder = job_for(ledger.directory.path), ledger.directory.path
    write_manifest(job, ledger)
    done = threading.Event()
    looks = 0
    wrong: list[int] = []

    def read() -> None:
        nonlocal looks
        while not done.is_set():
            for found in (jsonl(folder / "manifest.jsonl"), table(folder / "manifest.csv")):
                looks += 1
                if len(found) != count:
                    wrong.append(len(found))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(4):
        write_manifest(job, ledger)
    done.set()
    reader.join()
    assert wrong == []
    assert looks > 2
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(ledger: Ledger) -> None:
    admit(ledger, task(0))
    job, folder = job_for(ledger.directory.path), ledger.directory.path
    write_manifest(job, ledger)
    before = (folder / "manifest.jsonl").read_bytes()
    admit(ledger, task(0), task(1))
    # A directory in the place of the table: the last of the replacements fails.
    (folder / ".metadata.jsonl.part").mkdir()
    with pytest.raises(OSError, match="metadata"):
        write_manifest(job, ledger)
    assert (folder / "manifest.jsonl").read_bytes() == before


def test_a_link_in_place_of_the_manifest_is_replaced(ledger: Ledger, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    for name in ("manifest.jsonl", ".manifest.jsonl.part", "manifest.csv", ".metadata.jsonl.part"):
        (ledger.directory.path / name).symlink_to(treasure)
    write_manifest(job_for(ledger.directory.path), ledger)
    assert treasure.read_text() == "mine"
    with replacing(ledger.directory.path / "manifest.jsonl") as file:
        file.write("x")
    assert treasure.read_text() == "mine"
