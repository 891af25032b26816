"""A task, its id and the states it goes through."""

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.models import Scalar
from batchgen.task import (
    SOURCES,
    TRANSITIONS,
    Status,
    Task,
    canonical_json,
    task_id,
)

SCALARS = st.text(max_size=20) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
PARAMS = st.dictionaries(st.text(max_size=10), SCALARS | st.booleans(), max_size=6)


@given(PARAMS, st.integers(1, 100), st.randoms(use_true_random=False))
def test_an_id_does_not_depend_on_the_order_of_the_parameters(
    params: dict[str, Scalar], repeat: int, rng: random.Random
) -> None:
    items = list(params.items())
    rng.shuffle(items)
    assert task_id("sandbox", dict(items), repeat) == task_id("sandbox", params, repeat)


@given(PARAMS, PARAMS)
def test_other_parameters_give_another_id(one: dict[str, Scalar], other: dict[str, Scalar]) -> None:
    same = canonical_json(one) == canonical_json(other)
    assert (task_id("sandbox", one, 1) == task_id("sandbox", other, 1)) == same


def test_an_id_depends_on_the_provider_and_the_copy() -> None:
    ids = {task_id(kind, {"a": 1}, copy) for kind in ("sandbox", "aimlapi") for copy in (1, 2)}
    assert len(ids) == 4


@given(PARAMS)
def test_an_id_is_twelve_letters_and_digits_of_a_file_name(params: dict[str, Scalar]) -> None:
    name = task_id("sandbox", params, 1)
    assert len(name) == 12
    assert set(name) <= set(string.ascii_lowercase + "234567")


def test_an_id_that_was_paid_for_never_changes() -> None:
    # Pinned: whoever changes this makes every video of every finished run again.
    params: dict[str, Scalar] = {
        "model": "wan/v2.1/1.3b/text-to-video",
        "prompt": "A red fox, 狐",
        "seed": 7,
        "guidance_scale": 2.5,
        "enable_prompt_expansion": False,
    }
    assert task_id("aimlapi", params, 1) == "hcxa3ykwfd2c"


def test_what_is_true_is_not_one_and_text_is_no_number() -> None:
    ids = {task_id("sandbox", {"a": value}, 1) for value in (True, 1, "1", "true")}
    assert len(ids) == 4


@given(PARAMS)
def test_a_body_is_ascii_json_of_exactly_the_parameters(params: dict[str, Scalar]) -> None:
    body = Task("id", 0, params, "t").body
    assert body.isascii()
    assert json.loads(body) == params


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": value})


def test_every_status_has_its_transitions_and_leads_only_to_statuses() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert set().union(*TRANSITIONS.values()) <= set(Status)


def test_the_table_read_backwards_is_the_same_table() -> None:
    forwards = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    backwards = {(source, target) for target, sources in SOURCES.items() for source in sources}
    assert forwards == backwards


def test_every_status_can_be_reached_and_no_status_follows_itself() -> None:
    reached, frontier = {Status.PENDING}, [Status.PENDING]
    while frontier:
        for target in TRANSITIONS[frontier.pop()] - reached:
            reached.add(target)
            frontier.append(target)
    assert reached == set(Status)
    assert all(status not in targets for status, targets in TRANSITIONS.items())


def test_only_a_submit_makes_a_generation_and_only_a_complete_one_succeeds() -> None:
    assert SOURCES[Status.SUBMITTING] == {Status.PENDING}
    assert SOURCES[Status.SUCCEEDED] == {Status.COMPLETED}
    assert SOURCES[Status.UNRESOLVED] == {Status.SUBMITTING}


def test_a_task_that_is_paid_for_and_under_way_never_goes_back_to_pending() -> None:
    assert not SOURCES[Status.PENDING] & {Status.IN_FLIGHT, Status.COMPLETED, Status.SUCCEEDED}


def test_the_manifest_knows_six_words() -> None:
    assert {status.exported for status in Status} == {
        "succeeded",
        "failed",
        "timed_out",
        "unresolved",
        "pending",
        "cancelled",
    }
