"""Money over real HTTP: refusals of what was taken, bills above the quote, bills for failures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from batchgen.again import Again
from batchgen.errors import UsageError
from batchgen.events import Event, Notice, Reason, Summary
from batchgen.jobfile import Overrides, load_job
from batchgen.ledger.ledger import Ledger
from batchgen.planning.plan import make_plan
from batchgen.planning.words import sentences
from batchgen.sandbox import FaultPlan, Sandbox, SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import run_job
from batchgen.task import Status
from tests.conftest import committed

pytestmark = pytest.mark.anyio
CLIP = render(ClipRequest("money", width=64, height=64))
AT_ONCE = 4
JOB = """
version: 1
prompts: [A fox]
matrix: {{seed: 1-{tasks}}}
budget: {{max_usd: {max_usd}}}
run:
  concurrency: {at_once}
  stop_if_failures: none
  poll: {{first: 0.01s, every: 0.01s}}
  retry: {{backoff: 10ms-20ms}}
"""


@asynccontextmanager
async def sandbox(*rules: dict[str, Any]) -> AsyncIterator[Sandbox]:
    plan = FaultPlan.model_validate({"faults": rules})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as server:
        yield server


async def spend(
    server: Sandbox,
    folder: Path,
    tasks: int,
    max_usd: float,
    *,
    at_once: int = AT_ONCE,
    again: bool = False,
) -> tuple[Summary, str]:
    """Run a job; return how it ended and all notices, a line each."""
    (folder / "job.yaml").write_text(JOB.format(tasks=tasks, max_usd=max_usd, at_once=at_once))
    job = load_job(folder / "job.yaml", Overrides(base_url=server.url, output=folder / "run"))
    events: list[Event] = []
    summary = await run_job(job, observer=events.append, again=Again() if again else None)
    return summary, "\n".join(each.message for each in events if isinstance(each, Notice))


def billed(server: Sandbox) -> float:
    return sum(each.price for each in server.account.generations.values()) / 2_000_000


async def test_what_the_api_refused_though_it_was_taken_is_found_in_its_log(
    tmp_path: Path,
) -> None:
    refusals = [
        {"on": "submit", "do": "status", "status": status, "taken": True, "first": 2}
        for status in (429, 503)
    ]
    async with sandbox(*refusals) as server:
        summary, said = await spend(server, tmp_path, 8, 5.0)
        assert server.account.submits == 8
        assert server.account.requests["logs"] <= 4
    assert summary.counts == {Status.SUCCEEDED: 8}
    assert said.count("it is not submitted again") == 4


async def test_bills_above_the_quote_pass_the_budget_by_what_is_in_flight_and_no_more(
    tmp_path: Path,
) -> None:
    async with sandbox({"on": "submit", "do": "bill", "usd": 0.3}) as server:
        summary, said = await spend(server, tmp_path, 40, 1.2)
        assert summary.reason is Reason.BUDGET
        assert "another video at $0.30 would pass the budget of $1.20" in summary.detail
        assert "the provider billed $0.30 for a video, where $0.06 were reserved" in said
        assert billed(server) <= 1.2 + AT_ONCE * (0.3 - 0.06) + 1e-6
        assert summary.cost_usd == pytest.approx(billed(server))
        before = server.account.submits
        summary, _ = await spend(server, tmp_path, 40, 1.2)
        assert (summary.reason, server.account.submits) == (Reason.BUDGET, before)
        summary, _ = await spend(server, tmp_path, 40, 2.7)
        assert billed(server) == pytest.approx(2.7), "the next run knows the price"
        job = load_job(tmp_path / "job.yaml", Overrides(output=tmp_path / "run"))
    plan = make_plan(job, lambda _: 0.06)
    assert plan.spent_usd == pytest.approx(2.7)
    assert plan.within_budget == 0
    assert "at the highest bill so far of $0.30" in sentences(job, plan)
    assert (
        "budget: $2.70 in all; a first bill above $0.30 may pass it by the difference\n"
        "  for each video then in flight (at most 4) or unresolved"
    ) in sentences(job, plan)


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([{"on": "submit", "do": "fail", "usd": 0.06}], "generation_failed"),
        (
            # Completed and charged; then the link is dead, and the video was removed.
            [
                {"on": "download", "do": "expired", "each": 1},
                {"on": "fetch", "do": "delay", "seconds": 0, "each": 1},
                {"on": "fetch", "do": "taken_back"},
            ],
            "removed",
        ),
    ],
)
async def test_a_failure_that_was_billed_stays_counted_whatever_is_retried(
    tmp_path: Path, rules: list[dict[str, Any]], code: str
) -> None:
    async with sandbox(*rules) as server:
        summary, _ = await spend(server, tmp_path, 12, 0.6, at_once=12)
        assert summary.counts == {Status.FAILED: 10, Status.PENDING: 2}
        with Ledger.open(tmp_path / "run") as ledger:
            assert [ending.code for ending in ledger.endings()] == [code]
        for again in (True, False):
            summary, _ = await spend(server, tmp_path, 12, 0.6, again=again)
            assert summary.reason is Reason.BUDGET
            assert summary.cost_usd == pytest.approx(0.6)
            assert billed(server) == pytest.approx(0.6)
    with Ledger.open(tmp_path / "run") as ledger:
        usd, submits = committed(ledger)
    assert usd == pytest.approx(0.6)
    assert submits == 10


async def test_a_failure_without_a_bill_is_free(tmp_path: Path) -> None:
    async with sandbox({"on": "submit", "do": "fail", "first": 5}) as server:
        summary, _ = await spend(server, tmp_path, 20, 0.6)
        assert summary.counts == {Status.FAILED: 5, Status.SUCCEEDED: 10, Status.PENDING: 5}
        assert billed(server) == pytest.approx(0.6)


async def test_a_quote_of_nothing_is_no_price_and_nothing_is_submitted(tmp_path: Path) -> None:
    async with sandbox({"on": "models", "do": "quote", "usd": 0}) as server:
        with pytest.raises(UsageError, match="quotes no price"):
            await spend(server, tmp_path, 20, 1.2)
        assert server.account.submits == 0
