"""A plan says what a run would do, and leaves everything as it was."""

import shutil
import sqlite3
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.again import Again, tried_again
from batchgen.errors import RunDirectoryError, RunLocked
from batchgen.expansion import expand
from batchgen.job import (
    Axis,
    Budget,
    Derived,
    Job,
    Output,
    Prompt,
    ProviderSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.rescue import Rescue
from batchgen.planning import estimate
from batchgen.planning.estimate import Price, PriceSource
from batchgen.planning.plan import Plan, make_plan
from batchgen.planning.words import sentences
from batchgen.session import admit
from batchgen.task import Cause, Status

NOW = 1_790_000_000.0


def job(path: Path, *prompts: str, **more: Any) -> Job:
    settings: dict[str, Any] = {
        "matrix": (Axis("seed", (1, 2, 3)), Axis("guidance_scale", (3, 9))),
        "provider": ProviderSettings("aimlapi"),
        **more,
    }
    texts = prompts or ("a fox",)
    return Job("fox", tuple(map(Prompt, texts)), Output(path / "run"), **settings)


def six_cents(_: ProviderSettings) -> float | None:
    return 0.06


def nobody(_: ProviderSettings) -> float | None:
    return None


def unasked(_: ProviderSettings) -> float | None:
    pytest.fail("the provider was asked for its price")


def plan(made: Job) -> Plan:
    return make_plan(made, six_cents)


async def submit(ledger: Ledger, task_id: str) -> None:
    await ledger.intend(
        task_id, client_request_id=f"{task_id}.x", body_sha256="-", reserved_usd=0.06, at=NOW
    )


async def take(ledger: Ledger, task_id: str) -> None:
    await submit(ledger, task_id)
    await ledger.accepted(task_id, f"gen-{task_id}", at=NOW)


async def complete(ledger: Ledger, task_id: str, seconds: float = 50.0) -> None:
    await take(ledger, task_id)
    await ledger.completed(
        task_id,
        video_url="https://h/x.mp4",
        at=NOW + 60,
        polls=4,
        queue_s=10.0,
        generate_s=seconds,
        cost_usd=0.05,
        cost_is_estimate=False,
    )


async def succeed(ledger: Ledger, task_id: str, seconds: float = 50.0) -> None:
    await complete(ledger, task_id, seconds)
    stem = next(record.stem for record in ledger.records() if record.task_id == task_id)
    (ledger.directory.videos / f"{stem}.mp4").write_bytes(b"a video")
    await ledger.succeeded(
        task_id, at=NOW, download_s=1.0, width=1, height=1, fps=1.0, duration_s=1.0
    )


async def fail(ledger: Ledger, task_id: str, code: str = "moderation") -> None:
    await take(ledger, task_id)
    await ledger.failed(task_id, Cause.GENERATION, code, f"why {code}", at=NOW)


def go(work: Coroutine[Any, Any, None]) -> None:
    async def wait() -> None:
        await work

    anyio.run(wait)


def half_a_night(made: Job) -> None:
    """Bring the first tasks to what a night may leave: 1 done, 2 failed, 1 in flight."""
    ids = [task.task_id for task in expand(made)]
    with Ledger.open(made.output.dir) as ledger:
        ledger.bind(made.provider.kind)
        admit(made, ledger)

        async def night() -> None:
            await succeed(ledger, ids[0])
            await fail(ledger, ids[1])
            await fail(ledger, ids[2])
            await take(ledger, ids[3])

        go(night())


def contents(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def test_where_no_run_has_been_everything_is_new_and_nothing_is_made(tmp_path: Path) -> None:
    made = plan(job(tmp_path))
    assert (made.tasks, made.by_status, made.by_axis) == (6, {"new": 6}, [])
    assert made.cost_usd == pytest.approx(0.36)
    assert made.seconds is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_would_find_is_counted_with_reasons_and_by_axis(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    half_a_night(wanted)
    made = plan(wanted)
    assert made.by_status == {"new": 2, "succeeded": 1, "failed": 2, "to_poll": 1}
    (failure,) = made.failures
    assert (failure.status, failure.code, failure.message, failure.count) == (
        "failed",
        "moderation",
        "why moderation",
        2,
    )
    by_axis = {cut.axis: dict(cut.counts) for cut in made.by_axis}
    assert by_axis == {
        "seed": {1: {"succeeded": 1, "failed": 1}, 2: {"failed": 1, "to_poll": 1}, 3: {"new": 2}},
        "guidance_scale": {
            3: {"succeeded": 1, "failed": 1, "new": 1},
            9: {"failed": 1, "to_poll": 1, "new": 1},
        },
    }
    assert made.spent_usd == pytest.approx(0.11)
    assert made.submits == 2
    assert made.requests == estimate.Requests(submits=2, polls=12, downloads=3)
    assert made.seconds == 60.0


def test_what_the_job_no_longer_has_is_counted_by_what_became_of_it(tmp_path: Path) -> None:
    half_a_night(job(tmp_path))
    made = plan(job(tmp_path, matrix=(Axis("seed", (2, 3, 4)), Axis("guidance_scale", (3, 9)))))
    assert made.by_status == {"new": 4, "failed": 1, "to_poll": 1, "gone": 2}
    assert made.gone == {"succeeded": 1, "failed": 1}


@pytest.mark.parametrize("killed", [False, True])
def test_a_plan_changes_nothing_in_a_run_directory(tmp_path: Path, *, killed: bool) -> None:
    wanted = job(tmp_path)
    half_a_night(wanted)
    path = wanted.output.dir
    if killed:
        # A process that ends without a word leaves its last steps beside the database.
        with Ledger.open(path) as ledger:
            go(take(ledger, list(expand(wanted))[4].task_id))
            shutil.copytree(path, tmp_path / "as it was killed")
        shutil.rmtree(path)
        (tmp_path / "as it was killed").rename(path)
        assert (path / ".batchgen" / "ledger.sqlite-wal").stat().st_size > 0
    before = contents(path)
    assert plan(wanted).by_status["to_poll"] == (2 if killed else 1)
    assert contents(path) == before


def test_what_is_paid_for_is_to_be_fetched_whatever_is_missing_of_it(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    ids = [task.task_id for task in expand(wanted)]
    with Ledger.open(wanted.output.dir) as ledger:
        admit(wanted, ledger)

        async def night() -> None:
            await succeed(ledger, ids[0])
            await complete(ledger, ids[1])
            await ledger.failed(ids[1], Cause.DOWNLOAD, "download_failed", "cut", at=NOW)
            await submit(ledger, ids[2])
            await submit(ledger, ids[3])
            await take(ledger, ids[4])
            await ledger.timed_out(ids[4], "too long", polls=1)

        go(night())
        next(ledger.directory.videos.iterdir()).unlink()
        rescued_ids = ledger.directory.rescued_ids
    rescue = Rescue(rescued_ids)
    rescue.keep(ids[2], "gen-rescued")
    rescue.close()
    made = plan(wanted)
    assert made.by_status == {"new": 1, "to_poll": 3, "unresolved": 1, "timed_out": 1}


def test_a_directory_in_which_a_run_goes_on_is_left_to_it(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    with Ledger.open(wanted.output.dir), pytest.raises(RunLocked, match="batchgen status"):
        plan(wanted)


def test_another_provider_s_directory_and_a_damaged_ledger_are_refused(tmp_path: Path) -> None:
    wanted = job(tmp_path)
    half_a_night(wanted)
    with pytest.raises(RunDirectoryError, match="holds tasks of the provider aimlapi, not sandbox"):
        plan(job(tmp_path, provider=ProviderSettings("sandbox")))
    ledger = wanted.output.dir / ".batchgen" / "ledger.sqlite"
    ledger.write_bytes(b"no database " * 100)
    with pytest.raises(RunDirectoryError, match="cannot be used"):
        plan(wanted)
    ledger.unlink()
    sqlite3.connect(ledger).close()
    ledger.touch()
    with pytest.raises(RunDirectoryError, match="it is empty, but the results"):
        plan(wanted)


def test_the_price_is_the_job_s_word_then_the_provider_s_and_else_not_known(
    tmp_path: Path,
) -> None:
    priced = job(tmp_path, budget=Budget(usd_per_video=0.5))
    assert make_plan(priced, unasked).price == Price(0.5, PriceSource.JOB, play_money=False)
    assert plan(job(tmp_path)).price == Price(0.06, PriceSource.PROVIDER, play_money=False)
    rehearsed = plan(job(tmp_path, provider=ProviderSettings("sandbox")))
    assert rehearsed.price == Price(0.06, PriceSource.PROVIDER, play_money=True)
    unknown = make_plan(job(tmp_path), nobody)
    assert (unknown.price, unknown.cost_usd, unknown.as_json()["cost_usd"]) == (None, None, None)
    assert "$" not in sentences(job(tmp_path), unknown)


def test_nobody_is_asked_for_a_price_where_nothing_is_to_be_paid(tmp_path: Path) -> None:
    wanted = job(tmp_path, matrix=())
    with Ledger.open(wanted.output.dir) as ledger:
        admit(wanted, ledger)
        go(succeed(ledger, next(expand(wanted)).task_id))
    made = make_plan(wanted, unasked)
    assert made.by_status == {"new": 0, "succeeded": 1}
    assert "nothing new to make, nothing to pay" in sentences(wanted, made)


def test_a_budget_says_where_it_stops_the_run(tmp_path: Path) -> None:
    wanted = job(tmp_path, budget=Budget(max_usd=0.25))
    assert plan(wanted).within_budget == 4
    half_a_night(wanted)
    made = plan(wanted)
    assert made.affordable == 2, "11 of 25 cents are spent or reserved"
    assert made.as_json()["budget_stops_after"] is None
    tight = job(tmp_path, budget=Budget(max_tasks=3))
    assert plan(tight).as_json()["budget_stops_after"] == 1
    assert "the budget stops it after 1 of the 2 to make" in sentences(tight, plan(tight))


@given(
    st.floats(0.001, 5), st.floats(0.001, 100), st.floats(0, 100), st.none() | st.integers(1, 50)
)
def test_a_budget_allows_what_a_run_would_submit(
    price: float, dollars: float, spent: float, tasks: int | None
) -> None:
    allowed = estimate.affordable(
        Budget(tasks, dollars), Price(price, PriceSource.JOB, play_money=False), spent, 2
    )
    assert allowed is not None
    assert allowed == 0 or spent + allowed * price <= dollars + 1e-5
    assert allowed >= min(int((dollars - spent) / price), 50 if tasks is None else tasks - 2)


def test_cells_that_repeat_another_s_request_are_counted(tmp_path: Path) -> None:
    texts = ("${animal} runs", "a still lake")
    axes = (Axis("animal", ("an owl", "a fox")), Axis("seed", (1, 2)))
    rows = ({"animal": "an owl", "seed": 2}, {"prompt": "a hill", "seed": 1})
    excluded = ({"animal": "a fox", "seed": 1},)
    made = plan(job(tmp_path, *texts, matrix=axes, include=rows, exclude=excluded))
    # The lake has no animal: its 3 cells and its row are 2 requests; the owl's row is a cell too.
    assert (made.tasks, made.repeats) == (3 + 2 + 1, 3)
    assert plan(job(tmp_path)).repeats == 0


def test_prompts_that_ask_for_the_same_are_one_task_in_a_plan_and_paid_for_once(
    tmp_path: Path,
) -> None:
    wanted = job(tmp_path, matrix=(Axis("seed", (1, 2, 3)),))
    wanted = replace(wanted, prompts=(Prompt("a fox"), Prompt("a fox", own={"seed": 1})))
    made = plan(wanted)
    assert (made.tasks, made.repeats, made.by_status) == (3, 1, {"new": 3})
    assert made.cost_usd == pytest.approx(0.18)


def test_a_row_of_exclude_that_differs_in_truth_is_another_when_repeats_are_counted(
    tmp_path: Path,
) -> None:
    prompts = tuple(Prompt(f"{text} ${{x}}", own={"x": x}) for text, x in (("a", 1), ("b", True)))
    made = plan(replace(job(tmp_path, exclude=({"x": True},)), prompts=prompts))
    assert (made.tasks, made.repeats) == (6, 0)


def test_a_seed_that_each_prompt_derives_for_itself_is_left_out_of_that_prompt_alone(
    tmp_path: Path,
) -> None:
    axes = (Axis("seed", Derived(3, per_prompt=True)),)
    texts = ("a fox", "a tram", "${seed} owls")
    seed = list(expand(job(tmp_path, *texts, matrix=axes)))[4].params["seed"]
    made = plan(job(tmp_path, *texts, matrix=axes, exclude=({"seed": seed},)))
    assert (made.tasks, made.repeats) == (8, 0)


def test_a_replacement_whose_seed_the_job_names_itself_is_counted_once(tmp_path: Path) -> None:
    wanted = job(tmp_path, matrix=(Axis("seed", (1, 2, 3)),))
    ids = [task.task_id for task in expand(wanted)]
    with Ledger.open(wanted.output.dir) as ledger:
        ledger.bind("aimlapi")
        admit(wanted, ledger)
        go(fail(ledger, ids[0]))
        tried_again(wanted, ledger, Again(new_seed=True), at=0.0)
        waiting = [record for record in ledger.records() if record.status == "pending"]
        another = next(record for record in waiting if record.task_id not in ids)

        async def night() -> None:
            for record in waiting:
                await succeed(ledger, record.task_id)

        go(night())
    seed = another.task.params["seed"]
    assert isinstance(seed, int)
    for seeds in ((seed, 1), (1, seed)):
        made = plan(job(tmp_path, matrix=(Axis("seed", seeds),)))
        assert (made.tasks, made.repeats) == (1, 1)
        assert made.by_status == {"new": 0, "succeeded": 1, "gone": 2}


def test_a_value_called_other_and_true_beside_one_are_rows_of_their_own(tmp_path: Path) -> None:
    axes = (Axis("animal", ("a fox", "other")), Axis("x", (1, True)))
    rows = ({"animal": "a hen", "x": 0},)
    wanted = job(tmp_path, "${animal} ${x}", matrix=axes, include=rows)
    half_a_night(wanted)
    made = plan(wanted)
    by_axis = {
        cut.axis: [(value, sum(n.values())) for value, n in cut.counts] for cut in made.by_axis
    }
    assert repr(by_axis) == repr(
        {
            "animal": [("a fox", 2), ("other", 2), (None, 1)],
            "x": [(1, 2), (True, 2), (None, 1)],
        }
    )
    text = sentences(wanted, made)
    assert "\n  animal other  " in text
    assert "\n  other animal  " in text


def test_an_axis_of_derived_seeds_shows_the_seeds_that_are_sent(tmp_path: Path) -> None:
    axes = (Axis("seed", Derived(4)), Axis("shift", (1, 2, 3)))
    wanted = job(tmp_path, matrix=axes, salt="s")
    sent = dict.fromkeys(task.params["seed"] for task in expand(wanted))
    assert plan(wanted).axes["seed"] == list(sent)


def test_half_a_night_reads_like_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = job(Path(), warnings=("seeds cannot be compared",))
    half_a_night(wanted)
    assert sentences(wanted, plan(wanted)).splitlines() == [
        "fox: 6 tasks, wan/v2.1/1.3b/text-to-video at aimlapi",
        "  seed x 3: 1, 2, 3",
        "  guidance_scale x 2: 3, 9",
        "in run:",
        "  + 2  to make",
        "  = 1  done",
        "  ~ 1  paid for already, to be fetched",
        "  ! 2  failed (`batchgen retry` or `run --retry-failed` makes them again)",
        "       2 moderation: why moderation",
        "by axis:                              to make       done   to fetch     failed",
        "  seed 1                                    .          1          .          1",
        "  seed 2                                    .          .          1          1",
        "  seed 3                                    2          .          .          .",
        "  guidance_scale 3                          1          1          .          1",
        "  guidance_scale 9                          1          .          1          1",
        "first tasks:",
        *(
            f"  {task.index:>4}  {task.task_id}  seed={task.params['seed']} "
            f"guidance_scale={task.params['guidance_scale']}  a fox"
            for task in list(expand(wanted))[:5]
        ),
        "so far: $0.11 spent or reserved, 2 submits",
        "cost: about $0.12 at the provider's price of $0.06",
        "requests: about 2 submits, 12 polls (4 a video, as before), 3 downloads",
        "time: about 1 min 00 s, 8 at once (median of 1 so far: 1 min 00 s)",
        "warning: seeds cannot be compared",
    ]


def test_many_prompts_are_summed_up_with_those_that_failed(tmp_path: Path) -> None:
    texts = [f"prompt number {number} " + "of a very long text " * 5 for number in range(200)]
    wanted = job(tmp_path, *texts, matrix=(Axis("seed", (1, 2)),))
    ids = [task.task_id for task in expand(wanted)]
    with Ledger.open(wanted.output.dir) as ledger:
        admit(wanted, ledger)

        async def night() -> None:
            for task_id in ids[:3]:
                await succeed(ledger, task_id)
            await fail(ledger, ids[5])

        go(night())
    lines = sentences(wanted, plan(wanted)).splitlines()
    summed_up = lines.index("  200 prompts: 197 to make, 1 done, 1 in part, 1 with failures")
    assert lines[summed_up + 1].startswith("    1 failed: prompt number 2 of a very")
    beside = {f"in {wanted.output.dir}:"}
    assert max(len(line) for line in lines if line not in beside) <= 80


def test_every_status_has_its_words(tmp_path: Path) -> None:
    wanted = job(tmp_path, "a fox", "a crow", matrix=(Axis("seed", (1, 2, 3, 4)),))
    ids = [task.task_id for task in expand(wanted)]
    with Ledger.open(wanted.output.dir) as ledger:
        admit(wanted, ledger)

        async def night() -> None:
            await succeed(ledger, ids[0])
            await fail(ledger, ids[1])
            await take(ledger, ids[2])
            await take(ledger, ids[3])
            await ledger.timed_out(ids[3], "too long", polls=1)
            for task_id in ids[4:6]:
                await submit(ledger, task_id)
                await ledger.in_doubt(task_id, "reset", at=NOW)

        go(night())
        ledger.abandon([ids[5]], at=NOW)
        assert ledger.counts()[Status.CANCELLED] == 1
    made = plan(wanted)
    text = sentences(wanted, made)
    assert sum(made.by_status.values()) == made.tasks == 8
    for words in ("to make", "done", "to be fetched", "took too long", "looked up", "given up"):
        assert words in text
