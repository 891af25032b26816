"""The AI/ML API over HTTP: the only room that knows the key, and sends it to one origin only."""

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import aiohttp

from batchgen._version import __version__
from batchgen.clock_offset import ClockOffset
from batchgen.connection_errors import unconnected
from batchgen.departure import Departure, departures
from batchgen.headers import with_date
from batchgen.job import TimeoutSettings
from batchgen.outcomes import (
    Answered,
    FetchOutcome,
    Interrupted,
    LookUp,
    NotSent,
    SubmitOutcome,
    Trouble,
)
from batchgen.policy import Action, Phase, decide
from batchgen.providers import wire
from batchgen.providers.base import Pace, at_once
from batchgen.proxies import ProxyError, proxy_for
from batchgen.terminal import printable

MAX_BODY_BYTES: Final = 1 << 20
"""An answer is a few hundred bytes; a page of the log some 30 kB."""
SECRET_CHARACTERS: Final = 8
"""Shorter keys are the sandbox's: they hide nothing."""
LOG_PAGE: Final = 100
LOG_PAGES: Final = 100
LOG_PAGE_TRIES: Final = 3
LOG_READINGS: Final = 2
"""A second time if its own answers show that the clock there is off by more than was known."""
LOG_WINDOW: Final = 92 * 86_400.0 - 3_600.0
"""Seconds the log may be asked about at once: 92 days, less an hour to be sure."""
CLOCK_SLACK: Final = 300.0
"""Seconds by which the provider's clock may be off from what is known of it when its log is read:
also a clock of ours that was set back just now is within."""

Outcome = TypeVar("Outcome", SubmitOutcome, FetchOutcome)


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that no representation shows."""

    value: str

    def __repr__(self) -> str:
        """Show that there is one, and nothing of it."""
        return "Secret(…)"

    def hidden_in(self, text: str) -> str:
        """Take the key out of a text. One of a few signs is no secret, and part of honest words."""
        return text.replace(self.value, "***") if len(self.value) >= SECRET_CHARACTERS else text

    def remove_from(self, body: bytes) -> bytes:
        """Take the key out of the bytes a server sent."""
        if len(self.value) < SECRET_CHARACTERS:
            return body
        return body.replace(self.value.encode("ascii"), b"***")


class AimlApi:
    """One model at one origin. Made by `connect`, which owns the connections."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        model: str,
        *,
        submits: aiohttp.ClientSession,
        queries: aiohttp.ClientSession,
        timeouts: TimeoutSettings,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._clock = ClockOffset()
        self._base_url = base_url
        self._key = key
        self._model = model
        self._submits = submits
        self._queries = queries
        self._submit_timeout = aiohttp.ClientTimeout(
            # The read timeout is the submit's own; connecting is bounded like any request.
            total=timeouts.submit + timeouts.request,
            sock_connect=timeouts.request,
            sock_read=timeouts.submit,
        )
        self._query_timeout = aiohttp.ClientTimeout(total=timeouts.request)

    @property
    def base_url(self) -> str:
        """Root of the API."""
        return self._base_url

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the provider's clock is ahead of ours; None while unknown."""
        return self._clock.seconds

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        """POST once. Cancelling it leaves the submit in doubt."""
        headers = {
            **self._authorization(),
            "Content-Type": "application/json",
            "X-Client-Request-Id": client_request_id,
        }
        answer = await self._request(
            self._submits,
            "POST",
            wire.path_for(self._model),
            headers=headers,
            body=body,
            limits=self._submit_timeout,
        )
        if isinstance(answer, _Answer):
            return self._without_key(wire.read_submit(answer.status, answer.headers, answer.body))
        return answer

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        """Ask how a generation stands. Cancelling it costs nothing."""
        answer = await self._query(wire.fetch_path(model or self._model, generation_id))
        if isinstance(answer, _Answer):
            outcome = wire.read_fetch(
                answer.status, answer.headers, answer.body, generation_id=generation_id
            )
            return self._without_key(outcome)
        return answer

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        """Look submits up in the request log, page by page, until all are found or too old."""
        wanted = None if client_request_ids is None else frozenset(client_request_ids)
        log = LookUp({}, whole=False)
        for _ in range(LOG_READINGS):
            low, high = self._clock.bounds
            log = await self._read_log(wanted, since + low, max(self._now(), since) + high, pace)
            log = replace(log, since=log.since - low)
            if wanted is not None and len(log.found) == len(wanted):
                break
            # The log's own answers may be the first to say what time it is there.
            earliest, latest = self._clock.bounds
            if earliest >= low - CLOCK_SLACK / 2 and latest <= high + CLOCK_SLACK / 2:
                break
            log = replace(log, whole=False)
        return log

    async def _read_log(
        self, wanted: frozenset[str] | None, since: float, until: float, pace: Pace
    ) -> LookUp:
        """Read the log between two times of the provider's clock, give or take `CLOCK_SLACK`."""
        found: dict[str, str] = {}
        listed: set[str] = set()
        whole = False
        end = until + CLOCK_SLACK
        start = max(since - CLOCK_SLACK, end - LOG_WINDOW)
        for page in range(LOG_PAGES):
            query = urlencode(
                {
                    "start": _iso(start),
                    "end": _iso(end),
                    "limit": LOG_PAGE,
                    "offset": page * LOG_PAGE,
                }
            )
            read = await self._log_page(f"/v2/logs?{query}", pace)
            if read is None:
                break
            rows, more, oldest = read
            listed |= rows.keys() if wanted is None else wanted & rows.keys()
            found |= {sent: given for sent, given in rows.items() if given and sent in listed}
            complete = wanted is not None and len(found) == len(wanted)
            if not more or complete or (oldest is not None and oldest < start):
                whole = True
                break
        return LookUp(
            found,
            whole=whole,
            without_id=frozenset(listed - found.keys()),
            since=start + CLOCK_SLACK,
        )

    async def _log_page(self, path: str, pace: Pace) -> wire.LogPage | None:
        """Read a page, at the third try if need be: one that is missing spoils all the others."""
        for _ in range(LOG_PAGE_TRIES):
            await pace()
            answer = await self._query(path)
            if not isinstance(answer, _Answer):
                continue
            if answer.status == 200 and (page := wire.read_log(answer.body)) is not None:
                return page
            if 400 <= answer.status < 500:
                break
        return None

    async def price(self) -> float | Trouble | None:
        """Ask what one video costs in US dollars; None where it is not a fixed price."""
        answer = await self._query(wire.price_path(self._model), authorized=False)
        if not isinstance(answer, _Answer):
            return answer
        if answer.status == 200:
            return wire.read_price(answer.body, self._model)
        trouble = Answered(answer.status)
        # Who does not serve prices will not do so later; who is busy or out of order may.
        passing = decide(Phase.FETCH, trouble) in (Action.RETRY, Action.WAIT)
        return trouble if passing else None

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.value}"}

    def _without_key(self, outcome: Outcome) -> Outcome:
        """Take out a key that stood in the answer's head, or was spelled with escapes."""
        hidden: dict[str, Any] = {}
        for field in fields(outcome):
            match getattr(outcome, field.name):
                case str(text) if (clean := self._key.hidden_in(text)) != text:
                    hidden[field.name] = clean
                case tuple(texts):
                    hidden[field.name] = tuple(map(self._key.hidden_in, texts))
                case _:
                    pass
        return replace(outcome, **hidden) if hidden else outcome

    async def _query(self, path: str, *, authorized: bool = True) -> "_Reply":
        return await self._request(
            self._queries,
            "GET",
            path,
            headers=self._authorization() if authorized else {},
            body=None,
            limits=self._query_timeout,
        )

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> "_Reply":
        """Make one request and tell apart what never left from what may have been taken."""
        trace, url, proxy = Departure(), self._base_url + path, None
        try:
            proxy = proxy_for(url)
            async with session.request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=limits,
                trace_request_ctx=trace,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy else None,
            ) as response:
                received = self._now()
                self._clock.observe(response.headers, received)
                try:
                    content = await _read_capped(response)
                except (aiohttp.ClientError, TimeoutError):
                    if method != "POST" or wire.ID_HEADER not in response.headers:
                        raise
                    # The body was cut, but the id of what was paid for stands in the head.
                    content = b""
                # Some servers repeat the key in what they say of it, in the head and in the body
                # alike: an id that holds it is still the same in both.
                dated = with_date(response.headers, received + (self._clock.seconds or 0.0))
                head = {name.lower(): self._key.hidden_in(text) for name, text in dated.items()}
                return _Answer(response.status, head, self._key.remove_from(content))
        except (aiohttp.ClientError, TimeoutError, OSError, ProxyError) as error:
            failed = unconnected(error, proxy) or NotSent(self._reason(error))
            return Interrupted(failed.reason) if trace.left else failed

    def _reason(self, error: BaseException) -> str:
        """Put an exception into words; its own may be empty, or quote what the server sent."""
        if isinstance(error, TimeoutError):
            return "no answer in time"
        return printable(self._key.hidden_in(str(error)))[:200] or type(error).__name__


@dataclass(frozen=True, slots=True)
class _Answer:
    """A whole answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_Reply = _Answer | NotSent | Interrupted


@asynccontextmanager
async def connect(
    base_url: str,
    key: Secret,
    model: str,
    timeouts: TimeoutSettings,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[AimlApi]:
    """Open the connections and close them at the end.

    Args:
        base_url: Root of the API, without a slash at the end.
        key: The bearer key.
        model: The model's name.
        timeouts: How long to wait for answers.
        now: Wall-clock time in Unix seconds.
    """
    async with AsyncExitStack() as stack:
        submits, queries = [
            await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": f"batchgen/{__version__}", "Accept": "application/json"},
                    trace_configs=[departures()],
                )
            )
            for connector in (
                # A kept connection may be closed under a POST, which leaves it in doubt: measured,
                # 3 of 6 POSTs on connections the server had closed while idle.
                aiohttp.TCPConnector(limit=0, force_close=True),
                aiohttp.TCPConnector(limit=0),
            )
        ]
        yield AimlApi(
            base_url, key, model, submits=submits, queries=queries, timeouts=timeouts, now=now
        )


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, or nothing where it is larger than any honest one."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return b""
    return bytes(body)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
