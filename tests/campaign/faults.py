"""The faults of a night: every kind there is, on a fifth of the requests of each phase."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Rule = dict[str, Any]

SHARE: Final = 0.2

# Each kind with its weight. What costs a real timeout is rare: a night has only so many slots.
_BUSY: Final[Sequence[tuple[float, Rule]]] = (
    (1, {"do": "status", "status": 503, "retry_after": 2}),
    (1, {"do": "status", "status": 429, "retry_after": 1}),
    (1, {"do": "status", "status": 429, "retry_after": "soon"}),
    (1, {"do": "status", "status": 429, "retry_after": -5}),
    (1, {"do": "status", "status": 503, "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
)
_ANY: Final[Sequence[tuple[float, Rule]]] = (
    (2, {"do": "delay", "seconds": 0.2}),
    (1, {"do": "reset", "when": "before"}),
    (1, {"do": "reset", "when": "after"}),
    (0.05, {"do": "hang"}),
    (2, {"do": "close_idle"}),
    (1, {"do": "html"}),
    (1, {"do": "cut_body"}),
    (1, {"do": "garbage"}),
    (0.05, {"do": "huge"}),
    (0.2, {"do": "deep"}),
    (0.5, {"do": "nan"}),
    (1, {"do": "gzip"}),
    (0.05, {"do": "bomb"}),
)
_SUBMIT: Final[Sequence[tuple[float, Rule]]] = (
    # Each halves the limit, nearly: a few in a hundred would have the night crawl.
    *((0.03 * weight, rule) for weight, rule in _BUSY),
    (4, {"do": "lose_answer"}),
    *(
        (0.7, {"do": "status", "status": status, "taken": taken})
        for status in (408, 425, 500, 502, 504, 520)
        for taken in (True, False)
    ),
    *(
        (0.3, {"do": "status", "status": 503, "by": "proxy", "taken": taken})
        for taken in (True, False)
    ),
    *((0.1, {"do": "status", "status": status}) for status in (400, 413, 414, 422, 431)),
    (0.05, {"do": "hang", "taken": True}),
    (0.05, {"do": "hang", "taken": False}),
    # What a proxy says of a submit that its upstream has taken, or has not.
    *(
        (0.7, {"do": "status", "status": status, "by": "proxy", "taken": taken})
        for status in (303, 409, 429, 503)
        for taken in (True, False)
    ),
    (1, {"do": "no_id"}),
    *((0.5, {"do": "same_id", "taken": taken}) for taken in (True, False)),
    (0.5, {"do": "cut_body", "keep_id_header": True}),
    (0.5, {"do": "cut_body", "keep_id_header": False}),
    *(
        # Some of these no client can use: a second submit of the same task is spared.
        (0.3, {"do": "odd_id", "style": style, "each": 1})
        for style in ("slash", "percent", "query", "long", "control")
    ),
    (0.5, {"do": "fail"}),
    (0.5, {"do": "fail", "code": "moderation"}),
    (0.02, {"do": "stuck"}),
)
_FETCH: Final[Sequence[tuple[float, Rule]]] = (
    *_BUSY,
    *((1, {"do": "status", "status": status}) for status in (408, 425, 500, 502, 504, 522)),
    *((0.3, {"do": "status", "status": status}) for status in (400, 404, 410, 418, 422)),
    (2, {"do": "unknown_id", "for": 20}),
    # Each takes a slot, or the end of a run, for the whole time of a generation.
    (0.02, {"do": "forgotten_id", "after": 1}),
    (0.02, {"do": "broken_id"}),
    (2, {"do": "others_answer"}),
    *((1, {"do": "status_word", "word": word}) for word in ("pondering", "COMPLETED", "missing")),
    (1, {"do": "new_fields"}),
    (0.5, {"do": "wrong_size"}),
    *(
        (0.7, {"do": "no_video", "style": style})
        for style in ("none", "null", "empty_list", "relative", "data")
    ),
)
_DOWNLOAD: Final[Sequence[tuple[float, Rule]]] = (
    *_BUSY,
    *(
        (2, {"do": "cut", "framing": framing, "at": "50%"})
        for framing in ("content_length", "chunked", "close", "early_terminator")
    ),
    *(
        (0.5, {"do": "wrong_body", "style": style})
        for style in ("html", "xml", "empty", "one_byte")
    ),
    *((1, {"do": "expired", "status": status}) for status in (403, 404, 410)),
    *((0.05, {"do": "status", "status": status}) for status in (413, 431)),
    (1, {"do": "changed_etag"}),
    (0.5, {"do": "claims"}),
    (0.1, {"do": "trickle"}),
    *(
        (0.2, {"do": "redirect", "to": to})
        for to in (
            "http://169.254.169.254/",
            "http://[::ffff:127.0.0.1]:1/",
            "http://127.0.0.1:1/",
            "file:///etc/passwd",
        )
    ),
)
_REST: Final[Sequence[tuple[float, Rule]]] = (
    (1, {"do": "ignore_range"}),
    (1, {"do": "wrong_range"}),
    (1, {"do": "range_416"}),
)
"""Done to requests for the rest of a file only, to a fifth of these."""
_LOGS: Final[Sequence[tuple[float, Rule]]] = (
    *_BUSY,
    *((2, {"do": "status", "status": status}) for status in (500, 502, 504)),
)

_PROBED: Final[Sequence[Rule]] = (
    {"on": "submit", "do": "status", "status": 404},
    {"on": "submit", "do": "redirect", "status": 307, "to": "http://127.0.0.1:1/"},
    {"on": "fetch", "do": "status", "status": 413},
    {"on": "fetch", "do": "redirect", "status": 302, "to": "http://127.0.0.1:1/"},
)
"""Settings are wrong, it seems: such requests are tried again. Each comes once."""
_PAUSES_THE_RUN: Final[Sequence[Rule]] = (
    {"on": "submit", "do": "refuse_key"},
    {"on": "fetch", "do": "refuse_key"},
    {"on": "submit", "do": "no_credits"},
    {"on": "submit", "do": "no_credits", "status": 429},
    {"on": "submit", "do": "status", "status": 429, "retry_after": 1e9},
    {"on": "download", "do": "endless"},
)
"""Minutes of the hurried clock are lost to each, so each comes once."""


ROWS: Final[Mapping[str, Sequence[Rule]]] = {
    "honest": (),
    "late": ({"on": "logs", "do": "late_rows", "for": "100s"},),
    "partial": ({"on": "logs", "do": "lost_rows", "share": "10%"},),
    "empty": ({"on": "logs", "do": "lost_rows"},),
    "blind": ({"on": "logs", "do": "lost_rows", "of": "unanswered"},),
}
"""What a night's log may be like: the blind one never lists what was not answered."""
TRUSTED: Final = frozenset({"honest", "late"})


def fault_plan(seed: int, tasks: int, log: str = "honest") -> dict[str, Any]:
    """Return the plan, in the form that `batchgen serve --faults` takes.

    Args:
        seed: Chooses which requests are met.
        tasks: How many the night has: what comes once comes somewhere among them.
        log: What the log is like, a name in `ROWS`.
    """
    once = [*_PROBED, *_PAUSES_THE_RUN]
    gap = tasks // (len(once) + 1)
    return {
        "seed": seed,
        "clock_ahead": ("10m", "-10m")[seed % 2],
        "faults": [
            *({**rule, "skip": gap * place, "first": 1} for place, rule in enumerate(once, 1)),
            *_shared("submit", (*_ANY, *_SUBMIT)),
            *_shared("fetch", (*_ANY, *_FETCH)),
            *_shared("download", _REST),
            *_shared("download", (*_ANY, *_DOWNLOAD)),
            *_shared("logs", (*_ANY, *_LOGS)),
            *ROWS[log],
            *_shared("models", _ANY),
        ],
    }


def _shared(on: str, weighted: Iterable[tuple[float, Rule]]) -> list[Rule]:
    """Give each rule a rate, so that together they meet `SHARE` of the requests.

    The first rule that fires wins, so what the next ones see is less by each.
    """
    rules = list(weighted)
    total = sum(weight for weight, _ in rules)
    return [
        {"on": on, **rule, "rate": 1 - (1 - SHARE) ** (weight / total)} for weight, rule in rules
    ]
