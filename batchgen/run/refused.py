"""Refused submits, looked up in the provider's log before they are repeated.

A server can answer 503 or 429 to a submit that it took, and so can a proxy in front of it. A row of
the log proves that; where the log lacks the submit, or cannot be read, the refusal is believed.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from anyio import Lock

from batchgen.outcomes import LookUp

LOOKS: Final = 5
"""Look-ups in a row that could not read the log to its end, after which refusals are believed.

Bounded: not every provider has a log, and a gateway that limits the log as well would otherwise
stop a run, or leave as many tasks unresolved as it refuses.
"""
LOOK_AGAIN_SECONDS: Final = 10.0
LEAST_AGE: Final = 1.0
"""Seconds after a submit before which a look-up made for others says nothing about it."""

Ask = Callable[[Collection[str], float], Awaitable[LookUp]]
"""Asks the log for client request ids, from Unix seconds on."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A submit that was refused and waits to be repeated.

    Attributes:
        client_request_id: What it was sent with.
        at: Unix seconds of the submit.
    """

    client_request_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a look-up says of one submit.

    Attributes:
        generation_id: The generation it became; None where the log does not name it.
        listed: Whether the log has it, so that it was taken, if only without an id of any use.
        whole: Whether the log was read to its end.
    """

    generation_id: str | None
    listed: bool
    whole: bool


class Refusals:
    """The refused submits that wait: the first of them to go on has all of them looked up."""

    def __init__(self) -> None:
        self._waiting: dict[str, float] = {}
        self._looks: dict[str, Look] = {}
        self._asking = Lock()
        self._unread = 0

    @property
    def unreadable(self) -> bool:
        """Tell whether the log cannot be read, as far as the latest look-ups show."""
        return self._unread >= LOOKS

    @contextmanager
    def waiting(self, refused: Refused) -> Iterator[None]:
        """Have a submit looked up together with others, from its refusal until it goes on."""
        self._waiting[refused.client_request_id] = refused.at
        try:
            yield
        finally:
            del self._waiting[refused.client_request_id]
            self._looks.pop(refused.client_request_id, None)

    async def look_up(self, refused: Refused, ask: Ask, now: float) -> Look:
        """Return what the log says of a waiting submit that was not looked up since.

        Args:
            refused: The submit.
            ask: Reads the log.
            now: Unix seconds.
        """
        name = refused.client_request_id
        async with self._asking:
            if name not in self._looks:
                asked = {
                    each: at
                    for each, at in self._waiting.items()
                    if each == name or at <= now - LEAST_AGE
                }
                log = await ask(asked.keys(), min(asked.values()))
                self._unread = 0 if log.whole else self._unread + 1
                for each in asked.keys() & self._waiting.keys():
                    found = log.found.get(each)
                    listed = found is not None or each in log.without_id
                    self._looks[each] = Look(found, listed, log.whole)
            return self._looks.pop(name)
