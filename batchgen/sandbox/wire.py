"""The API's wire format over an account: what comes in, what goes out, and every no in one form.

Speaks aiohttp and nothing else: takes time, clips and the written record as arguments, and knows
of no file, socket or renderer. A request passes the two middlewares of `application`, then its
handler; what stands between "taken" and "answered" is thus one function's return.
"""

import hmac
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil, isfinite
from typing import Final, Literal, NoReturn, Protocol

from aiohttp import hdrs, web

from batchgen.models import TABLES, WAN_1_3B
from batchgen.sandbox.generations import (
    CREDITS_PER_USD,
    FAIL_WORD,
    Account,
    Generation,
    Json,
    JsonObject,
    Order,
    Pace,
    Refusal,
    SandboxSettings,
    Status,
    objections,
)

FIRST_FORM: Final = "/v2/generate/video/alibaba/generation"
UNIVERSAL_FORM: Final = "/v2/video/generations"
CLIENT_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_BODY_LIMIT: Final = 1 << 20
_LOG_PAGE: Final = 100
_LOG_WINDOW_S: Final = 92 * 86_400
_LOGS_PER_MINUTE: Final = 200
_LOW_BALANCE: Final = CREDITS_PER_USD

Kind = Literal["submit", "fetch", "logs", "balance", "models", "download", "ledger", "other"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Return the time of day in Unix seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered video.

    Attributes:
        data: The MP4.
        etag: What changes when the bytes do, without quotes.
    """

    data: bytes
    etag: str


class Clips(Protocol):
    """Where the videos of completed generations come from."""

    async def clip(self, generation: Generation) -> Clip:
        """Return the video, rendered now if need be."""
        ...

    async def size(self, generation: Generation) -> int:
        """Return the video's length in bytes."""
        ...


class Refused(Exception):
    """An answer that is a no: its status, its sentence and the headers that go with it."""

    def __init__(
        self, status: HTTPStatus, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(slots=True)
class Wire:
    """The handlers, and what they answer from.

    Attributes:
        settings: The key, the price and the limits.
        account: What was taken.
        secret: Signs the URLs of videos.
        record: Writes a generation down, before its submit is answered.
        clips: Where videos come from.
        clock: What time it is.
    """

    settings: SandboxSettings
    account: Account
    secret: str
    record: Callable[[Generation], None]
    clips: Clips
    clock: Clock
    _pace: Pace = field(init=False)
    _log_pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        """Set up the limits on how often."""
        self._pace = Pace(self.settings.requests_per_s)
        self._log_pace = Pace(_LOGS_PER_MINUTE / 60, burst=_LOGS_PER_MINUTE)

    async def submit_first_form(self, request: web.Request) -> web.Response:
        """Take a generation of the one model of the first form."""
        return await self._submit(request, HTTPStatus.CREATED, only=WAN_1_3B)

    async def submit_universal(self, request: web.Request) -> web.Response:
        """Take a generation of any model."""
        return await self._submit(request, HTTPStatus.OK)

    async def _submit(
        self, request: web.Request, success: HTTPStatus, *, only: str | None = None
    ) -> web.Response:
        body = await _body_of(request)
        if wrong := objections(body, only=only):
            raise _invalid("; ".join(wrong[:10]))
        order = Order(str(body["model"]), body, _client_request_id(request))
        generation = self._take(order, self.clock.now())
        answer: JsonObject = {"id": generation.generation_id, "status": Status.QUEUED}
        return _json(answer, success, _headers_of(generation, charged=0))

    def _take(self, order: Order, now: float) -> Generation:
        """Draft, write down and add, with no `await` between them.

        Raises:
            Refused: The account has no credits or no room for it.
            JournalError: It could not be written down, and so was not taken.
        """
        match self.account.draft(order, now):
            case Refusal.OUT_OF_CREDITS:
                raise Refused(
                    HTTPStatus.FORBIDDEN,
                    "Out of credits: the balance does not cover another generation.",
                )
            case Refusal.TOO_MANY_IN_FLIGHT:
                raise Refused(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"Concurrency limit: {self.settings.max_in_flight} generations are in flight.",
                )
            case generation:
                self.record(generation)
                self.account.add(generation)
                return generation

    async def fetch(self, request: web.Request) -> web.Response:
        """Say where a generation stands."""
        generation_id = request.query.get("generation_id")
        if not generation_id:
            raise _invalid("generation_id is missing from the query")
        generation = self.account.generations.get(generation_id)
        if generation is None:
            raise Refused(HTTPStatus.NOT_FOUND, "No generation has this id.")
        now = self.clock.now()
        charged = generation.charged(now)
        status = generation.status(now)
        answer: JsonObject = {
            "id": generation.generation_id,
            "status": status,
            "video": None,
            "error": None,
            "meta": {"usage": {"credits_used": charged, "usd_spent": _usd(charged)}},
        }
        match status:
            case Status.COMPLETED:
                answer["video"] = await self._video(request, generation, now)
            case Status.ERROR:
                answer["error"] = {
                    "name": "generation_failed",
                    "message": f"The prompt holds {FAIL_WORD!r}, so the sandbox failed it.",
                }
            case _:
                pass
        return _json(answer, headers=_headers_of(generation, charged))

    async def _video(self, request: web.Request, generation: Generation, now: float) -> JsonObject:
        name = generation.file_name
        expires = str(int(now + self.settings.url_life_s))
        # The address the client reached us by, so that the URL leads back here from where it is.
        url = request.url.origin().with_path(f"/files/{name}")
        return {
            "url": str(url.with_query(expires=expires, signature=self._signature(name, expires))),
            "content_type": "video/mp4",
            "file_name": name,
            "file_size": await self.clips.size(generation),
        }

    async def download(self, request: web.Request) -> web.Response:
        """Give the bytes behind a signed URL, to anyone who has it."""
        name = request.match_info["name"]
        expires = request.query.get("expires", "")
        given = request.query.get("signature", "")
        expected = self._signature(name, expires).encode()
        if not hmac.compare_digest(given.encode(errors="replace"), expected):
            raise Refused(HTTPStatus.FORBIDDEN, "The signature does not fit this URL.")
        now = self.clock.now()
        if now >= int(expires):
            raise Refused(HTTPStatus.FORBIDDEN, "This URL has expired; fetch the generation again.")
        generation = self.account.of_file(name)
        if generation is None or generation.status(now) is not Status.COMPLETED:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such file.")
        return _part_asked_for(request, await self.clips.clip(generation))

    def _signature(self, name: str, expires: str) -> str:
        text = f"{name}\n{expires}".encode(errors="replace")
        return hmac.digest(self.secret.encode(), text, "sha256").hex()

    async def logs(self, request: web.Request) -> web.Response:
        """List what was taken in a window of time, newest first.

        A generation is listed from the moment it was taken; its cost follows once it is booked.
        """
        now = self.clock.now()
        if wait_s := self._log_pace.wait(now):
            raise _too_fast(wait_s)
        end = _moment(request, "end", now)
        start = _moment(request, "start", end - _LOG_WINDOW_S)
        if not 0 <= end - start <= _LOG_WINDOW_S:
            raise _invalid("start to end takes a window of 0 to 92 days")
        limit = _whole(request, "limit", default=_LOG_PAGE, least=1, most=_LOG_PAGE)
        offset = _whole(request, "offset", default=0, least=0, most=10**9)
        rows, total = self.account.logged(start, end, offset=offset, limit=limit)
        return _json(
            {
                "data": [_log_row(generation, now) for generation in rows],
                "pagination": {
                    "limit": limit,
                    "offset": offset,
                    "total": total,
                    "has_more": offset + len(rows) < total,
                },
            }
        )

    async def balance(self, _request: web.Request) -> web.Response:
        """Say how many credits are left."""
        left = self.account.balance(self.clock.now())
        return _json(
            {
                "balance": left,
                "lowBalance": left < _LOW_BALANCE,
                "lowBalanceThreshold": _LOW_BALANCE,
                "status": "current",
            }
        )

    async def models(self, request: web.Request) -> web.Response:
        """List the model asked for, or every one with a parameter table; prices on request."""
        priced = "pricing" in request.query.get("include", "").split(",")
        asked = request.query.get("id")
        names = [asked] if asked else list(TABLES)
        return _json({"object": "list", "data": [self._model(name, priced) for name in names]})

    def _model(self, name: str, priced: bool) -> JsonObject:  # noqa: FBT001 - a private reading of a query
        model: JsonObject = {"id": name, "type": "video"}
        if priced:
            model["pricing"] = {
                "kind": "fixed",
                "currency": "USD",
                "units": [{"price": self.settings.usd_per_video, "per": "video"}],
            }
        return model

    async def ledger(self, _request: web.Request) -> web.Response:
        """Give the server's own account, exact and whole: what a test may hold a client to."""
        now = self.clock.now()
        return _json(
            {
                "submits": self.account.submits,
                "generations": [
                    _ledger_row(generation, now) for generation in self.account.generations.values()
                ],
                "requests": dict(self.account.requests),
            }
        )

    @web.middleware
    async def counted_and_in_form(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Count every request and give every no the one form of the API."""
        self.account.requests[_kind(request)] += 1
        try:
            return await handler(request)
        except Refused as refused:
            return self._no(request, refused.status, refused.message, refused.headers)
        except web.HTTPException as refused:
            allowed = refused.headers.get(hdrs.ALLOW)
            headers: dict[str, str] = {hdrs.ALLOW: allowed} if allowed else {}
            return self._no(request, HTTPStatus(refused.status), _sentence(refused), headers)
        except Exception:  # noqa: BLE001 - logged whole; the client gets the API's own 500
            _log.exception("the sandbox failed to answer %s %s", request.method, request.path)
            return self._no(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error", {})

    @web.middleware
    async def admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away who has no key, and who asks too often."""
        kind = _kind(request)
        if kind in _KEYED:
            self._check_key(request)
        if kind in _PACED and (wait_s := self._pace.wait(self.clock.now())):
            raise _too_fast(wait_s)
        return await handler(request)

    def _check_key(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Refused(HTTPStatus.UNAUTHORIZED, "No key: send Authorization: Bearer KEY.")
        expected = self.settings.key
        given = key.encode(errors="replace")
        if expected is not None and not hmac.compare_digest(given, expected.encode()):
            raise Refused(HTTPStatus.UNAUTHORIZED, "The key is wrong or has expired.")

    def _no(
        self, request: web.Request, status: HTTPStatus, message: str, headers: dict[str, str]
    ) -> web.Response:
        answer: JsonObject = {
            "message": message,
            "path": request.path,
            "requestId": str(uuid.uuid4()),
            "statusCode": status,
            "timestamp": _iso(self.clock.now()),
        }
        return _json(answer, status, headers)


def application(wire: Wire) -> web.Application:
    """Put the handlers on their paths, behind the form of answers and the check at the door."""
    app = web.Application(
        client_max_size=_BODY_LIMIT, middlewares=[wire.counted_and_in_form, wire.admitted]
    )
    app.add_routes(
        [
            web.post(FIRST_FORM, wire.submit_first_form),
            web.get(FIRST_FORM, wire.fetch, allow_head=False),
            web.post(UNIVERSAL_FORM, wire.submit_universal),
            web.get(UNIVERSAL_FORM, wire.fetch, allow_head=False),
            web.get("/v2/logs", wire.logs, allow_head=False),
            web.get("/v1/billing/balance", wire.balance, allow_head=False),
            web.get("/v1/models", wire.models, allow_head=False),
            web.get("/files/{name}", wire.download),
            web.get("/sandbox/ledger", wire.ledger, allow_head=False),
        ]
    )
    return app


_KINDS: Final[dict[tuple[str, str], Kind]] = {
    (hdrs.METH_POST, FIRST_FORM): "submit",
    (hdrs.METH_GET, FIRST_FORM): "fetch",
    (hdrs.METH_POST, UNIVERSAL_FORM): "submit",
    (hdrs.METH_GET, UNIVERSAL_FORM): "fetch",
    (hdrs.METH_GET, "/v2/logs"): "logs",
    (hdrs.METH_GET, "/v1/billing/balance"): "balance",
    (hdrs.METH_GET, "/v1/models"): "models",
    (hdrs.METH_GET, "/files/{name}"): "download",
    (hdrs.METH_HEAD, "/files/{name}"): "download",
    (hdrs.METH_GET, "/sandbox/ledger"): "ledger",
}
_KEYED: Final = frozenset({"submit", "fetch", "logs", "balance", "ledger"})
_PACED: Final = _KEYED - {"ledger"}


def _kind(request: web.Request) -> Kind:
    resource = request.match_info.route.resource
    return "other" if resource is None else _KINDS[request.method, resource.canonical]


async def _body_of(request: web.Request) -> JsonObject:
    if request.content_type != "application/json":
        raise _invalid(f"the body takes application/json, not {request.content_type}")
    raw = await request.read()
    try:
        body: Json = json.loads(raw, parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _invalid("the body is no JSON") from error
    if not isinstance(body, dict):
        raise _invalid("the body takes a JSON object")
    return body


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def _client_request_id(request: web.Request) -> str | None:
    given = request.headers.get("X-Client-Request-Id", "")
    return given if CLIENT_REQUEST_ID.fullmatch(given) else None


def _moment(request: web.Request, name: str, default: float) -> float:
    given = request.query.get(name)
    if given is None:
        return default
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise _invalid(f"{name} takes a time like 2026-08-01T00:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _whole(request: web.Request, name: str, *, default: int, least: int, most: int) -> int:
    given = request.query.get(name)
    if given is None:
        return default
    number = int(given) if re.fullmatch(r"[0-9]{1,10}", given) else -1
    if not least <= number <= most:
        raise _invalid(f"{name} takes a whole number from {least} to {most}")
    return number


def _invalid(what: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, f"Body validation error! {what}")


def _too_fast(wait_s: float) -> Refused:
    headers: dict[str, str] = {hdrs.RETRY_AFTER: str(ceil(wait_s))}
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests.", headers)


def _sentence(refused: web.HTTPException) -> str:
    match refused:
        case web.HTTPNotFound():
            return "There is no such endpoint."
        case web.HTTPMethodNotAllowed():
            return f"This endpoint does not take {refused.method}."
        case web.HTTPRequestEntityTooLarge():
            return f"The body is larger than {_BODY_LIMIT} bytes."
        case _:
            return refused.reason


def _json(
    answer: JsonObject,
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> web.Response:
    return web.json_response(answer, status=status, headers=headers)


def _headers_of(generation: Generation, charged: int) -> dict[str, str]:
    return {
        "x-inference-id": generation.generation_id,
        "x-aimlapi-credits-used": str(charged),
        "x-aimlapi-usd-spent": str(_usd(charged)),
    }


def _log_row(generation: Generation, now: float) -> JsonObject:
    charged = generation.charged(now)
    return {
        "created": _iso(generation.created),
        "status": "failed" if generation.status(now) is Status.ERROR else "succeeded",
        "model": generation.order.model,
        "cost": {"usd": _usd(charged), "credits": charged},
        "request_id": generation.request_id,
        "inference_id": generation.generation_id,
        "client_request_id": generation.order.client_request_id,
    }


def _ledger_row(generation: Generation, now: float) -> JsonObject:
    return {
        "generation_id": generation.generation_id,
        "client_request_id": generation.order.client_request_id,
        "model": generation.order.model,
        "body": generation.order.body,
        "created": generation.created,
        "status": generation.status(now),
    }


def _usd(credits_: int) -> float:
    return credits_ / CREDITS_PER_USD


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")


def _part_asked_for(request: web.Request, clip: Clip) -> web.Response:
    """Answer a download by the conditions and the range of its request.

    Not web.FileResponse: it needs the clips on disk, where kill -9 leaves them and eviction takes
    them from under a reader, and knows If-Range as a date only. aiohttp still parses the headers.
    """
    response = web.Response(content_type="video/mp4", headers={hdrs.ACCEPT_RANGES: "bytes"})
    response.etag = clip.etag
    if _known(request, clip.etag):
        response.set_status(HTTPStatus.NOT_MODIFIED)
        return response
    size = len(clip.data)
    if not _ranged(request, clip.etag):
        response.body = clip.data
        return response
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:
        start = stop = size
    if start >= stop:
        response.set_status(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        response.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        return response
    response.set_status(HTTPStatus.PARTIAL_CONTENT)
    response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
    response.body = clip.data[start:stop]
    return response


def _known(request: web.Request, etag: str) -> bool:
    known = request.if_none_match or ()
    return any(tag.value in {etag, "*"} for tag in known)


def _ranged(request: web.Request, etag: str) -> bool:
    """Tell whether to answer a part: only a GET asks for one, and If-Range names our bytes."""
    if request.method != hdrs.METH_GET:
        return False
    if not request.headers.get(hdrs.RANGE, "").lower().startswith("bytes="):
        return False
    quoted = f'"{etag}"'
    return request.headers.get(hdrs.IF_RANGE, quoted) == quoted
