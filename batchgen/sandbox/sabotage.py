"""How each fault of a plan is done to a request, down to the bytes of the connection."""

import asyncio
import gzip
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Final, assert_never
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakSet

import anyio
from aiohttp import hdrs, web

from batchgen.sandbox import faults
from batchgen.sandbox.choosing import Faults
from batchgen.sandbox.faults import Asked, FaultPlan, Place
from batchgen.sandbox.files import ETAG, WHOLE, is_ranged
from batchgen.sandbox.generations import STUCK, Generation, Json, JsonObject, Status
from batchgen.sandbox.requests import Refused
from batchgen.sandbox.wire import (
    FATE,
    HIDDEN,
    ODDITY,
    PRICE_USD,
    UNANSWERED,
    Handler,
    Kind,
    Wire,
    kind_of,
)

_PLACES: Final[Mapping[Kind, Place]] = {
    "submit": "submit",
    "fetch": "fetch",
    "download": "download",
    "logs": "logs",
    "balance": "balance",
    "models": "models",
}
_ODDITIES: Final[Mapping[str, str]] = {
    "slash": "a/../b//c/",
    "percent": "%2f%252F%00%zz",
    "query": "?generation_id=other&x=#f",
    "long": "x" * 10_000,
    "control": "\r\nX-Injected: 1\r\n\r\n\x00\x1b[31m",
}
_TAKEN: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_CLOSE_AFTER_S: Final = 0.05
"""An answer has left by then, and the client has put the connection away for its next request."""
_LOOK_S: Final = 0.1
_BLOCK: Final = bytes(64 * 1024)
_SKETCH: Final[Mapping[str, bytes]] = {
    "html": b"<!doctype html><title>Sign in</title><p>Please sign in to the network.",
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "empty": b"",
    "one_byte": b"\0",
}


class Sabotage:
    """Stands between the door and the handlers, and does what the plan says.

    The account stays exact: what is taken is taken by the handler and by nothing else.

    Args:
        plan: What goes wrong.
        wire: Whose requests are met.
    """

    def __init__(self, plan: FaultPlan, wire: Wire) -> None:
        self._wire = wire
        self._faults = Faults(plan, wire.clock.now())
        wire.faults_done = self.done
        # Connections whose next request finds them closed.
        self._doomed: WeakSet[asyncio.BaseTransport] = WeakSet()

    def done(self) -> list[Json]:
        """Say how often each rule of the plan was done."""
        return [
            {"rule": number, "do": rule.do, "times": times}
            for number, (rule, times) in enumerate(
                zip(self._faults.plan.faults, self._faults.done, strict=True), start=1
            )
        ]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Do to a request what the plan chooses for it."""
        if request.transport in self._doomed:
            return _unanswered(request)
        place = _PLACES.get(kind_of(request))
        if place is None:
            return await handler(request)
        rule = self._faults.choose(await self._asked(request, place), self._wire.clock.now())
        return await handler(request) if rule is None else await self._do(rule, request, handler)

    async def _asked(self, request: web.Request, place: Place) -> Asked:
        """Read out of a request what rules tell requests apart by.

        It is about its generation's body, which is the same in every run of a job.
        """
        match place:
            case "submit":
                identity = sha256(await request.read()).hexdigest()
                return Asked(place, identity, earlier=bool(self._wire.account.generations))
            case "fetch":
                generation = self._generation(request)
            case "download":
                generation = self._wire.account.of_file(request.match_info["name"])
            case _:
                return Asked(place, "")
        if generation is None:
            return Asked(place, "", ranged=is_ranged(request))
        now = self._wire.clock.now()
        return Asked(
            place,
            generation.order.digest,
            earlier=generation.generation_id != self._wire.account.first,
            ranged=is_ranged(request),
            age=now - generation.created,
            completed=generation.status(now) is Status.COMPLETED,
        )

    def _generation(self, request: web.Request) -> Generation | None:
        return self._wire.account.generations.get(request.query.get("generation_id", ""))

    async def _do(
        self, rule: faults.Rule, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        match rule:
            case faults.StatusFault():
                return await self._status(rule, request, handler)
            case faults.RefuseKey() | faults.NoCredits():
                raise _refusal(rule)
            case faults.Redirect():
                to = rule.to or str(request.url.origin().with_path("/sandbox/trap/redirected"))
                return web.Response(status=rule.status, headers={hdrs.LOCATION: to})
            case faults.Delay():
                await anyio.sleep(rule.seconds)
                return await handler(request)
            case faults.Reset() | faults.Hang() | faults.CloseIdle() | faults.LoseAnswer():
                return await self._connection(rule, request, handler)
            case faults.CutBody():
                return await _cut_body(rule, request, handler)
            case (
                faults.Html()
                | faults.Garbage()
                | faults.Huge()
                | faults.Deep()
                | faults.Nan()
                | faults.Gzip()
                | faults.Bomb()
            ):
                return await _odd_body(rule, request, handler)
            case (
                faults.NoId()
                | faults.SameId()
                | faults.OddId()
                | faults.Fail()
                | faults.Bill()
                | faults.Quote()
                | faults.Stuck()
            ):
                return await self._submit(rule, request, handler)
            case faults.LateRows() | faults.LostRows():
                request[HIDDEN] = self._hidden(rule)
                return await handler(request)
            case (
                faults.UnknownId()
                | faults.ForgottenId()
                | faults.BrokenId()
                | faults.StatusWord()
                | faults.NewFields()
                | faults.TakenBack()
                | faults.OthersAnswer()
                | faults.NoVideo()
                | faults.WrongSize()
                | faults.SecondVideo()
                | faults.PrivateHost()
            ):
                return await self._fetch(rule, request, handler)
            case (
                faults.Cut()
                | faults.WrongBody()
                | faults.Expired()
                | faults.IgnoreRange()
                | faults.WrongRange()
                | faults.Range416()
                | faults.ChangedEtag()
                | faults.Endless()
                | faults.Claims()
                | faults.Trickle()
            ):
                return await _download(rule, request, handler)
            case _:
                assert_never(rule)

    def _hidden(self, rule: faults.LateRows | faults.LostRows) -> frozenset[str]:
        """Return the ids of the generations that a look into the log does not list."""
        account = self._wire.account
        taken = account.generations.values()
        match rule:
            case faults.LateRows():
                listed = self._wire.clock.now() - rule.seconds
                return frozenset(each.generation_id for each in taken if each.created > listed)
            case faults.LostRows():
                answered = {post.generation_id for post in account.posts if post.answered in _TAKEN}
                spared = answered if rule.of == "unanswered" else set()
                return frozenset(
                    each.generation_id
                    for each in taken
                    if each.generation_id not in spared
                    and _draw(self._faults.plan.seed, each.order.digest) < rule.share
                )

    async def _status(
        self, rule: faults.StatusFault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if rule.taken:
            await handler(request)
        wait = rule.retry_after
        if isinstance(wait, float) and wait.is_integer():
            wait = int(wait)
        headers: dict[str, str] = {} if wait is None else {hdrs.RETRY_AFTER: str(wait)}
        if rule.by == "proxy":
            # What stands in front of an API answers in a form of its own.
            return web.Response(status=rule.status, text=rule.message, headers=headers)
        return self._wire.no(request, rule.status, rule.message, headers)

    async def _connection(
        self,
        rule: faults.Reset | faults.Hang | faults.CloseIdle | faults.LoseAnswer,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        match rule:
            case faults.CloseIdle():
                response = await handler(request)
                # Not said in the answer: the client finds out at its next request.
                if (transport := request.transport) is not None:
                    if rule.when == "next_request":
                        self._doomed.add(transport)
                    else:
                        asyncio.get_running_loop().call_later(_CLOSE_AFTER_S, transport.close)
                return response
            case faults.Reset(when="before"):
                return _unanswered(request, reset=True)
            case faults.Reset():
                await handler(request)
                return _unanswered(request, reset=True)
            case faults.LoseAnswer():
                await handler(request)
                return _unanswered(request)
            case faults.Hang():
                if rule.taken:
                    await handler(request)
                while _connected(request):  # noqa: ASYNC110  # a transport has no event for it
                    await anyio.sleep(_LOOK_S)
                return _unanswered(request)

    async def _submit(
        self,
        rule: faults.NoId
        | faults.SameId
        | faults.OddId
        | faults.Fail
        | faults.Bill
        | faults.Quote
        | faults.Stuck,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        match rule:
            case faults.NoId():
                await handler(request)
                return web.json_response({"status": Status.QUEUED})
            case faults.SameId():
                first = self._wire.account.first
                if rule.taken:
                    await handler(request)
                return web.json_response({"id": first, "status": Status.QUEUED})
            case faults.OddId():
                request[ODDITY] = _ODDITIES[rule.style]
            case faults.Fail():
                request[FATE] = rule.code
                request[PRICE_USD] = rule.usd
            case faults.Bill() | faults.Quote():
                request[PRICE_USD] = rule.usd
            case faults.Stuck():
                request[FATE] = STUCK
        return await handler(request)

    async def _fetch(
        self,
        rule: faults.UnknownId
        | faults.ForgottenId
        | faults.BrokenId
        | faults.StatusWord
        | faults.NewFields
        | faults.OthersAnswer
        | faults.TakenBack
        | faults.NoVideo
        | faults.WrongSize
        | faults.SecondVideo
        | faults.PrivateHost,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        match rule:
            case faults.BrokenId():
                return self._wire.no(request, rule.status, "This id is always answered so.", {})
            case faults.UnknownId() | faults.ForgottenId():
                raise Refused(HTTPStatus.NOT_FOUND, "No generation has this id.")
            case faults.StatusWord():
                return await _changed(request, handler, lambda answer: _word(answer, rule.word))
            case faults.TakenBack():
                return await _changed(request, handler, _taken_back)
            case faults.NewFields():
                return await _changed(request, handler, _new_fields)
            case faults.OthersAnswer():
                first = request.rel_url.with_query(generation_id=self._wire.account.first)
                return await self._wire.fetch(request.clone(rel_url=first))
            case faults.NoVideo():
                return await _changed(request, handler, lambda answer: _video(answer, rule.style))
            case faults.WrongSize():
                return await _changed(request, handler, lambda answer: _resize(answer, rule.by))
            case faults.SecondVideo():
                return await _changed(request, handler, _add_video)
            case faults.PrivateHost():
                return await _changed(request, handler, lambda answer: _move(answer, rule.address))


def _refusal(rule: faults.RefuseKey | faults.NoCredits) -> Refused:
    match rule:
        case faults.RefuseKey():
            return Refused(HTTPStatus.UNAUTHORIZED, "The key is wrong or has expired.")
        case faults.NoCredits():
            said = "Out of credits: insufficient balance, top up the account."
            return Refused(HTTPStatus(rule.status), said)


def _draw(seed: int, digest: str) -> float:
    """Hash what was asked for to a number in [0, 1)."""
    return int(sha256(f"{seed}\n{digest}".encode()).hexdigest()[:12], 16) / 16**12


def _connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _unanswered(request: web.Request, *, reset: bool = False) -> web.Response:
    """Close the connection, so that the answer that is returned here goes nowhere."""
    request[UNANSWERED] = True
    transport = request.transport
    if transport is not None:
        if reset:
            _reset_on_close(transport.get_extra_info("socket").fileno())
            transport.abort()
        else:
            transport.close()
    return web.Response()


def _reset_on_close(descriptor: int) -> None:
    """Have the kernel say RST and not FIN; through a copy, as not every loop shows its socket."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _raw(request: web.Request, head: Mapping[str, str], status: int, *body: bytes) -> web.Response:
    """Write an answer past aiohttp, which would put its length right, and close the connection."""
    transport = request.transport
    if transport is not None and not transport.is_closing():
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in head.items()]
        transport.write("\r\n".join([*lines, "", ""]).encode() + b"".join(body))
    return _unanswered(request)


async def _cut_body(
    rule: faults.CutBody, request: web.Request, handler: Handler
) -> web.StreamResponse:
    response = await handler(request)
    body = _body_of(response)
    head: dict[str, str] = {
        hdrs.CONTENT_TYPE: response.content_type,
        hdrs.CONTENT_LENGTH: str(len(body)),
    }
    if rule.keep_id_header and "x-inference-id" in response.headers:
        head["x-inference-id"] = response.headers["x-inference-id"]
    return _raw(request, head, response.status, body[: _upto(body, rule.at)])


async def _odd_body(
    rule: faults.Html
    | faults.Garbage
    | faults.Huge
    | faults.Deep
    | faults.Nan
    | faults.Gzip
    | faults.Bomb,
    request: web.Request,
    handler: Handler,
) -> web.StreamResponse:
    match rule:
        case faults.Gzip():
            response = await handler(request)
            packed = gzip.compress(_body_of(response))
            return _packed(packed, response.content_type)
        case faults.Bomb():
            await handler(request)
            return _packed(_bomb(rule.bytes), "application/json")
        case _ if rule.taken:
            await handler(request)
    match rule:
        case faults.Html():
            return web.Response(body=_SKETCH["html"], content_type="text/html")
        case faults.Garbage():
            return _as_json(b"\xff\xfe{\x00id: undefined, \xc3(")
        case faults.Huge():
            return _as_json(b'{"id": "' + b"x" * rule.bytes + b'"}')
        case faults.Deep():
            return _as_json(b'{"id": ' + b"[" * rule.depth + b"]" * rule.depth + b"}")
        case faults.Nan():
            return _as_json(b'{"id": NaN, "status": NaN, "video": Infinity}')


def _as_json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _packed(packed: bytes, content_type: str) -> web.Response:
    headers: dict[str, str] = {hdrs.CONTENT_ENCODING: "gzip"}
    return web.Response(body=packed, content_type=content_type, headers=headers)


def _bomb(size: int) -> bytes:
    """Pack so many zeros; the packed ones are a thousandth of them, and packed block by block."""
    blocks, rest = divmod(size, len(_BLOCK))
    # Members of a gzip file stand one behind the other (RFC 1952, section 2.2).
    return gzip.compress(_BLOCK) * blocks + gzip.compress(bytes(rest))


async def _changed(
    request: web.Request, handler: Handler, change: Callable[[JsonObject], None]
) -> web.StreamResponse:
    """Answer as usual, but for a change in the JSON."""
    response = await handler(request)
    answer: JsonObject = json.loads(_body_of(response))
    change(answer)
    return web.json_response(answer, status=response.status)


def _word(answer: JsonObject, word: str) -> None:
    match word:
        case "missing":
            answer.pop("status", None)
        case "COMPLETED":
            answer["status"] = str(answer["status"]).upper()
        case _:
            answer.update(status=word, video=None)


def _taken_back(answer: JsonObject) -> None:
    answer.update(
        {
            "status": Status.ERROR.value,
            "video": None,
            "error": {"name": "removed", "message": "The fault plan took the video back."},
        }
    )


def _new_fields(answer: JsonObject) -> None:
    answer.update(
        {"progress": 0.5, "eta": None, "nested": {"deeper": [1, {"a": []}]}, "état": "inconnu"}
    )


def _video(answer: JsonObject, style: str) -> None:
    match style:
        case "none":
            answer.pop("video", None)
        case "null":
            answer["video"] = None
        case "empty_list":
            answer["video"] = []
        case "relative":
            answer["video"] = {"url": "/files/clip.mp4"}
        case _:
            answer["video"] = {"url": "data:video/mp4;base64,AAAA"}


def _resize(answer: JsonObject, by: int) -> None:
    match answer:
        case {"video": {"file_size": int(size), "url": url}}:
            answer["video"] = {"url": url, "file_size": size + by}


def _add_video(answer: JsonObject) -> None:
    match answer:
        case {"video": {"url": str(url)}}:
            # The signature is not over this; so the second address gives the same bytes.
            answer["video"] = [{"url": url}, {"url": f"{url}&number=2"}]


def _move(answer: JsonObject, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    match answer:
        case {"video": {"url": str(url)}}:
            moved = urlunsplit(urlsplit(url)._replace(scheme="https", netloc=host))
            answer["video"] = {"url": moved}


async def _download(  # one case a fault
    rule: faults.Cut
    | faults.WrongBody
    | faults.Expired
    | faults.IgnoreRange
    | faults.WrongRange
    | faults.Range416
    | faults.ChangedEtag
    | faults.Endless
    | faults.Claims
    | faults.Trickle,
    request: web.Request,
    handler: Handler,
) -> web.StreamResponse:
    match rule:
        case faults.Expired():
            raise Refused(HTTPStatus(rule.status), "This URL has expired.")
        case faults.IgnoreRange():
            request[WHOLE] = True
        case faults.ChangedEtag():
            request[ETAG] = os.urandom(8).hex()
    response = await handler(request)
    if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return response
    body = _body_of(response)
    head: dict[str, str] = {
        name: response.headers[name]
        for name in (hdrs.CONTENT_TYPE, hdrs.CONTENT_RANGE, hdrs.ETAG, hdrs.ACCEPT_RANGES)
        if name in response.headers
    }
    match rule:
        case faults.Cut():
            return _cut_file(rule, request, response.status, head, body)
        case faults.WrongBody():
            return web.Response(body=_SKETCH[rule.style], content_type="video/mp4")
        case faults.WrongRange():
            size = len(body)
            response.headers[hdrs.CONTENT_RANGE] = f"bytes 1-{size}/{size + 1}"
        case faults.Range416():
            return web.Response(
                status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                headers={hdrs.CONTENT_RANGE: "bytes */0"},
            )
        case faults.Endless():
            return await _stream(request, lambda turn: (body or _BLOCK) if turn == 0 else _BLOCK, 0)
        case faults.Claims():
            return _raw(request, {**head, hdrs.CONTENT_LENGTH: str(rule.bytes)}, 200, body)
        case faults.Trickle():
            return await _stream(request, lambda turn: body[turn : turn + 1], rule.every)
    return response


def _cut_file(
    rule: faults.Cut, request: web.Request, status: int, head: Mapping[str, str], body: bytes
) -> web.Response:
    part = body[: _upto(body, rule.at)]
    match rule.framing:
        case "content_length":
            return _raw(request, {**head, hdrs.CONTENT_LENGTH: str(len(body))}, status, part)
        case "close":
            return _raw(request, {**head, hdrs.CONNECTION: "close"}, status, part)
    chunked = {**head, hdrs.TRANSFER_ENCODING: "chunked"}
    sized = [f"{len(part):x}\r\n".encode(), part, b"\r\n"] if part else []
    # A chunk of the rest is announced that never comes, or the end is.
    end = b"%x\r\n" % (len(body) - len(part) or 1) if rule.framing == "chunked" else b"0\r\n\r\n"
    return _raw(request, chunked, status, *sized, end)


async def _stream(
    request: web.Request, block: Callable[[int], bytes], every: float
) -> web.StreamResponse:
    """Send blocks until there is none, or the client has gone."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "video/mp4"})
    try:
        await response.prepare(request)
        turn = 0
        while data := block(turn):
            await response.write(data)
            await anyio.sleep(every)
            turn += 1
    except ConnectionError:
        request[UNANSWERED] = True
    return response


def _body_of(response: web.StreamResponse) -> bytes:
    """Return the bytes of an answer that a handler of the sandbox made: it holds them whole."""
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


def _upto(body: bytes, extent: float) -> int:
    """Return where to cut, after a share (a float) or bytes (an int): inside, if there is one."""
    upto = extent if isinstance(extent, int) else int(len(body) * extent)
    return min(max(1, upto), max(0, len(body) - 1))
