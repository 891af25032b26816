"""The pure part of the sandbox, and the journal that keeps it."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.models import WAN_1_3B
from batchgen.sandbox import journal
from batchgen.sandbox.generations import (
    CREDITS_PER_USD,
    FAIL_WORD,
    Account,
    Generation,
    JsonObject,
    Order,
    Pace,
    Refusal,
    SandboxSettings,
    Status,
    number_of,
    objections,
    seed_of,
)

ORDER_OF_STATUS = [Status.QUEUED, Status.GENERATING, Status.COMPLETED, Status.ERROR]
NIGHT = 1_790_000_000.0

seconds = st.floats(min_value=0, max_value=60)
gaps = st.lists(seconds, min_size=1, max_size=30)


def order(prompt: str = "a fox", **parameters: str | float) -> Order:
    body: JsonObject = {"model": WAN_1_3B, "prompt": prompt, **parameters}
    return Order(WAN_1_3B, body)


def taken(account: Account, at: float, asked: Order | None = None) -> Generation:
    generation = account.draft(asked or order(), at)
    assert isinstance(generation, Generation)
    account.add(generation)
    return generation


def arrivals(account: Account, waits: list[float]) -> list[Generation]:
    now = NIGHT
    generations = []
    for wait in waits:
        now += wait
        generations.append(taken(account, now))
    return generations


@given(st.lists(seconds, min_size=2, max_size=40), st.booleans(), st.integers(0, 3))
def test_a_status_never_goes_backwards(looks: list[float], fails: bool, slots: int) -> None:  # noqa: FBT001
    account = Account(SandboxSettings(queue_s=5, generate_s=20, slots=slots), "secret")
    generation = taken(account, NIGHT, order(FAIL_WORD if fails else "a fox"))
    seen = [generation.status(NIGHT + look) for look in sorted(looks)]
    assert seen == sorted(seen, key=ORDER_OF_STATUS.index)
    assert generation.status(generation.finished) is (Status.ERROR if fails else Status.COMPLETED)


@given(gaps, st.integers(1, 4))
def test_no_more_generate_at_once_than_there_are_slots(waits: list[float], slots: int) -> None:
    account = Account(SandboxSettings(queue_s=4, generate_s=30, slots=slots), "secret")
    generations = arrivals(account, waits)
    for moment in [generation.started for generation in generations]:
        at_work = [g for g in generations if g.status(moment) is Status.GENERATING]
        assert len(at_work) <= slots


@given(gaps, st.integers(1, 4))
def test_with_slots_generations_start_in_the_order_of_arrival(
    waits: list[float], slots: int
) -> None:
    account = Account(SandboxSettings(queue_s=10, generate_s=5, slots=slots), "secret")
    starts = [generation.started for generation in arrivals(account, waits)]
    assert starts == sorted(starts)


@given(gaps, st.integers(0, 3), st.integers(0, 3), st.integers(1, 30))
def test_an_account_read_again_goes_on_as_if_it_had_never_stopped(
    waits: list[float], slots: int, slots_after: int, stop: int
) -> None:
    settings = SandboxSettings(queue_s=4, generate_s=30, slots=slots)
    account = Account(settings, "secret")
    generations = arrivals(account, waits)
    again = Account(replace(settings, slots=slots_after), "secret")
    for generation in generations[:stop]:
        again.add(generation)
    assert list(again.generations.values()) == generations[:stop]
    later = [
        taken(again, NIGHT + 30 + sum(waits[: number + 1]))
        for number in range(stop, len(generations))
    ]
    assert [g.generation_id for g in later] == [g.generation_id for g in generations[stop:]]
    for moment in [late.started for late in later] if slots_after else []:
        at_work = [g for g in again.generations.values() if g.status(moment) is Status.GENERATING]
        assert len(at_work) <= slots_after


def test_a_slot_that_is_free_is_used_at_once() -> None:
    account = Account(SandboxSettings(queue_s=0, generate_s=10, slots=1), "secret")
    first, second = taken(account, NIGHT), taken(account, NIGHT)
    third = taken(account, NIGHT + 1000)
    assert (first.started, second.started) == (NIGHT, first.finished)
    assert third.started == NIGHT + 1000


def test_durations_have_the_means_asked_for_and_scale_with_the_steps() -> None:
    account = Account(SandboxSettings(queue_s=5, generate_s=20, balance_usd=10_000), "secret")
    usual = [taken(account, NIGHT) for _ in range(2000)]
    short = [taken(account, NIGHT, order(inference_steps=15)) for _ in range(2000)]
    assert sum(g.started - g.created for g in usual) / 2000 == pytest.approx(5, rel=0.06)
    assert sum(g.finished - g.started for g in usual) / 2000 == pytest.approx(20, rel=0.03)
    assert sum(g.finished - g.started for g in short) / 2000 == pytest.approx(10, rel=0.03)


def test_ten_thousand_generations_have_ten_thousand_ids_and_the_same_ones_every_time() -> None:
    settings = SandboxSettings(balance_usd=10_000)
    one, other = Account(settings, "secret"), Account(settings, "secret")
    ids = [taken(one, NIGHT).generation_id for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert [taken(other, NIGHT).generation_id for _ in range(100)] == ids[:100]
    assert ids[0] != taken(Account(settings, "another"), NIGHT).generation_id


def test_asking_costs_the_same_however_many_generations_there_are() -> None:
    account = Account(SandboxSettings(balance_usd=10_000, slots=20, max_in_flight=99_999), "secret")
    began = process_time()
    for number in range(10_000):
        last = taken(account, NIGHT + number)
        for _ in range(5):
            account.generations[last.generation_id].status(NIGHT + number)
            account.logged(NIGHT, NIGHT + number, offset=0, limit=100)
            account.balance(NIGHT + number)
    assert process_time() - began < 10  # measured 0.35 s


def test_a_charge_is_booked_when_a_generation_completes_and_never_for_one_that_fails() -> None:
    account = Account(SandboxSettings(balance_usd=1, usd_per_video=0.25), "secret")
    good, bad = taken(account, NIGHT), taken(account, NIGHT, order(f"a {FAIL_WORD}"))
    assert account.balance(NIGHT) == CREDITS_PER_USD
    assert account.balance(max(good.finished, bad.finished)) == CREDITS_PER_USD * 3 // 4
    assert good.charged(good.finished) == CREDITS_PER_USD // 4
    assert bad.charged(bad.finished) == 0


def test_what_still_runs_counts_against_the_balance_so_that_it_never_goes_below_nothing() -> None:
    account = Account(SandboxSettings(balance_usd=0.12), "secret")
    taken(account, NIGHT)
    last = taken(account, NIGHT)
    assert account.draft(order(), NIGHT) is Refusal.OUT_OF_CREDITS
    assert account.draft(order(), last.finished + 100) is Refusal.OUT_OF_CREDITS
    assert account.balance(last.finished + 100) == 0


def test_a_balance_can_be_spent_to_its_last_credit() -> None:
    account = Account(SandboxSettings(balance_usd=0.18), "secret")
    first = taken(account, NIGHT)
    second = taken(account, first.finished)
    third = taken(account, first.finished)
    assert account.balance(max(second.finished, third.finished)) == 0


def test_the_limit_in_flight_gives_way_when_one_finishes() -> None:
    account = Account(SandboxSettings(max_in_flight=1), "secret")
    first = taken(account, NIGHT)
    assert account.draft(order(), NIGHT) is Refusal.TOO_MANY_IN_FLIGHT
    assert isinstance(account.draft(order(), first.finished), Generation)


def test_drafting_changes_nothing() -> None:
    account = Account(SandboxSettings(slots=1), "secret")
    assert account.draft(order(), NIGHT) == account.draft(order(), NIGHT)
    assert account.submits == 0


@given(gaps, st.integers(0, 40), st.integers(1, 10))
def test_log_pages_cover_a_window_once_each_newest_first(
    waits: list[float], offset: int, limit: int
) -> None:
    account = Account(SandboxSettings(), "secret")
    generations = arrivals(account, waits)
    start, end = NIGHT + waits[0], NIGHT + sum(waits) / 2
    inside = [g for g in reversed(generations) if start <= g.created <= end]
    rows, total = account.logged(start, end, offset=offset, limit=limit)
    assert total == len(inside)
    assert list(rows) == inside[offset : offset + limit]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=80), st.integers(1, 5))
def test_a_pace_lets_through_its_rate_and_says_exactly_how_long_to_wait(
    waits: list[float], rate: int
) -> None:
    pace = Pace(rate)
    now, passed = NIGHT, []
    for wait in waits:
        now += wait
        wait_s = pace.wait(now)
        if wait_s:
            assert 0 < wait_s <= 1 / rate + 1e-5
            now += wait_s
            assert pace.wait(now) == 0
        passed.append(now)
    for first in passed:
        assert sum(first <= moment < first + 1 for moment in passed) <= 2 * rate


def test_a_pace_survives_a_clock_that_is_set_back() -> None:
    pace = Pace(1)
    assert pace.wait(NIGHT) == 0
    assert pace.wait(NIGHT - 3600) == pytest.approx(1)
    assert pace.wait(NIGHT - 3599) == 0


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"fps": 24}, "'fps' is no parameter"),
        ({"aspect_ratio": "1:1"}, "aspect_ratio"),
        ({"seed": 1.5}, "seed"),
        ({"inference_steps": 0}, "inference_steps"),
        ({"inference_steps": True}, "inference_steps"),
        ({"guidance_scale": 10**400}, "guidance_scale takes 100 or less"),
        ({"negative_prompt": None}, "negative_prompt"),
        ({"prompt": ""}, "prompt is empty"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(parameters: JsonObject, named: str) -> None:
    body: JsonObject = {"model": WAN_1_3B, "prompt": "a fox"}
    found = objections(body | parameters)
    assert len(found) == 1
    assert named in found[0]


def test_every_objection_is_given_at_once() -> None:
    assert len(objections({"model": WAN_1_3B, "fps": 24, "seed": "x"})) == 3


@pytest.mark.parametrize("model", [None, 7, "", "two\r\nlines", "m" * 129])
def test_a_model_that_is_no_name_is_refused(model: str | int | None) -> None:
    assert "model takes" in objections({"model": model, "prompt": "a fox"})[0]


def test_a_model_without_a_table_takes_anything() -> None:
    assert objections({"model": "somebody/new-model", "frames": [1, 2], "prompt": None}) == []


@given(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans()))
def test_a_figure_to_draw_by_is_always_one_that_fits(value: str | float | None) -> None:
    body: JsonObject = {"inference_steps": value}
    steps = number_of(body, "inference_steps")
    assert steps in (value, 30)
    assert 1 <= steps <= 2**53


def test_without_a_seed_every_generation_has_its_own() -> None:
    account = Account(SandboxSettings(), "secret")
    assert seed_of(taken(account, NIGHT)) != seed_of(taken(account, NIGHT))
    assert seed_of(taken(account, NIGHT, order(seed=7))) == 7


@pytest.mark.parametrize("wrong", [{"queue_s": -1.0}, {"generate_s": float("nan")}, {"key": ""}])
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SandboxSettings(**wrong)  # type: ignore[arg-type]


def written(path: Path, prompts: list[str]) -> list[Generation]:
    account = Account(SandboxSettings(), "secret")
    with journal.opened(path) as book:
        for prompt in prompts:
            asked = replace(order(prompt), client_request_id="batchgen.1:2")
            book.record(taken(account, NIGHT, asked))
    return list(account.generations.values())


def test_a_journal_gives_back_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    kept = written(path, ["a fox", "线 🦊 \ud800 \n \u2028"])
    with journal.opened(path) as book:
        assert list(book.generations) == kept
        secret = book.secret
    with journal.opened(path) as book:
        assert book.secret == secret


def test_a_journal_cut_at_any_byte_reloads_every_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    kept = written(path, ["a fox", "a 狐", "a\nfox"])
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        reading = journal.read(data[:cut])
        whole = data[:cut].count(b"\n")
        assert list(reading.generations) == kept[: max(0, whole - 1)]
        assert (reading.secret is None) == (whole == 0)
        assert reading.length <= cut


@given(torn=st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_a_torn_last_line_is_cut_off_and_written_over(
    tmp_path_factory: pytest.TempPathFactory, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal"
    (kept,) = written(path, ["a fox"])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with journal.opened(path) as book:
        assert path.read_bytes() == whole
        book.record(replace(kept, price=7))
    assert journal.read(path.read_bytes()).generations == (kept, replace(kept, price=7))


@pytest.mark.parametrize(
    "damage",
    [b"{}\n", b"no json\n", b"[" * 100_000 + b"\n", b'{"kind":"generation"}\n', b"\xff\n", b"\n"],
)
def test_a_damaged_journal_is_refused_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal"
    written(path, ["a fox"])
    whole = path.read_bytes()
    for damaged in (whole + damage + b'{"torn', damage + whole):
        path.write_bytes(damaged)
        with pytest.raises(journal.JournalError, match=r"line \d"), journal.opened(path):
            pass
        assert path.read_bytes() == damaged


def test_a_file_that_is_no_journal_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(json.dumps({"mine": True}))
    with pytest.raises(journal.JournalError), journal.opened(path):
        pass
    assert json.loads(path.read_text()) == {"mine": True}


def test_two_sandboxes_cannot_hold_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with (
        journal.opened(path),
        pytest.raises(journal.JournalError, match="another sandbox"),
        journal.opened(path),
    ):
        pass


def test_a_journal_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(journal.JournalError, match="No such file"),
        journal.opened(tmp_path / "a/b"),
    ):
        pass
    with pytest.raises(journal.JournalError, match="directory"), journal.opened(tmp_path):
        pass


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_line_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, room: int) -> None:
    path = tmp_path / "journal"
    (kept,) = written(path, ["a fox"])
    whole = path.read_bytes()
    with journal.opened(path) as book:
        with file_size_limit(len(whole) + room), pytest.raises(journal.JournalError):
            book.record(kept)
        assert path.read_bytes() == whole
        book.record(kept)
        assert path.read_bytes() == whole + whole.splitlines(keepends=True)[1]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as a disk does that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_device_is_no_place_for_a_journal() -> None:
    with (
        pytest.raises(journal.JournalError, match="regular file"),
        journal.opened(Path("/dev/zero")),
    ):
        pass
