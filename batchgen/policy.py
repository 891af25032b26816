"""What is done about each trouble in each phase: one table, pure.

A submit can cost money, so anything that may have been taken is held, not repeated. A fetch and a
download are free, so they are repeated; only faults of the task itself use up its attempts.

"The API's" is an answer in the API's own error form (`Answered.from_api`); any other body is a
proxy's. Measured: Envoy 1.40 answers 503 to a POST that its upstream has received whole, so that
status alone proves nothing. 429 comes from a rate limiter, which refuses a request before it is
passed on, whoever runs it. Neither kind of refusal is certain, so what was refused is looked up in
the provider's log before it is repeated (`run/refused.py`). 303 says that the request was carried
out, 409 that something like it exists.

                        submit      fetch          download
    headers never sent  RETRY       RETRY          RETRY
    bad certificate     PAUSE       PAUSE          PAUSE
    private address     PAUSE       PAUSE          PAUSE
    refused by a proxy  PAUSE       PAUSE          PAUSE
    reset, timeout      HOLD        RETRY          RETRY
    2xx, unusable body  HOLD        RETRY          RETRY_COUNTED
    400 422             FAIL        RETRY_COUNTED  FRESH_URL
    400, account        PAUSE       PAUSE          FRESH_URL
    401                 PAUSE       PAUSE          FRESH_URL
    402 403             PAUSE       PAUSE          FRESH_URL
    403, the prompt     FAIL        RETRY_COUNTED  FRESH_URL
    404                 PAUSE       GRACE          FRESH_URL
    410                 PAUSE       GRACE          FRESH_URL
    408 425 500 502 504 HOLD        RETRY          RETRY
    52x                 HOLD        RETRY          RETRY
    413 414 431         FAIL        PAUSE          FAIL
    429, account        PAUSE       PAUSE          WAIT
    429                 WAIT        WAIT           WAIT
    503, the API's      WAIT        WAIT           WAIT
    503, a proxy's      HOLD        WAIT           WAIT
    303                 HOLD        PAUSE          FAIL
    other 3xx           PAUSE       PAUSE          FAIL
    409                 HOLD        RETRY_COUNTED  RETRY_COUNTED
    other 4xx           FAIL        RETRY_COUNTED  RETRY_COUNTED
    other               HOLD        RETRY          RETRY_COUNTED

A submit that was redirected otherwise was not taken: 307 and 308 ask for it to be made elsewhere
(RFC 9110, section 15.4), which is not done, and 301 and 302 are how a login page or a network's
portal in front of an API answers what it has not passed on. As any that was refused it is looked
up in the provider's log before it is repeated.
"""

import random
import re
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final

from batchgen.account import is_about_account
from batchgen.outcomes import (
    Answered,
    FetchOutcome,
    Interrupted,
    NotSent,
    SubmitOutcome,
    Trouble,
    Unusable,
    is_moderation,
)


class Phase(StrEnum):
    """Which request it was."""

    SUBMIT = "submit"
    FETCH = "fetch"
    DOWNLOAD = "download"


class Action(Enum):
    """What is done about it."""

    RETRY = "try again for as long as the run lasts; uses up no attempt"
    RETRY_COUNTED = "try again; uses up an attempt of the task"
    WAIT = "the server is busy: wait as it asks, ask for less at once"
    HOLD = "it may have been taken: never repeat it unasked, look it up"
    FAIL = "the task's own fault: it failed"
    FRESH_URL = "ask the provider for a new address of the same video"
    GRACE = "an id may be unknown for a while after it was given: ask again"
    PAUSE = "not the task's fault: all such requests to this host wait, nothing is failed"


_MAYBE_TAKEN: Final = frozenset({408, 425, 500, 502, 504})
_RATE: Final = re.compile(
    r"\b(?:too many|rate[ -]?limit\w*|slow down|throttl\w+|concurren\w+|at once|in parallel"
    r"|simultaneous\w*|(?:try|retry) again (?:in|after)"
    r"|(?:per|a|an|each) (?:second|minute|hour))\b",
    re.IGNORECASE,
)
"""Words by which a 429 speaks of how often or how many at once, whatever plan it also names."""


def decide(phase: Phase, trouble: Trouble) -> Action:
    """Look the trouble up in the table above."""
    match trouble:
        case NotSent(certificate=True) | NotSent(private=True) | NotSent(proxy=True):
            return Action.PAUSE
        case NotSent():
            return Action.RETRY
        case Interrupted():
            return Action.HOLD if phase is Phase.SUBMIT else Action.RETRY
        case Unusable():
            return (Action.HOLD, Action.RETRY, Action.RETRY_COUNTED)[_COLUMN[phase]]
        case Answered():
            return _row(trouble)[_COLUMN[phase]]


def _is_quota_used_up(answer: Answered) -> bool:
    """Tell a 429 about an empty account from one about the rate, which waiting mends.

    One that says when to come back, or speaks of a rate, is about the rate.
    """
    said = answer.message
    return answer.retry_after is None and is_about_account(said) and _RATE.search(said) is None


_COLUMN: Final = {Phase.SUBMIT: 0, Phase.FETCH: 1, Phase.DOWNLOAD: 2}
_Row = tuple[Action, Action, Action]
_ROWS: Final[Mapping[int, _Row]] = {
    status: row
    for statuses, row in (
        ((303,), (Action.HOLD, Action.PAUSE, Action.FAIL)),
        ((400, 422), (Action.FAIL, Action.RETRY_COUNTED, Action.FRESH_URL)),
        ((401, 402, 403), (Action.PAUSE, Action.PAUSE, Action.FRESH_URL)),
        ((404, 410), (Action.PAUSE, Action.GRACE, Action.FRESH_URL)),
        (_MAYBE_TAKEN, (Action.HOLD, Action.RETRY, Action.RETRY)),
        (range(520, 530), (Action.HOLD, Action.RETRY, Action.RETRY)),
        ((409,), (Action.HOLD, Action.RETRY_COUNTED, Action.RETRY_COUNTED)),
        ((413, 414, 431), (Action.FAIL, Action.PAUSE, Action.FAIL)),
        ((429,), (Action.WAIT, Action.WAIT, Action.WAIT)),
    )
    for status in statuses
}
"""The lines of statuses whose words do not matter."""


def _row(answer: Answered) -> _Row:
    """Return the table's line for an HTTP answer."""
    match answer.status:
        case 400 | 422 if is_about_account(answer.message):
            return Action.PAUSE, Action.PAUSE, Action.FRESH_URL
        case 403 if is_moderation(answer.message) and not is_about_account(answer.message):
            return Action.FAIL, Action.RETRY_COUNTED, Action.FRESH_URL
        case 429 if _is_quota_used_up(answer):
            return Action.PAUSE, Action.PAUSE, Action.WAIT
        case 503:
            return Action.WAIT if answer.from_api else Action.HOLD, Action.WAIT, Action.WAIT
        case status if status in _ROWS:
            return _ROWS[status]
        case status if 300 <= status < 400:
            return Action.PAUSE, Action.PAUSE, Action.FAIL
        case status if 400 <= status < 500:
            return Action.FAIL, Action.RETRY_COUNTED, Action.RETRY_COUNTED
        case _:
            return Action.HOLD, Action.RETRY, Action.RETRY_COUNTED


class Health(Enum):
    """What a request says of the host it went to."""

    WELL = "it answered, if only to say no"
    BROKEN = "the request left, and no answer came that a sound server gives"
    UNREACHED = "the request never left"


def health(phase: Phase, outcome: SubmitOutcome | FetchOutcome | None) -> Health:
    """Judge the host by what came of a request; None stands for a success of any kind.

    A busy server (429, 503) is a sound one. One that leaves submits in doubt is not, whatever it
    answers: each more would be one more to look up.
    """
    match outcome:
        case NotSent():
            return Health.UNREACHED
        case Answered() if phase is Phase.SUBMIT and decide(phase, outcome) is Action.HOLD:
            return Health.BROKEN
        case Interrupted() | Unusable():
            return Health.BROKEN
        case Answered(status=status) if status in _MAYBE_TAKEN or (status >= 500 and status != 503):
            return Health.BROKEN
        case _:
            return Health.WELL


RETRY_AFTER_CAP: Final = 900.0
"""Seconds; a server that asks for more gets this."""


def backoff(
    tries: int, rng: random.Random, *, base: float, cap: float, retry_after: float | None = None
) -> float:
    """Return seconds to wait before the next try.

    A server's own wish is honoured with 0-10% on top; otherwise full jitter, drawn from
    [0, min(cap, base * 2^tries)] (the "full jitter" of Amazon's Architecture Blog, 2015).

    Args:
        tries: Tries made so far, from 0.
        rng: Where chance comes from.
        base: Seconds.
        cap: Seconds.
        retry_after: What the server asked for, in seconds.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.0), RETRY_AFTER_CAP) * rng.uniform(1.0, 1.1)
    return rng.uniform(0.0, min(cap, base * 2.0 ** min(tries, 32)))
