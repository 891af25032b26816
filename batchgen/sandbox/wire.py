"""The API's wire format over an account: what comes in, what goes out, and every no in one form.

Speaks aiohttp and nothing else: takes time, clips and the written record as arguments, and knows
of no file, socket or renderer. A request passes the two middlewares of `application`, then its
handler; what stands between "taken" and "answered" is thus one function's return.
"""

import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Final, Literal, Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from batchgen.models import TABLES, WAN_1_3B
from batchgen.sandbox.answers import failure, headers_of, iso, ledger_row, log_row, post_row, usd
from batchgen.sandbox.files import Clip, part_asked_for
from batchgen.sandbox.generations import (
    CREDITS_PER_USD,
    Account,
    Generation,
    Json,
    JsonObject,
    Order,
    Pace,
    Post,
    Refusal,
    SandboxSettings,
    Status,
    objections,
)
from batchgen.sandbox.requests import (
    Refused,
    body_of,
    client_request_id,
    invalid,
    moment,
    too_fast,
    whole,
)

FIRST_FORM: Final = "/v2/generate/video/alibaba/generation"
UNIVERSAL_FORM: Final = "/v2/video/generations"

_BODY_LIMIT: Final = 1 << 20
_LOG_PAGE: Final = 100
_LOG_WINDOW_S: Final = 92 * 86_400
_LOGS_PER_MINUTE: Final = 200
_LOW_BALANCE: Final = CREDITS_PER_USD

Kind = Literal[
    "submit", "fetch", "logs", "balance", "models", "download", "ledger", "trap", "other"
]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a middleware and a handler tell each other about a request.
FATE: Final = web.RequestKey("fate", str)
ODDITY: Final = web.RequestKey("oddity", str)
HIDDEN: Final = web.RequestKey("hidden", frozenset[str])
PRICE_USD: Final = web.RequestKey("price_usd", float)
TAKEN: Final = web.RequestKey("taken", str)
UNANSWERED: Final = web.RequestKey("unanswered", bool)

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Return the time of day in Unix seconds."""
        ...


class Clips(Protocol):
    """Where the videos of completed generations come from."""

    async def clip(self, generation: Generation) -> Clip:
        """Return the video, rendered now if need be."""
        ...

    async def size(self, generation: Generation) -> int:
        """Return the video's length in bytes."""
        ...


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
        faults_done: What a fault plan has done so far.
    """

    settings: SandboxSettings
    account: Account
    secret: str
    record: Callable[[Generation], None]
    clips: Clips
    clock: Clock
    faults_done: Callable[[], Json] = list
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
        body = await body_of(request)
        if wrong := objections(body, only=only, tables=self.settings.tables):
            raise invalid("; ".join(wrong[:10]))
        order = Order(str(body["model"]), body, client_request_id(request))
        generation = self._take(
            order,
            self.clock.now(),
            fate=request.get(FATE, ""),
            oddity=request.get(ODDITY, ""),
            usd=request.get(PRICE_USD),
        )
        request[TAKEN] = generation.generation_id
        answer: JsonObject = {"id": generation.generation_id, "status": Status.QUEUED}
        return _json(answer, success, headers_of(generation, charged=0))

    def _take(
        self, order: Order, now: float, *, fate: str, oddity: str, usd: float | None
    ) -> Generation:
        """Draft, write down and add, with no `await` between them.

        Raises:
            Refused: The account has no credits or no room for it.
            JournalError: It could not be written down, and so was not taken.
        """
        match self.account.draft(order, now, fate=fate, oddity=oddity, usd=usd):
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
            raise invalid("generation_id is missing from the query")
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
            "meta": {"usage": {"credits_used": charged, "usd_spent": usd(charged)}},
        }
        match status:
            case Status.COMPLETED:
                answer["video"] = await self._video(request, generation, now)
            case Status.ERROR:
                answer["error"] = failure(generation)
            case _:
                pass
        return _json(answer, headers=headers_of(generation, charged))

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
        return part_asked_for(request, await self.clips.clip(generation))

    def _signature(self, name: str, expires: str) -> str:
        text = f"{name}\n{expires}".encode(errors="replace")
        return hmac.digest(self.secret.encode(), text, "sha256").hex()

    async def logs(self, request: web.Request) -> web.Response:
        """List what was taken in a window of time, newest first.

        A generation is listed from the moment it was taken; its cost follows once it is booked.
        """
        now = self.clock.now()
        if wait_s := self._log_pace.wait(now):
            raise too_fast(wait_s)
        end = moment(request, "end", now)
        start = moment(request, "start", end - _LOG_WINDOW_S)
        if not 0 <= end - start <= _LOG_WINDOW_S:
            raise invalid("start to end takes a window of 0 to 92 days")
        limit = whole(request, "limit", default=_LOG_PAGE, least=1, most=_LOG_PAGE)
        offset = whole(request, "offset", default=0, least=0, most=10**9)
        hidden = request.get(HIDDEN, frozenset[str]())
        rows, total = self.account.logged(start, end, offset=offset, limit=limit, hidden=hidden)
        return _json(
            {
                "data": [log_row(generation, now) for generation in rows],
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
        usd = request.get(PRICE_USD, self.settings.usd_per_video) if priced else None
        return _json({"object": "list", "data": [self._model(name, usd) for name in names]})

    @staticmethod
    def _model(name: str, usd: float | None) -> JsonObject:
        """List a model, with its price where that was asked for."""
        model: JsonObject = {"id": name, "type": "video"}
        if usd is not None:
            model["pricing"] = {
                "kind": "fixed",
                "currency": "USD",
                "units": [{"price": usd, "per": "video"}],
            }
        return model

    async def ledger(self, _request: web.Request) -> web.Response:
        """Give the server's own account, exact and whole: what a test may hold a client to."""
        now = self.clock.now()
        return _json(
            {
                "submits": self.account.submits,
                "generations": [
                    ledger_row(generation, now) for generation in self.account.generations.values()
                ],
                "requests": dict(self.account.requests),
                "posts": [post_row(post) for post in self.account.posts],
                "download_headers": dict(self.account.download_headers),
                "trapped": list(self.account.trapped),
                "faults": self.faults_done(),
            }
        )

    async def trap(self, request: web.Request) -> web.Response:
        """Note who comes to a place that only a client goes to that trusts a redirect."""
        names: Json = [*sorted(request.headers)]
        self.account.trapped.append(
            {"method": request.method, "path": request.path, "headers": names}
        )
        return _json({"trapped": True})

    async def dated(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Give an answer the date it has by the sandbox's own clock."""
        date = datetime.fromtimestamp(self.clock.now(), UTC)
        response.headers[hdrs.DATE] = format_datetime(date, usegmt=True)

    @web.middleware
    async def counted_and_in_form(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Count every request and give every no the one form of the API."""
        kind = kind_of(request)
        self.account.requests[kind] += 1
        if kind == "download":
            self.account.download_headers.update({name.lower() for name in request.headers})
        response = await self._in_form(request, handler)
        if kind == "submit":
            unanswered = request.get(UNANSWERED, False)
            self.account.posts.append(
                Post(
                    at=self.clock.now(),
                    client_request_id=client_request_id(request),
                    answered=None if unanswered else response.status,
                    generation_id=request.get(TAKEN),
                )
            )
        return response

    async def _in_form(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            return self.no(request, refused.status, refused.message, refused.headers)
        except web.HTTPException as refused:
            allowed = refused.headers.get(hdrs.ALLOW)
            headers: dict[str, str] = {hdrs.ALLOW: allowed} if allowed else {}
            return self.no(request, HTTPStatus(refused.status), _sentence(refused), headers)
        except Exception:  # noqa: BLE001 - logged whole; the client gets the API's own 500
            _log.exception("the sandbox failed to answer %s %s", request.method, request.path)
            return self.no(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error", {})

    @web.middleware
    async def admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away who has no key, and who asks too often."""
        kind = kind_of(request)
        if kind in _KEYED:
            self._check_key(request)
        if kind in _PACED and (wait_s := self._pace.wait(self.clock.now())):
            raise too_fast(wait_s)
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

    def no(
        self, request: web.Request, status: int, message: str, headers: dict[str, str]
    ) -> web.Response:
        """Give a no the one form of the API."""
        answer: JsonObject = {
            "message": message,
            "path": request.path,
            "requestId": str(uuid.uuid4()),
            "statusCode": status,
            "timestamp": iso(self.clock.now()),
        }
        return _json(answer, status, headers)


def application(wire: Wire, *middlewares: Middleware) -> web.Application:
    """Put the handlers on their paths, behind the form of answers and the check at the door.

    Args:
        wire: The handlers.
        middlewares: What else stands before them, behind the check.
    """
    app = web.Application(
        client_max_size=_BODY_LIMIT,
        middlewares=[wire.counted_and_in_form, wire.admitted, *middlewares],
    )
    app.on_response_prepare.append(wire.dated)
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
            web.route("*", "/sandbox/trap/{rest:.*}", wire.trap),
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


def kind_of(request: web.Request) -> Kind:
    """Tell what a request asks for."""
    resource = request.match_info.route.resource
    if resource is None:
        return "other"
    return _KINDS.get((request.method, resource.canonical), "trap")


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
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> web.Response:
    return web.json_response(answer, status=status, headers=headers)
