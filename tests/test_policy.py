"""What is done about each trouble in each phase, and how long is waited."""

import asyncio
import itertools
import random
import re
import socket
import ssl

import aiohttp
import pytest
from aiohttp import client_exceptions
from hypothesis import given
from hypothesis import strategies as st

from batchgen import policy
from batchgen.outcomes import (
    Accepted,
    Answered,
    Completed,
    GenerationFailed,
    Interrupted,
    NotSent,
    NoVideo,
    Pending,
    Trouble,
    Unusable,
)
from batchgen.policy import RETRY_AFTER_CAP, Action, Health, Phase, backoff, decide, health

STATUSES = range(100, 600)
PHASES = (Phase.SUBMIT, Phase.FETCH, Phase.DOWNLOAD)
_NAMED: dict[str, list[Trouble]] = {
    "headers never sent": [NotSent("DNS")],
    "bad certificate": [NotSent("self-signed certificate", certificate=True)],
    "private address": [NotSent("198.18.0.7 is not a public address", private=True)],
    "refused by a proxy": [NotSent("HTTP 407", proxy=True)],
    "reset, timeout": [Interrupted("reset")],
    "2xx, unusable body": [Unusable("no id")],
    "400, account": [Answered(400, "insufficient balance"), Answered(422, "Out of credits.")],
    "403, the prompt": [Answered(403, "Forbidden: the content policy prohibits this prompt")],
    "429, account": [
        Answered(
            429, "You exceeded your current quota, please check your plan and billing details."
        ),
        Answered(429, "Insufficient credits"),
    ],
    "429": [Answered(429, "error code: 1015"), Answered(429, "Too many at once.", from_api=True)],
    "503, the API's": [Answered(503, "Overloaded.", 5.0, from_api=True)],
    # A wish to be asked later proves nothing.
    "503, a proxy's": [Answered(503, "no healthy upstream"), Answered(503, "", 30.0)],
    "52x": [Answered(status) for status in range(520, 530)],
    "other 3xx": [Answered(status) for status in range(300, 400) if status != 303],
}


def _table() -> list[tuple[str, list[Action]]]:
    rows = re.findall(
        r"^    (\S.*?)\s+([A-Z_]+) +([A-Z_]+) +([A-Z_]+)$", policy.__doc__ or "", re.MULTILINE
    )
    return [(name, [Action[word] for word in actions]) for name, *actions in rows]


def _troubles(name: str) -> list[Trouble]:
    """Return what a line of the table is about."""
    if name in _NAMED:
        return _NAMED[name]
    if name not in ("other 4xx", "other"):
        return [Answered(int(status)) for status in name.split()]
    said = {
        trouble.status
        for row, _ in _table()
        if row not in ("other 4xx", "other")
        for trouble in _troubles(row)
        if isinstance(trouble, Answered)
    }
    others = range(400, 500) if name == "other 4xx" else [*range(100, 300), *range(500, 600)]
    return [Answered(status) for status in others if status not in said]


def test_the_table_of_the_module_s_text_is_whole() -> None:
    assert [name for name, _ in _table()] == [
        "headers never sent",
        "bad certificate",
        "private address",
        "refused by a proxy",
        "reset, timeout",
        "2xx, unusable body",
        "400 422",
        "400, account",
        "401",
        "402 403",
        "403, the prompt",
        "404",
        "410",
        "408 425 500 502 504",
        "52x",
        "413 414 431",
        "429, account",
        "429",
        "503, the API's",
        "503, a proxy's",
        "303",
        "other 3xx",
        "409",
        "other 4xx",
        "other",
    ]
    statuses = [
        trouble.status
        for name, _ in _table()
        for trouble in _troubles(name)
        if isinstance(trouble, Answered)
    ]
    assert set(statuses) == set(STATUSES)
    said_twice = {status for status in statuses if statuses.count(status) > 1}
    assert said_twice == {400, 403, 422, 429, 503}, "only of these the body is looked at"


@pytest.mark.parametrize(("name", "actions"), _table())
def test_every_line_of_the_table_is_what_is_done(name: str, actions: list[Action]) -> None:
    for trouble in _troubles(name):
        assert [decide(phase, trouble) for phase in PHASES] == actions, trouble


@pytest.mark.parametrize("phase", PHASES)
def test_every_status_has_an_action(phase: Phase) -> None:
    assert {decide(phase, Answered(status)) for status in STATUSES} <= set(Action)


def test_a_submit_that_may_have_been_taken_is_never_repeated_unasked() -> None:
    repeating = (Action.RETRY, Action.RETRY_COUNTED, Action.WAIT, Action.FRESH_URL, Action.GRACE)
    for from_api in (True, False):
        repeated = {
            status
            for status in STATUSES
            if decide(Phase.SUBMIT, Answered(status, from_api=from_api)) in repeating
        }
        # Documented: nothing was taken. Of a server that is away a proxy cannot say that.
        assert repeated == ({429, 503} if from_api else {429})
    assert decide(Phase.SUBMIT, Interrupted("timeout")) is Action.HOLD
    assert decide(Phase.SUBMIT, Unusable("cut")) is Action.HOLD
    assert decide(Phase.SUBMIT, NotSent("refused")) is Action.RETRY


@given(
    status=st.sampled_from(STATUSES),
    message=st.text(),
    retry_after=st.none() | st.floats(0, 10**9),
    from_api=st.booleans(),
)
def test_no_words_of_a_server_make_a_submit_repeat(
    status: int, message: str, retry_after: float | None, *, from_api: bool
) -> None:
    action = decide(Phase.SUBMIT, Answered(status, message, retry_after, from_api=from_api))
    assert action is not Action.RETRY
    assert (action is Action.WAIT) == (status == 429 or (from_api and status == 503))


@pytest.mark.parametrize(
    "message",
    [
        "You exceeded your current quota, please check your plan and billing details.",
        "Your plan's monthly quota is exhausted",
        "not enough credits",
        "Payment required",
    ],
)
def test_a_429_about_the_account_pauses_submits_as_any_empty_account_does(message: str) -> None:
    assert decide(Phase.SUBMIT, Answered(429, message)) is Action.PAUSE
    assert decide(Phase.SUBMIT, Answered(429, message, 20.0, from_api=True)) is Action.WAIT
    assert decide(Phase.DOWNLOAD, Answered(429, message)) is Action.WAIT


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Too Many Requests",
        "Rate limit reached for your current plan: 60 requests per minute",
        "Your plan allows 2 concurrent generations",
        "Quota exceeded for quota metric 'requests' and limit 'requests per minute'",
        "Your subscription is limited to 4 jobs at once",
        "Slow down, or upgrade your plan; try again in 3 s",
        "Rate-limiting your API key: no more than 5 a second",
    ],
)
def test_a_429_about_the_rate_is_waited_out_whatever_plan_it_names(message: str) -> None:
    for phase in PHASES:
        assert decide(phase, Answered(429, message, from_api=True)) is Action.WAIT


@pytest.mark.parametrize("from_api", [True, False])
def test_an_answer_5xx_to_a_submit_is_held_unless_the_api_itself_says_busy(
    *,
    from_api: bool,
) -> None:
    held = {
        status
        for status in range(500, 600)
        if decide(Phase.SUBMIT, Answered(status, from_api=from_api)) is Action.HOLD
    }
    assert held == set(range(500, 600)) - ({503} if from_api else set())


def test_a_fetch_never_fails_a_task_at_once() -> None:
    for status in STATUSES:
        assert decide(Phase.FETCH, Answered(status)) not in (Action.FAIL, Action.HOLD)


def test_a_download_is_never_held_and_never_stops_the_run() -> None:
    for status in STATUSES:
        action = decide(Phase.DOWNLOAD, Answered(status))
        assert action not in (Action.HOLD, Action.PAUSE, Action.GRACE)


@pytest.mark.parametrize(
    "message",
    [
        "Insufficient balance",
        "you are out of credits",
        "Billing hard limit",
        "invalid API key",
        "quota exceeded",
        "payment required",
        "Please update your billing details",
        "Your subscription has expired",
        "top up your account",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_400_about_the_account_pauses_the_run_and_fails_no_task(
    status: int, message: str
) -> None:
    assert decide(Phase.SUBMIT, Answered(status, message)) is Action.PAUSE


def test_a_403_about_a_prompt_is_that_task_s_and_one_about_the_account_is_everyone_s() -> None:
    prompt = Answered(403, "Prompt rejected by the safety system")
    assert decide(Phase.SUBMIT, prompt) is Action.FAIL
    account = Answered(403, "Out of credits; see our safety pages")
    assert decide(Phase.SUBMIT, account) is Action.PAUSE


@pytest.mark.parametrize(
    "message",
    [
        "",
        "prompt is too long",
        "seed must be an integer",
        "discredited",
        "keyframes",
        "rejected: a gymnast keeps her balance",
        "rejected: a mountain of subscription boxes",
        "rejected: two doves, billing and cooing",
        "rejected: snow will top up the glacier",
        "rejected: an API key cast in bronze",
    ],
)
def test_a_400_about_the_task_fails_the_task(message: str) -> None:
    assert decide(Phase.SUBMIT, Answered(400, message)) is Action.FAIL


@given(
    st.integers(0, 10**6),
    st.integers(),
    st.floats(0.001, 100),
    st.floats(0.001, 1000),
)
def test_a_backoff_is_within_its_bounds(tries: int, seed: int, base: float, cap: float) -> None:
    wait = backoff(tries, random.Random(seed), base=base, cap=cap)
    assert 0 <= wait <= cap
    assert wait <= base * 2.0 ** min(tries, 32)


@given(st.integers(), st.floats(-1e9, 1e12))
def test_a_server_s_wish_is_honoured_with_a_tenth_on_top_up_to_the_cap(
    seed: int, asked: float
) -> None:
    wait = backoff(0, random.Random(seed), base=1, cap=60, retry_after=asked)
    honoured = min(max(asked, 0.0), RETRY_AFTER_CAP)
    assert honoured <= wait <= honoured * 1.1


def test_backoffs_double_on_average_until_the_cap() -> None:
    rng = random.Random(1)
    means = [
        sum(backoff(tries, rng, base=1, cap=60) for _ in range(4000)) / 4000 for tries in range(9)
    ]
    wanted = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert means == pytest.approx(wanted, rel=0.1)


# The same once more, written down apart from the module: what people were promised.

PROMISED: dict[str, tuple[tuple[int, ...], str]] = {
    # statuses: what becomes of a submit, a poll, a download
    "a bad request": ((400, 422), "fail, count, fresh"),
    "a key that is not taken": ((401,), "pause, pause, fresh"),
    "no credits, not allowed": ((402, 403), "pause, pause, fresh"),
    "no such place": ((404,), "pause, grace, fresh"),
    "gone": ((410,), "pause, grace, fresh"),
    "a server in trouble": ((408, 425, 500, 502, 504), "hold, retry, retry"),
    "a proxy in trouble": (tuple(range(520, 530)), "hold, retry, retry"),
    "too large": ((413, 414, 431), "fail, pause, fail"),
    "a rate limiter": ((429,), "wait, wait, wait"),
    "a proxy whose server is away": ((503,), "hold, wait, wait"),
    "done, look there": ((303,), "hold, pause, fail"),
    "elsewhere": (tuple(range(300, 400)), "pause, pause, fail"),
    "something like it exists": ((409,), "hold, count, count"),
}
WORDS = {
    "fail": Action.FAIL,
    "count": Action.RETRY_COUNTED,
    "fresh": Action.FRESH_URL,
    "pause": Action.PAUSE,
    "grace": Action.GRACE,
    "hold": Action.HOLD,
    "retry": Action.RETRY,
    "wait": Action.WAIT,
}
NOT_NAMED = {
    # The rest of what HTTP can say: a client's fault took nothing, anything else may have.
    "4xx": "fail, count, count",
    "any": "hold, retry, count",
}


def _promised(status: int, *, from_api: bool = False) -> list[Action]:
    if from_api and status == 503:
        return [Action.WAIT, Action.WAIT, Action.WAIT]
    for statuses, actions in PROMISED.values():
        if status in statuses:
            return [WORDS[word] for word in actions.split(", ")]
    actions = NOT_NAMED["4xx" if status // 100 == 4 else "any"]
    return [WORDS[word] for word in actions.split(", ")]


def test_every_http_status_is_dealt_with_as_promised_in_every_phase() -> None:
    for status, from_api in itertools.product(STATUSES, (True, False)):
        done = [decide(phase, Answered(status, from_api=from_api)) for phase in PHASES]
        assert done == _promised(status, from_api=from_api), status


@given(
    status=st.sampled_from(STATUSES),
    message=st.text(),
    retry_after=st.none() | st.floats(allow_nan=True),
    from_api=st.booleans(),
)
def test_words_and_waits_change_nothing_but_a_400_or_429_about_the_account(
    status: int, message: str, retry_after: float | None, *, from_api: bool
) -> None:
    answer = Answered(status, message, retry_after, from_api=from_api)
    said = [decide(phase, answer) for phase in PHASES]
    promised = _promised(status, from_api=from_api)
    if status in (400, 422) and said != promised:
        assert said == [Action.PAUSE, Action.PAUSE, Action.FRESH_URL]
    elif status == 429 and said != promised:
        assert said == [Action.PAUSE, Action.PAUSE, Action.WAIT]
    else:
        assert said == promised


@given(
    st.sampled_from(["insufficient credits", "Out of credits.", "billing issue", "quota exceeded"]),
    st.text(max_size=40),
    st.text(max_size=40),
    st.sampled_from([400, 422]),
)
def test_trouble_with_the_account_is_found_in_any_sentence(
    phrase: str, before: str, behind: str, status: int
) -> None:
    said = Answered(status, f"{before} {phrase} {behind}")
    assert decide(Phase.SUBMIT, said) is decide(Phase.FETCH, said) is Action.PAUSE


PHASES_AND_WHAT_MAY_HAVE_LEFT: dict[type[Trouble], tuple[Action, Action, Action]] = {
    NotSent: (Action.RETRY, Action.RETRY, Action.RETRY),
    Interrupted: (Action.HOLD, Action.RETRY, Action.RETRY),
    Unusable: (Action.HOLD, Action.RETRY, Action.RETRY_COUNTED),
}


@given(st.text(), st.sampled_from(list(PHASES_AND_WHAT_MAY_HAVE_LEFT)))
def test_without_an_answer_only_what_may_have_left_counts_and_never_the_words(
    reason: str, kind: type[NotSent | Interrupted | Unusable]
) -> None:
    done = tuple(decide(phase, kind(reason)) for phase in PHASES)
    assert done == PHASES_AND_WHAT_MAY_HAVE_LEFT[kind]


@given(st.text())
def test_a_bad_certificate_pauses_every_phase(reason: str) -> None:
    for phase in PHASES:
        assert decide(phase, NotSent(reason, certificate=True)) is Action.PAUSE


def test_a_host_is_broken_only_by_what_no_sound_server_says() -> None:
    for phase in (Phase.FETCH, Phase.DOWNLOAD):
        broken = {status for status in STATUSES if health(phase, Answered(status)) is Health.BROKEN}
        assert broken == {408, 425, *range(500, 600)} - {503}
        left = set(STATUSES) - broken
        assert {health(phase, Answered(status)) for status in left} == {Health.WELL}


@pytest.mark.parametrize("from_api", [True, False])
def test_a_host_that_leaves_a_submit_in_doubt_is_broken_whatever_it_answers(
    *, from_api: bool
) -> None:
    for status in STATUSES:
        said = Answered(status, from_api=from_api)
        held = decide(Phase.SUBMIT, said) is Action.HOLD
        assert (health(Phase.SUBMIT, said) is Health.BROKEN) == held, said


def test_a_host_is_well_whatever_it_says_of_a_task() -> None:
    words = (
        Accepted("id"),
        Pending("queued"),
        Completed("https://h/x.mp4"),
        NoVideo("none"),
        GenerationFailed("moderation", "no"),
        None,
    )
    for phase in PHASES:
        assert {health(phase, outcome) for outcome in words} == {Health.WELL}
        assert health(phase, NotSent("refused")) is Health.UNREACHED
        assert health(phase, Interrupted("reset")) is Health.BROKEN
        assert health(phase, Unusable("no id")) is Health.BROKEN


def _raised_by_connections() -> list[type[BaseException]]:
    """List every exception that aiohttp, ssl and sockets have for what a network does."""
    names = itertools.chain(
        (getattr(client_exceptions, name) for name in client_exceptions.__all__),
        *(vars(module).values() for module in (ssl, socket, asyncio)),
        OSError.__subclasses__(),
        ConnectionError.__subclasses__(),
    )
    found = {each for each in names if isinstance(each, type) and issubclass(each, BaseException)}
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


NOT_OF_A_CONNECTION = {
    # asyncio's own tools, a file's end in a stream we do not use, a WebSocket's.
    "BrokenBarrierError",
    "CancelledError",
    "IncompleteReadError",
    "InvalidStateError",
    "LimitOverrunError",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "SendfileNotAvailableError",
    "WSMessageTypeError",
    "_GiveupOnSendfile",
}


def test_whatever_a_connection_raises_is_of_a_family_that_both_edges_catch() -> None:
    strangers = {
        each.__name__
        for each in _raised_by_connections()
        if not issubclass(each, (aiohttp.ClientError, TimeoutError, OSError))
    }
    assert strangers <= NOT_OF_A_CONNECTION
