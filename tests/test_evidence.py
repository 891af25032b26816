"""Whether a submit in doubt was not taken, judged by known submits: the table, and its bounds."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.evidence import (
    FINEST,
    LEAST_ADOPTED,
    LEAST_KNOWN,
    MARGIN,
    Doubt,
    Known,
    Log,
    Ruling,
)


def known(count: int = 120, *, listed: float = 70.0, adopted: int = 6) -> list[Known]:
    """Submits that were all listed when they were looked for."""
    return [Known(listed=listed, adopted=n < adopted) for n in range(count)]


OLD = Doubt(absent=MARGIN * 70.0, before=True, after=True)


def test_a_doubt_that_a_log_known_to_be_complete_does_not_list_was_not_taken() -> None:
    verdict = Log(known()).judge(OLD)
    assert verdict.ruling is Ruling.AGAIN
    assert verdict.reason == (
        "120 known submits were in the provider's log within 70 s, 6 of them found there after a "
        "lost answer; this one was not there 700 s after it left, when the next one was"
    )


@pytest.mark.parametrize(
    ("log", "doubt", "ruling"),
    [
        (Log(known(), turned_up=True), OLD, Ruling.HOLD),
        (Log(known()), replace(OLD, repeated=True), Ruling.HOLD),
        (Log([]), OLD, Ruling.LEARN),
        (Log(known(LEAST_KNOWN - 1)), OLD, Ruling.LEARN),
        (Log([*known(LEAST_KNOWN - 1), Known()]), OLD, Ruling.WAIT),
        (Log([*known(LEAST_KNOWN - 1), Known(absent=600.0)]), OLD, Ruling.LEARN),
        (Log(known(LEAST_KNOWN)), OLD, Ruling.AGAIN),
        (Log(known(adopted=LEAST_ADOPTED - 1)), OLD, Ruling.LEARN),
        (Log(known(adopted=LEAST_ADOPTED)), OLD, Ruling.AGAIN),
        (Log([*known(), Known(absent=700.0)]), OLD, Ruling.HOLD),
        (Log([*known(), Known(absent=699.0)]), OLD, Ruling.WAIT),
        (Log([*known(), Known(absent=71.0)]), OLD, Ruling.WAIT),
        (Log([*known(), Known(absent=70.0)]), OLD, Ruling.AGAIN),
        (Log([*known(), Known()]), OLD, Ruling.AGAIN),
        (Log(known()), replace(OLD, absent=None), Ruling.WAIT),
        (Log(known()), replace(OLD, absent=699.0), Ruling.WAIT),
        (Log(known()), replace(OLD, before=False), Ruling.HOLD),
        (Log(known()), replace(OLD, before=None), Ruling.AGAIN),
        (Log(known()), replace(OLD, after=None), Ruling.LEARN),
        (Log(known()), replace(OLD, after=False), Ruling.WAIT),
    ],
    ids=[
        "a repeated one turned up",
        "submitted again before",
        "nothing is known",
        "a known one too few",
        "enough, with one that is looked for",
        "enough, with one that should be there by now",
        "just enough",
        "an adopted one too few",
        "just enough adopted",
        "a known one is missing at 10 t",
        "a known one is not there yet",
        "a known one is hardly late",
        "a known one is young",
        "a known one was not looked for yet",
        "not looked for",
        "looked for too soon",
        "the one before is not listed",
        "the first of all",
        "the last of all",
        "the one after is not listed",
    ],
)
def test_each_line_of_the_table(log: Log, doubt: Doubt, ruling: Ruling) -> None:
    assert log.judge(doubt).ruling is ruling


def test_a_doubt_is_looked_for_at_ten_times_what_known_submits_took() -> None:
    assert Log(known(listed=84.0)).judge(Doubt()).due == 840.0
    assert Log(known(listed=0.1)).judge(Doubt()).due == MARGIN * FINEST


def test_one_that_a_look_up_had_missed_sets_the_time() -> None:
    slow = Known(absent=40.0, listed=90.0)
    assert Log([*known(), slow]).within == 90.0


def test_those_looked_for_late_say_nothing_of_how_long_it_takes() -> None:
    """They were there, but nobody knows since when."""
    late = known(50, listed=9_000.0, adopted=0)
    assert Log([*known(), *late]).within == 70.0


@pytest.mark.parametrize("repeats", [0, 32, 33, 40, 200])
def test_the_expected_number_bought_twice_stays_under_one(repeats: int) -> None:
    log = Log(known(1000), repeats=repeats)
    allowed = log.needed
    assert 3 / allowed * (repeats + 1) < 1
    assert Log(known(allowed), repeats=repeats).judge(OLD).ruling is Ruling.AGAIN
    assert Log(known(allowed - 1), repeats=repeats).judge(OLD).ruling is Ruling.LEARN


AGES = st.floats(0.0, 1e4)
KNOWN = st.builds(
    Known,
    listed=st.none() | st.floats(0.0, 140.0),
    absent=st.none() | st.floats(0.0, 140.0),
    adopted=st.booleans(),
)
DOUBTS = st.builds(
    Doubt,
    absent=st.none() | AGES | st.just(1e4),
    repeated=st.booleans(),
    before=st.sampled_from([True, True, None, False]),
    after=st.sampled_from([True, True, None, False]),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Known]:
    """Enough known submits for the rule, most often, and a few of any kind."""
    return [
        *known(draw(st.integers(90, 140)), adopted=draw(st.integers(3, 9))),
        *draw(st.lists(KNOWN, max_size=5)),
    ]


def allows(seen: Sequence[Known], doubt: Doubt, repeats: int = 0) -> bool:
    return Log(seen, repeats=repeats).judge(doubt).ruling is Ruling.AGAIN


@given(seen=logs(), doubt=DOUBTS, absent=AGES)
def test_a_known_submit_that_is_missing_never_allows_anything(
    seen: list[Known], doubt: Doubt, absent: float
) -> None:
    before = allows(seen, doubt)
    after = allows([*seen, Known(absent=absent)], doubt)
    assert before or not after
    within = Log(seen).within
    if within is not None and absent > within:
        assert not after


@given(seen=logs(), doubt=DOUBTS, data=st.data())
def test_fewer_known_submits_never_allow_more(
    seen: list[Known], doubt: Doubt, data: st.DataObject
) -> None:
    """All but those that had been missed: they are what makes the rule slow."""
    quick = [each for each in seen if each.absent is None]
    slow = [each for each in seen if each.absent is not None]
    fewer = quick[: data.draw(st.integers(0, len(quick)))]
    assert allows(seen, doubt) or not allows([*fewer, *slow], doubt)


@given(
    seen=logs(),
    doubt=DOUBTS,
    sooner=st.floats(0.0, 1.0),
    repeats=st.integers(0, 100),
    more=st.integers(0, 100),
)
def test_looking_sooner_and_more_repeats_never_allow_more(
    seen: list[Known], doubt: Doubt, sooner: float, repeats: int, more: int
) -> None:
    allowed = allows(seen, doubt, repeats)
    assert allowed or not allows(seen, doubt, repeats + more)
    if doubt.absent is not None:
        assert allowed or not allows(seen, replace(doubt, absent=doubt.absent * sooner), repeats)


@given(seen=logs(), doubt=DOUBTS)
def test_witnesses_that_are_not_listed_never_allow_anything(
    seen: list[Known], doubt: Doubt
) -> None:
    assert not allows(seen, replace(doubt, before=False))
    assert not allows(seen, replace(doubt, after=False))
    assert not allows(seen, replace(doubt, after=None))


@given(
    quickest=st.floats(0.0, 400.0),
    factors=st.lists(st.sampled_from([1.0, 1.0, 2.0, MARGIN]), min_size=1, max_size=4),
    gap=st.floats(1.0, 20.0),
    every=st.floats(20.0, 120.0),
    doubtful=st.integers(0, 139),
    factor=st.sampled_from([1.0, 4.0, 9.0, MARGIN]),
)
def test_of_a_log_that_lists_all_and_varies_by_ten_no_taken_submit_is_repeated(
    quickest: float, factors: list[float], gap: float, every: float, doubtful: int, factor: float
) -> None:
    """However late the log is, however often it is looked at, and whichever submit is the doubt."""
    left = [gap * number for number in range(140)]
    delays = [quickest * factors[number % len(factors)] for number in range(140)]
    delays[doubtful] = quickest * factor
    seen = [Known(adopted=number % 20 == 0) for number in range(140)]
    when = left[doubtful]
    while seen[doubtful].listed is None:
        when += every
        for number, each in enumerate(seen):
            age = when - left[number]
            if age >= 0 and each.listed is None:
                there = age >= delays[number]
                seen[number] = replace(each, listed=age) if there else replace(each, absent=age)
        if (absent := seen[doubtful].absent) is not None and seen[doubtful].listed is None:
            others = seen[:doubtful] + seen[doubtful + 1 :]
            assert not allows(others, Doubt(absent, before=True, after=True))
