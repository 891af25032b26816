"""What a ledger keeps of look-ups in the provider's log, and what it makes of that."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchgen.errors import LedgerError
from batchgen.evidence import Doubt, Ruling
from batchgen.job import Job, Output, Prompt
from batchgen.ledger.catch_up import KnownSubmit
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.questions import PROVIDER_LOG
from batchgen.ledger.sightings import DAYS, LOOKED_FOR, TO_LOOK_FOR, YOUNGEST, Sightings
from batchgen.session import admit
from batchgen.task import Status

NOON = 1_800_000_000.0
HERE = "https://here"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of 120 tasks, submitted a second apart from noon on; every twelfth is in doubt."""
    prompts = tuple(Prompt(f"prompt {number}") for number in range(120))
    with Ledger.open(tmp_path) as ledger:
        admit(Job("test", prompts, Output(tmp_path)), ledger)
        asyncio.run(submitted(ledger))
        yield ledger


async def submitted(ledger: Ledger) -> None:
    for number, record in enumerate(await ledger.pending(-1, 200)):
        at = NOON + number
        await ledger.intend(
            record.task_id,
            client_request_id=f"sent-{number}",
            body_sha256="-",
            reserved_usd=None,
            at=at,
            base_url=HERE,
        )
        if number % 12 == 5:
            await ledger.in_doubt(record.task_id, "reset", at=at + 1)
        else:
            found_after = 20.0 if number % 12 == 7 else None
            await ledger.accepted(
                record.task_id, f"id-{number}", at=at + 1, found_after=found_after
            )


def doubtful(ledger: Ledger) -> str:
    return ledger.unresolved()[0].task_id


def all_listed(ledger: Ledger, seconds: float = 30.0) -> None:
    async def note() -> None:
        wanted = await ledger.sightings.to_look_for(HERE, NOON + 1000)
        await ledger.sightings.note(dict.fromkeys(wanted, seconds), {})

    asyncio.run(note())


OLD = Doubt(absent=1e4, before=True, after=True)


def ruling(ledger: Ledger, base_url: str = HERE, now: float = NOON + 2000) -> Ruling:
    return ledger.log_of(base_url, now).judge(OLD).ruling


def test_known_submits_are_looked_for_until_they_are_found(ledger: Ledger) -> None:
    async def look() -> None:
        sightings = ledger.sightings
        wanted = await sightings.to_look_for(HERE, NOON + 1000)
        assert len(wanted) == 100, "those in doubt and those found in the log are not among them"
        assert wanted["sent-0"] == NOON
        await sightings.note({"sent-0": 30.0}, {"sent-1": 29.0})
        assert wanted.keys() - (await sightings.to_look_for(HERE, NOON + 1000)).keys() == {"sent-0"}
        assert len(await sightings.to_look_for(HERE, NOON + 50 + YOUNGEST)) < 50
        assert not await sightings.to_look_for(HERE, NOON + 200 + LOOKED_FOR)
        assert not await sightings.to_look_for("https://elsewhere", NOON + 1000)
        assert TO_LOOK_FOR >= 100

    asyncio.run(look())


def test_what_was_found_once_keeps_how_soon(ledger: Ledger) -> None:
    all_listed(ledger)
    asyncio.run(ledger.sightings.note({"sent-0": 9_000.0}, {}))
    assert ledger.log_of(HERE, NOON + 2000).within == 60.0


def test_submits_to_one_server_say_nothing_of_another_s_log(ledger: Ledger) -> None:
    all_listed(ledger)
    assert ruling(ledger) is Ruling.AGAIN
    assert ruling(ledger, "https://elsewhere") is Ruling.LEARN


def test_what_was_seen_is_forgotten_after_some_days(ledger: Ledger) -> None:
    all_listed(ledger)
    assert ruling(ledger, now=NOON + DAYS - 1) is Ruling.AGAIN
    assert ruling(ledger, now=NOON + DAYS + 200) is Ruling.LEARN


def test_a_submit_s_neighbours_are_the_known_ones_that_left_before_and_after_it(
    ledger: Ledger,
) -> None:
    def of(at: float) -> object:
        return asyncio.run(ledger.sightings.neighbours(HERE, at))

    assert of(NOON + 5) == (("sent-4", NOON + 4), ("sent-6", NOON + 6))
    assert of(NOON) == (None, ("sent-1", NOON + 1))
    assert of(NOON + 119) == (("sent-118", NOON + 118), None)


def test_a_task_is_repeated_on_evidence_once_and_the_evidence_is_on_record(
    ledger: Ledger,
) -> None:
    task_id = doubtful(ledger)

    async def twice() -> None:
        record = await ledger.sightings.repeat(task_id, "it was nowhere", at=NOON + 900)
        assert record.status == Status.PENDING
        await ledger.intend(
            task_id,
            client_request_id="again",
            body_sha256="-",
            reserved_usd=None,
            at=NOON + 901,
            base_url=HERE,
        )
        await ledger.in_doubt(task_id, "reset", at=NOON + 902)
        assert await ledger.sightings.was_repeated(task_id)
        with pytest.raises(LedgerError, match="was submitted again before"):
            await ledger.sightings.repeat(task_id, "it was nowhere", at=NOON + 999)

    asyncio.run(twice())
    assert ledger.repeats() == [(task_id, "it was nowhere", None)]


def test_a_repeat_counts_in_the_rule_of_three(ledger: Ledger) -> None:
    all_listed(ledger)
    before = ledger.log_of(HERE, NOON + 2000).needed

    async def repeat(sightings: Sightings) -> None:
        for record in ledger.unresolved():
            await sightings.repeat(record.task_id, "nowhere", at=NOON + 900)

    asyncio.run(repeat(ledger.sightings))
    assert ledger.log_of(HERE, NOON + 2000)._repeats == 10
    assert before == 100


def test_one_that_turns_up_switches_the_rule_off_through_restarts_and_both_ids_are_kept(
    ledger: Ledger,
) -> None:
    all_listed(ledger)
    task_id = doubtful(ledger)

    async def turn_up() -> None:
        await ledger.sightings.repeat(task_id, "it was nowhere", at=NOON + 900)
        assert list(await ledger.sightings.repeated(HERE, NOON + 1000)) == ["sent-5"]
        record = await ledger.sightings.turned_up("sent-5", "late-id", 9_000.0)
        assert record.duplicate_id == "late-id"
        assert not await ledger.sightings.repeated(HERE, NOON + 1000)

    asyncio.run(turn_up())
    path = ledger.directory.path
    ledger.close()
    with Ledger.open(path) as again:
        assert ruling(again) is Ruling.HOLD
        assert again.repeats() == [(task_id, "it was nowhere", "late-id")]


def test_what_the_ledger_was_told_by_others_is_not_evidence_of_the_log(tmp_path: Path) -> None:
    """Nobody knows when those submits left, so how soon they were listed says nothing."""
    prompts = tuple(Prompt(f"prompt {number}") for number in range(120))
    with Ledger.open(tmp_path) as ledger:
        admit(Job("test", prompts, Output(tmp_path)), ledger)
        told = [
            KnownSubmit(record.task_id, f"told-{number}", f"id-{number}", base_url=HERE)
            for number, record in enumerate(ledger.records())
        ]
        ledger.catch_up(told, PROVIDER_LOG, at=NOON)
        wanted = asyncio.run(ledger.sightings.to_look_for(HERE, NOON + 1000))
        assert wanted == {}
        assert asyncio.run(ledger.sightings.neighbours(HERE, NOON + 1)) == (None, None)
