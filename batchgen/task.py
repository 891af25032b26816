"""A task, one video wanted, and the states it goes through.

Pure. A task never changes; what happens to it is the ledger's to know.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from batchgen.models import Scalar


class Status(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    """The intent is durable; whether the provider has it is not known yet."""
    IN_FLIGHT = "in_flight"
    """The provider gave a generation id, which is durable."""
    COMPLETED = "completed"
    """The video exists at the provider and is being fetched."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UNRESOLVED = "unresolved"
    """A submit whose fate is unknown: it may have been paid for."""

    @property
    def exported(self) -> str:
        """The word the manifest uses: what is under way is still pending to its readers."""
        return "pending" if self in UNDER_WAY else self.value


UNDER_WAY: Final = frozenset({Status.SUBMITTING, Status.IN_FLIGHT, Status.COMPLETED})

TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.SUBMITTING, Status.CANCELLED}),
        # Back to pending is for a submit that provably took nothing.
        Status.SUBMITTING: frozenset(
            {Status.IN_FLIGHT, Status.PENDING, Status.FAILED, Status.UNRESOLVED}
        ),
        Status.IN_FLIGHT: frozenset({Status.COMPLETED, Status.FAILED, Status.TIMED_OUT}),
        # Back to in_flight is for a video URL that has expired.
        Status.COMPLETED: frozenset({Status.SUCCEEDED, Status.FAILED, Status.IN_FLIGHT}),
        # A file that vanished is fetched again from its id; nothing is paid twice.
        Status.SUCCEEDED: frozenset({Status.IN_FLIGHT}),
        Status.FAILED: frozenset({Status.PENDING, Status.IN_FLIGHT}),
        Status.TIMED_OUT: frozenset({Status.PENDING, Status.IN_FLIGHT}),
        # One that was given up in doubt may turn up after all.
        Status.CANCELLED: frozenset({Status.PENDING, Status.IN_FLIGHT}),
        Status.UNRESOLVED: frozenset({Status.IN_FLIGHT, Status.PENDING, Status.CANCELLED}),
    }
)
"""Which status may follow which."""

SOURCES: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        target: frozenset(source for source, targets in TRANSITIONS.items() if target in targets)
        for target in Status
    }
)
"""The same table read backwards: where a task may come from."""


class Cause(StrEnum):
    """The phase a task failed in: what a next run may do about it depends on it."""

    SUBMIT = "submit"
    """The provider said no; nothing was made."""
    GENERATION = "generation"
    """The provider made nothing of it and charged nothing."""
    FETCH = "fetch"
    """The id is good, its answer was not: polling it again is free."""
    DOWNLOAD = "download"
    """The video exists, its file could not be had: fetching it again is free."""


FORGOTTEN: Final = "forgotten"
"""The error code of a task whose generation id the provider gave and no longer knows."""


@dataclass(frozen=True, slots=True)
class Task:
    """One video wanted.

    Attributes:
        task_id: 12 characters, the same for the same request on any machine.
        index: Place in the expansion of the job, from 0.
        params: The request body as it will be sent, `model` and `prompt` included.
        prompt_id: The id the job file gives the prompt, if any.
        prompt_template: The prompt as written, before its variables were filled in.
        variables: Values of the prompt's variables.
        repeat: Number of the copy, from 1.
        prompt_number: Which prompt of the job, from 0.
        cell: Which of that prompt's tasks, from 0.
    """

    task_id: str
    index: int
    params: Mapping[str, Scalar]
    prompt_template: str
    prompt_id: str | None = None
    variables: Mapping[str, Scalar] = field(default_factory=dict)
    repeat: int = 1
    prompt_number: int = 0
    cell: int = 0

    @property
    def prompt(self) -> str:
        """The prompt's text, variables filled in."""
        return str(self.params["prompt"])

    @property
    def body(self) -> bytes:
        """The request body, JSON in UTF-8, equal bytes for equal requests."""
        return canonical_json(dict(self.params))


_CANONICAL: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
).encode


def canonical_json(value: object) -> bytes:
    """Encode `value` as JSON with one spelling: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ValueError: `value` holds NaN or an infinity.
    """
    return _CANONICAL(value).encode("ascii")


def spelled(value: Scalar) -> str:
    """Write one value as `canonical_json` does, in a fraction of the time.

    Raises:
        ValueError: `value` is NaN or an infinity.
    """
    # By type and not by isinstance: True is an int that JSON writes as a word.
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    return _CANONICAL(value)


def task_id(provider_kind: str, params: Mapping[str, Scalar], repeat: int) -> str:
    """Hash what is sent, to whom, and the copy's number into an id."""
    return hashed_id(canonical_json([provider_kind, dict(params), repeat]))


_SIGNS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = tuple(first + second for first in _SIGNS for second in _SIGNS)


def hashed_id(request: bytes) -> str:
    """Hash a request in its one spelling into 12 characters of base 32 (60 bits).

    At 1,000,000 tasks the chance that two of them share an id is 4e-7 (birthday bound n^2 / 2^61).
    """
    bits = int.from_bytes(hashlib.sha256(request).digest()[:8], "big") >> 4
    # Ten bits at once: base64.b32encode takes four times as long, which a million tasks feel.
    return (
        f"{_PAIRS[bits >> 50]}{_PAIRS[bits >> 40 & 1023]}{_PAIRS[bits >> 30 & 1023]}"
        f"{_PAIRS[bits >> 20 & 1023]}{_PAIRS[bits >> 10 & 1023]}{_PAIRS[bits & 1023]}"
    )
