"""The AI/ML API's wire format: bytes of an answer into outcomes, as tolerant as its servers vary.

Pure. Facts: the API's documentation of August 2026 and its published client.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from batchgen.headers import retry_after
from batchgen.models import WAN_1_3B
from batchgen.outcomes import (
    MESSAGE_CHARACTERS,
    Accepted,
    Answered,
    Completed,
    FetchOutcome,
    GenerationFailed,
    NoVideo,
    Pending,
    SubmitOutcome,
    Unusable,
)
from batchgen.terminal import printable

QUEUE_WORDS: Final = frozenset(
    {"waiting", "queued", "in_queue", "pending", "submitted", "throttled"}
)
"""Pending words that say the work has not begun."""
PENDING_WORDS: Final = QUEUE_WORDS | {
    *("active", "generating", "processing", "dreaming"),
    *("in_progress", "running", "starting", "suspended"),
}
DONE_WORDS: Final = frozenset({"completed", "complete", "succeeded", "success", "done", "finished"})
FAILED_WORDS: Final = {
    **dict.fromkeys(("error", "failed"), "generation_failed"),
    **dict.fromkeys(("cancelled", "canceled"), "cancelled"),
    **{word: word for word in ("rejected", "expired", "aborted")},
}
"""Words that end a generation without a video, with the code of the failure.

All of these are words of the API's documentation, or of the other video APIs whose models a gateway
may hand on (replicate, DashScope, Runway, fal, the family of OpenAI's Videos API; November 2026).
"""

ID_HEADER: Final = "x-inference-id"
"""Repeats the generation's id in the head of an answer."""
BILL_HEADER: Final = "x-aimlapi-usd-spent"
"""Repeats what a generation was billed in the head of an answer."""
MAX_ID_CHARACTERS: Final = 1_000
MAX_URL_CHARACTERS: Final = 8_000
_NO_REASON: Final = "the provider gave no reason"
_FIRST_FORM: Final = "/v2/generate/video/alibaba/generation"
_UNIVERSAL_FORM: Final = "/v2/video/generations"

Headers = Mapping[str, str]
LogPage = tuple[dict[str, str | None], bool, float | None]
"""Generation ids by client request id, whether more pages follow, time of the oldest row."""


def path_for(model: str) -> str:
    """Return the endpoint that takes and answers for a model's generations."""
    return _FIRST_FORM if model == WAN_1_3B else _UNIVERSAL_FORM


def fetch_path(model: str, generation_id: str) -> str:
    """Return path and query of a fetch; ids hold `:` and `/`, so every sign is encoded."""
    return f"{path_for(model)}?generation_id={quote(generation_id, safe='')}"


def read_submit(status: int, headers: Headers, body: bytes) -> SubmitOutcome:
    """Read the answer to a submit."""
    if not 200 <= status < 300:
        return answered(status, headers, body)
    # The head repeats the id, which helps where the body was cut or is not JSON.
    named = [*_ids(parse_object(body)), *filter(usable_id, (headers.get(ID_HEADER, ""),))]
    if not named:
        return Unusable(f"HTTP {status} without a generation id")
    if not all(is_same_generation(named[0], other) for other in named):
        return Unusable(f"HTTP {status} that names two generations")
    return Accepted(named[0])


def read_fetch(
    status: int, headers: Headers, body: bytes, *, generation_id: str | None = None
) -> FetchOutcome:
    """Read the answer to a fetch. An unknown or missing status means still pending.

    Args:
        status: HTTP status.
        headers: Of the answer.
        body: Of the answer.
        generation_id: What was asked about: an answer that names another generation is not an
            answer about this one, but a cache's or a proxy's mistake. None believes any.
    """
    if not 200 <= status < 300:
        return answered(status, headers, body)
    content = parse_object(body)
    if not content:
        return Unusable(f"HTTP {status} whose body is no JSON object")
    for named in _ids(content):
        if generation_id is not None and not is_same_generation(named, generation_id):
            return Unusable(f"an answer about another generation, {named[:100]}")
    word = content.get("status")
    said = word.strip().lower() if isinstance(word, str) else ""
    word = re.sub(r"[-\s]+", "_", said)
    if word in DONE_WORDS:
        return replace(_video(content), cost_usd=_bill(content, headers))
    if word in FAILED_WORDS:
        return replace(_failure(content, FAILED_WORDS[word]), cost_usd=_bill(content, headers))
    return Pending(printable(said)[:50], known=word in PENDING_WORDS, queued=word in QUEUE_WORDS)


def _ids(content: Mapping[str, Any]) -> list[str]:
    """Return the generation ids that a body names."""
    named = (content.get("id"), content.get("generation_id"))
    return [text for text in named if isinstance(text, str) and usable_id(text)]


def is_same_generation(one: str, other: str) -> bool:
    """Tell whether two ids name one generation, also where one lacks the model at its end.

    An id is a UUID, a colon and the model; a server may well answer with the first part alone.
    """
    return one == other or one == other.partition(":")[0] or other == one.partition(":")[0]


def read_log(body: bytes) -> LogPage | None:
    """Read a page of the request log, newest first.

    Returns:
        Generation ids by client request id (None for a row without a usable one), whether there
        are more pages, and the time of the page's oldest row in Unix seconds (None where it has
        none). None where it is no such page: that proves nothing about what was taken.
    """
    content = parse_object(body)
    rows = content.get("data")
    if not isinstance(rows, list):
        return None
    listed: dict[str, str | None] = {}
    oldest: float | None = None
    for row in rows:
        if not isinstance(row, dict):
            continue
        sent, given = row.get("client_request_id"), row.get("inference_id")
        if isinstance(sent, str):
            usable = isinstance(given, str) and usable_id(given)
            listed[sent] = listed.get(sent) or (given if usable else None)
        oldest = _unix_seconds(row.get("created")) or oldest
    pagination = content.get("pagination")
    more = isinstance(pagination, dict) and pagination.get("has_more") is True
    return listed, more and bool(rows), oldest


def price_path(model: str) -> str:
    """Return where a model's price is asked for, which takes no key."""
    return f"/v1/models?{urlencode({'id': model, 'include': 'pricing'})}"


def read_price(body: bytes, model: str) -> float | None:
    """Read a model's fixed price in US dollars; None for any other kind of pricing."""
    content = parse_object(body)
    listed = content.get("data")
    for entry in listed if isinstance(listed, list) else [content]:
        if not isinstance(entry, dict) or entry.get("id", model) != model:
            continue
        pricing = entry.get("pricing")
        if not isinstance(pricing, dict) or pricing.get("kind") != "fixed":
            continue
        if str(pricing.get("currency", "USD")).upper() != "USD":
            continue
        units = pricing.get("units")
        unit = units[0] if isinstance(units, list) and len(units) == 1 else units
        if isinstance(unit, dict):
            price = _amount(unit.get("price"))
            per = unit.get("per")
            # A price per second or per token cannot be told before the video is made.
            # A price of 0 is a place that nobody filled in: held against it, no budget ends.
            if price and str(per).lower() in _WHOLE_VIDEO:
                return price
    return None


_WHOLE_VIDEO: Final = frozenset({"video", "generation", "request", "1", "unit"})


def answered(status: int, headers: Headers, body: bytes) -> Answered:
    """Read an answer that is no success."""
    return Answered(
        status,
        _message(body),
        retry_after(headers),
        from_api=_is_own_error(status, body),
    )


_ERROR_TEXTS: Final = ("message", "path", "requestId")


def _is_own_error(status: int, body: bytes) -> bool:
    """Tell whether the API itself speaks: its error form names path, request and status.

    A gateway's own JSON (`{"message": ...}`, `{"statusCode": ..., "message": ...}`) lacks some.
    """
    content = parse_object(body)
    texts = all(isinstance(content.get(name), str) for name in _ERROR_TEXTS)
    # Seen as a number and as a text.
    return texts and str(content.get("statusCode")) == str(status)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; anything else, however broken or deep, is an empty one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def usable_id(text: str) -> bool:
    """Tell whether a text can be a generation id: printable, not blank, of bounded length."""
    return 0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable() and text.strip() == text


def _video(content: Mapping[str, Any]) -> Completed | NoVideo:
    found = content.get("video")
    named = [
        each
        for each in (found if isinstance(found, list) else [found])
        if isinstance(each, dict) and isinstance(each.get("url"), str) and each["url"]
    ]
    if not named:
        return NoVideo("completed, but no video is named")
    usable: dict[str, Mapping[str, Any]] = {}
    for each in named:
        if _is_usable(each["url"]):
            usable.setdefault(each["url"], each)
    if not usable:
        return NoVideo("completed, but the video's address cannot be used")
    first, *more = usable
    return Completed(first, size=_size(usable[first]), more=tuple(more))


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        absolute = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
    return absolute and len(url) <= MAX_URL_CHARACTERS and url.isprintable()


def _size(video: Mapping[str, Any]) -> int | None:
    size = video.get("file_size")
    return size if type(size) is int and size > 0 else None


def _bill(content: Mapping[str, Any], headers: Headers) -> float | None:
    """Read what a generation was billed, in US dollars; body and head both may say."""
    meta = content.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    spent = _amount(usage.get("usd_spent")) if isinstance(usage, dict) else None
    # The charge is booked after the generation completes: a zero is "not yet".
    return spent or _amount(headers.get(BILL_HEADER)) or None


def _amount(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6:
        return float(value)
    return None


def _failure(content: Mapping[str, Any], ended: str) -> GenerationFailed:
    """Read a failure, under the code that its status gives if no error names one."""
    error = content.get("error")
    if not isinstance(error, dict):
        said = printable(str(error))[:MESSAGE_CHARACTERS] if error else ""
        return GenerationFailed(ended, said or _NO_REASON)
    message = _first_text(error, ("message", "detail", "msg")) or _NO_REASON
    name = _first_text(error, ("name", "code", "type"))
    code = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return GenerationFailed(code or ended, message)


def _message(body: bytes) -> str:
    content = parse_object(body)
    error = content.get("error")
    for source in (content, error if isinstance(error, dict) else {}):
        said = _first_text(source, ("message", "detail", "error", "msg"))
        if said:
            return said
    text = body[:2_000].decode("utf-8", "replace").strip()
    # A page for people says nothing in its first 500 characters.
    return "" if text.startswith(("<", "{", "[")) else printable(text)[:200]


def _first_text(source: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = source.get(key)
        if isinstance(value, list) and value:
            first = value[0]
            value = first.get("msg", first.get("message")) if isinstance(first, dict) else first
        if isinstance(value, str) and value.strip():
            return printable(value)[:MESSAGE_CHARACTERS]
    return ""


def _unix_seconds(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
