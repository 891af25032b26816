"""What a request asks for, read out of its parts; what cannot be read is refused."""

import json
import re
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil, isfinite
from typing import Final, NoReturn

from aiohttp import hdrs, web

from batchgen.sandbox.generations import Json, JsonObject

CLIENT_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Refused(Exception):
    """An answer that is a no: its status, its sentence and the headers that go with it."""

    def __init__(
        self, status: HTTPStatus, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


async def body_of(request: web.Request) -> JsonObject:
    """Read a JSON object.

    Raises:
        Refused: The body is none.
    """
    if request.content_type != "application/json":
        raise invalid(f"the body takes application/json, not {request.content_type}")
    raw = await request.read()
    try:
        body: Json = json.loads(raw, parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid("the body is no JSON") from error
    if not isinstance(body, dict):
        raise invalid("the body takes a JSON object")
    return body


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def client_request_id(request: web.Request) -> str | None:
    """Read the client's own name for a request; None without a usable one."""
    given = request.headers.get("X-Client-Request-Id", "")
    return given if CLIENT_REQUEST_ID.fullmatch(given) else None


def moment(request: web.Request, name: str, default: float) -> float:
    """Read a time out of the query, in Unix seconds.

    Raises:
        Refused: It is none.
    """
    given = request.query.get(name)
    if given is None:
        return default
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise invalid(f"{name} takes a time like 2026-08-01T00:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def whole(request: web.Request, name: str, *, default: int, least: int, most: int) -> int:
    """Read a whole number out of the query.

    Raises:
        Refused: It is none, or out of bounds.
    """
    given = request.query.get(name)
    if given is None:
        return default
    number = int(given) if re.fullmatch(r"[0-9]{1,10}", given) else -1
    if not least <= number <= most:
        raise invalid(f"{name} takes a whole number from {least} to {most}")
    return number


def invalid(what: str) -> Refused:
    """Say what is wrong with a request."""
    return Refused(HTTPStatus.BAD_REQUEST, f"Body validation error! {what}")


def too_fast(wait_s: float) -> Refused:
    """Ask the client to wait, in seconds."""
    headers: dict[str, str] = {hdrs.RETRY_AFTER: str(ceil(wait_s))}
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests.", headers)
