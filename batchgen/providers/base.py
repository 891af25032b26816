"""The seam between a run and the outside: what a provider of videos must be able to do."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from batchgen.job import ProviderSettings
from batchgen.outcomes import FetchOutcome, LookUp, SubmitOutcome, Trouble

BASE_URLS: Final = {"aimlapi": "https://api.aimlapi.com"}
"""Where a provider is when the job does not say; the sandbox is wherever it was started."""

Pace = Callable[[], Awaitable[object]]


async def at_once() -> None:
    """Let a request go without a wait."""


def lasting_base_url(settings: ProviderSettings) -> str | None:
    """Return the root of the API that a later run will find there again.

    None for the sandbox inside a run, which has another port in each.
    """
    return settings.base_url or BASE_URLS.get(settings.kind)


class Provider(Protocol):
    """A provider of videos. No method raises for what a server or the network does."""

    @property
    def base_url(self) -> str:
        """Root of the API, for messages and for judging the addresses it hands out."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the provider's clock is ahead of ours; None while unknown."""

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        """POST once, never twice, following no redirect.

        Cancelling it leaves the submit in doubt.
        """

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        """Ask how a generation stands. Cancelling it costs nothing.

        Args:
            generation_id: The generation.
            model: The model it was submitted to, which may not be the job's any more; None takes
                the job's.
        """

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        """Look submits up in the provider's request log.

        A submit that is found was taken; one that is not may have been taken all the same.

        Args:
            client_request_ids: What the submits were sent with; None looks for all there are.
            since: Unix seconds by our clock; nothing older is looked at.
            pace: Awaited before each request; a long log takes many.

        Returns:
            What was found, and whether the log was read to its end.
        """

    async def price(self) -> float | Trouble | None:
        """Ask what one video costs.

        Returns:
            US dollars; None where the provider names no fixed price; a trouble where it did not
            answer, and may later.
        """
