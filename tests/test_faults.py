"""Fault plans: what they choose, what they do to a connection, and an account that stays exact."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote, urlsplit

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import UsageError
from batchgen.models import WAN_1_3B
from batchgen.sandbox import FaultPlan, Sandbox, SandboxSettings, load_plan, running
from batchgen.sandbox.choosing import Faults
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.sandbox.faults import ANYWHERE, Asked, Rule
from batchgen.sandbox.planfile import _RULES
from tests.conftest import REPO

pytestmark = pytest.mark.anyio
FORM = "/v2/generate/video/alibaba/generation"
CLIP = render(ClipRequest("a test", width=64, height=64))
WHOLE = sha256(CLIP).hexdigest()


class Clock:
    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def now(self) -> float:
        return self.time


@dataclass(frozen=True)
class Seen:
    """What came over the wire.

    Attributes:
        status: None where not even a first line came.
        head: Headers, by small letters.
        body: Bytes as they came, chunk sizes included.
        end: `closed`, `reset`, or `open` where the server kept the connection.
    """

    status: int | None
    head: Mapping[str, str]
    body: bytes
    end: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    url: str,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    keep: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Seen:
    """Make a request by hand and read until the server ends it, or for half a second."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = {"Host": where.netloc, "Authorization": "Bearer k", **(headers or {})}
    if not keep:
        head["Connection"] = "close"
    if body:
        head |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    data, end = b"", "open"
    try:
        with anyio.fail_after(0.5):
            while block := await reader.read(1 << 20):
                data += block
                if len(data) > 50_000_000:
                    break
            end = "closed"
    except TimeoutError:
        end = "open"
    except ConnectionResetError:
        end = "reset"
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            end = "reset"
    first, _, content = data.partition(b"\r\n\r\n")
    if not first:
        return Seen(None, {}, b"", end)
    status, *lines_of_head = first.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines_of_head)
    return Seen(
        int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, content, end
    )


@dataclass
class Server:
    sandbox: Sandbox
    clock: Clock

    async def submit(self, prompt: str = "fox", *, keep: bool = False) -> Seen:
        body = json.dumps({"model": WAN_1_3B, "prompt": prompt}).encode()
        name = {"X-Client-Request-Id": prompt}
        return await ask(self.sandbox.url, "POST", FORM, body, keep=keep, headers=name)

    async def fetch(self, generation_id: str | None = None) -> Seen:
        wanted = generation_id or self.last
        path = f"{FORM}?generation_id={quote(wanted, safe='')}"
        return await ask(self.sandbox.url, "GET", path)

    async def download(self, headers: Mapping[str, str] | None = None) -> Seen:
        video = (await self.fetch()).json["video"]["url"]
        parts = urlsplit(video)
        return await ask(self.sandbox.url, "GET", f"{parts.path}?{parts.query}", headers=headers)

    async def ledger(self) -> Any:
        return (await ask(self.sandbox.url, "GET", "/sandbox/ledger")).json

    @property
    def last(self) -> str:
        return list(self.sandbox.account.generations)[-1]

    @property
    def taken(self) -> int:
        return self.sandbox.account.submits


@asynccontextmanager
async def serving(*rules: dict[str, Any], seed: int = 0) -> AsyncIterator[Server]:
    plan = FaultPlan.model_validate({"seed": seed, "faults": rules})
    clock = Clock()
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, clock=clock, render=lambda _: CLIP) as sandbox:
        yield Server(sandbox, clock)


Check = Callable[[Seen], bool]
SUBMITS: list[tuple[dict[str, Any], int, Check]] = [
    # What is done to a submit, how many generations it leaves, what the client sees.
    *[
        ({"do": "status", "status": status, "taken": taken}, int(taken), _is)
        for status in (408, 425, 500, 502, 504, 520)
        for taken in (True, False)
        for _is in [lambda seen, status=status: seen.status == status]
    ],
    ({"do": "status", "status": 429, "retry_after": 2}, 0, lambda s: s.head["retry-after"] == "2"),
    (
        {"do": "status", "status": 503, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"},
        0,
        lambda s: s.head["retry-after"] == "Wed, 21 Oct 2026 07:28:00 GMT",
    ),
    (
        {"do": "status", "status": 429, "retry_after": -5},
        0,
        lambda s: s.head["retry-after"] == "-5",
    ),
    (
        {"do": "status", "status": 429, "retry_after": 1e9},
        0,
        lambda s: s.head["retry-after"] == "1000000000",
    ),
    ({"do": "status", "status": 429, "retry_after": "soon"}, 0, lambda s: s.status == 429),
    ({"do": "status", "status": 404, "message": "gone"}, 0, lambda s: s.json["message"] == "gone"),
    *[
        (
            {"do": "status", "status": status, "taken": True, "by": "proxy", "message": "away"},
            1,
            lambda s: s.body == b"away" and s.head["content-type"].startswith("text/plain"),
        )
        for status in (429, 503)
    ],
    (
        {"do": "status", "status": 429, "taken": True},
        1,
        lambda s: s.json.keys() >= {"message", "path", "requestId", "statusCode", "timestamp"},
    ),
    ({"do": "delay", "seconds": 0.01}, 1, lambda s: s.status == 201),
    ({"do": "reset", "when": "before"}, 0, lambda s: s.status is None and s.end == "reset"),
    ({"do": "reset", "when": "after"}, 1, lambda s: s.status is None and s.end == "reset"),
    ({"do": "hang", "taken": True}, 1, lambda s: s.status is None and s.end == "open"),
    ({"do": "hang", "taken": False}, 0, lambda s: s.status is None and s.end == "open"),
    ({"do": "lose_answer"}, 1, lambda s: s.status is None and s.end == "closed"),
    ({"do": "refuse_key"}, 0, lambda s: s.status == 401),
    ({"do": "no_credits"}, 0, lambda s: s.status == 403),
    ({"do": "no_credits", "status": 402}, 0, lambda s: s.status == 402),
    (
        {"do": "no_credits", "status": 429},
        0,
        lambda s: "insufficient balance" in str(s.json) and "retry-after" not in s.head,
    ),
    ({"do": "no_credits", "status": 400}, 0, lambda s: "insufficient balance" in str(s.json)),
    ({"do": "html"}, 1, lambda s: s.status == 200 and s.body.startswith(b"<!doctype html>")),
    ({"do": "html", "taken": False}, 0, lambda s: s.status == 200),
    (
        {"do": "redirect", "status": 308},
        0,
        lambda s: s.status == 308 and s.head["location"].endswith("/sandbox/trap/redirected"),
    ),
    ({"do": "redirect", "to": "http://[::1]/"}, 0, lambda s: s.head["location"] == "http://[::1]/"),
    (
        {"do": "cut_body"},
        1,
        lambda s: (
            0 < len(s.body) < int(s.head["content-length"]) and "x-inference-id" not in s.head
        ),
    ),
    ({"do": "cut_body", "keep_id_header": True}, 1, lambda s: "x-inference-id" in s.head),
    ({"do": "garbage"}, 1, lambda s: s.body.startswith(b"\xff\xfe{")),
    ({"do": "huge", "bytes": 5_000_000}, 1, lambda s: len(s.body) > 5_000_000),
    ({"do": "deep", "depth": 100_000}, 1, lambda s: s.body.count(b"[") == 100_000),
    ({"do": "nan"}, 1, lambda s: b"NaN" in s.body),
    (
        {"do": "gzip"},
        1,
        lambda s: s.head["content-encoding"] == "gzip" and s.body[:2] == b"\x1f\x8b",
    ),
    ({"do": "bomb"}, 1, lambda s: s.head["content-encoding"] == "gzip" and len(s.body) < 2_000_000),
    ({"do": "no_id"}, 1, lambda s: "id" not in s.json and "x-inference-id" not in s.head),
    ({"do": "odd_id", "style": "slash"}, 1, lambda s: s.json["id"].endswith(":a/../b//c/")),
    ({"do": "odd_id", "style": "percent"}, 1, lambda s: "%2f" in s.json["id"]),
    ({"do": "odd_id", "style": "query"}, 1, lambda s: "?generation_id=" in s.json["id"]),
    ({"do": "odd_id", "style": "long"}, 1, lambda s: len(s.json["id"]) > 10_000),
    (
        {"do": "odd_id", "style": "control"},
        1,
        lambda s: "\r\n" in s.json["id"] and "x-injected" not in s.head,
    ),
    ({"do": "fail"}, 1, lambda s: s.status == 201),
    ({"do": "bill", "usd": 0.3}, 1, lambda s: s.status == 201),
    ({"do": "stuck"}, 1, lambda s: s.status == 201),
]


@pytest.mark.parametrize(
    ("rule", "taken", "check"), SUBMITS, ids=[json.dumps(rule) for rule, _, _ in SUBMITS]
)
async def test_a_submit_is_met_by_its_fault_and_is_in_the_account_if_and_only_if_it_was_taken(
    rule: dict[str, Any], taken: int, check: Check
) -> None:
    async with serving({"on": "submit", **rule}) as server:
        seen = await server.submit("fox")
        assert check(seen), seen
        assert server.taken == taken
        # A hanging one ends when its server sees that we have gone.
        while not (posts := (await server.ledger())["posts"]):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        (post,) = posts
        assert post["client_request_id"] == "fox"
        assert (post["generation_id"] is not None) == bool(taken)
        # A connection that a fault broke gave no whole answer.
        broken = rule["do"] in ("reset", "hang", "lose_answer", "cut_body")
        assert post["answered"] == (None if broken else seen.status)


FETCHES: list[tuple[dict[str, Any], Check]] = [
    ({"do": "status", "status": 502}, lambda s: s.status == 502),
    ({"do": "reset", "when": "after"}, lambda s: s.end == "reset"),
    ({"do": "hang"}, lambda s: s.end == "open"),
    ({"do": "unknown_id", "for": "60s"}, lambda s: s.status == 404),
    ({"do": "forgotten_id", "after": 0}, lambda s: s.status == 404),
    ({"do": "broken_id"}, lambda s: s.status == 500),
    ({"do": "broken_id", "status": 302}, lambda s: s.status == 302),
    ({"do": "redirect", "status": 302}, lambda s: s.status == 302),
    ({"do": "status_word", "word": "pondering"}, lambda s: s.json["status"] == "pondering"),
    ({"do": "status_word", "word": "COMPLETED"}, lambda s: s.json["status"] == "COMPLETED"),
    ({"do": "status_word", "word": "missing"}, lambda s: "status" not in s.json),
    ({"do": "new_fields"}, lambda s: s.json["progress"] == 0.5 and s.json["video"]["url"]),
    (
        {"do": "taken_back"},
        lambda s: s.json["status"] == "error" and s.json["meta"]["usage"]["usd_spent"] == 0.06,
    ),
    ({"do": "no_video", "style": "none"}, lambda s: "video" not in s.json),
    ({"do": "no_video", "style": "null"}, lambda s: s.json["video"] is None),
    ({"do": "no_video", "style": None}, lambda s: s.json["video"] is None),
    ({"do": "no_video", "style": "empty_list"}, lambda s: s.json["video"] == []),
    ({"do": "no_video", "style": "relative"}, lambda s: s.json["video"]["url"].startswith("/")),
    ({"do": "no_video", "style": "data"}, lambda s: s.json["video"]["url"].startswith("data:")),
    ({"do": "wrong_size"}, lambda s: s.json["video"]["file_size"] == len(CLIP) + 1_000),
    ({"do": "wrong_size", "by": -7}, lambda s: s.json["video"]["file_size"] == len(CLIP) - 7),
    ({"do": "second_video"}, lambda s: len({each["url"] for each in s.json["video"]}) == 2),
    (
        {"do": "private_host"},
        lambda s: s.json["video"]["url"].startswith("https://198.18.0.7/"),
    ),
    (
        {"do": "private_host", "address": "fd00::7"},
        lambda s: s.json["video"]["url"].startswith("https://[fd00::7]/"),
    ),
    ({"do": "huge"}, lambda s: len(s.body) > 5_000_000),
    ({"do": "deep"}, lambda s: s.body.count(b"[") == 100_000),
    ({"do": "nan"}, lambda s: b"NaN" in s.body),
    ({"do": "html"}, lambda s: b"<title>" in s.body),
    ({"do": "cut_body"}, lambda s: len(s.body) < int(s.head["content-length"])),
    ({"do": "refuse_key"}, lambda s: s.status == 401),
]


@pytest.mark.parametrize(("rule", "check"), FETCHES, ids=[json.dumps(rule) for rule, _ in FETCHES])
async def test_a_fetch_is_met_by_its_fault(rule: dict[str, Any], check: Check) -> None:
    async with serving({"on": "fetch", "first": 1, **rule}) as server:
        await server.submit()
        assert check(seen := await server.fetch()), seen
        assert (await server.fetch()).json["status"] == "completed"


@pytest.mark.parametrize(
    ("rule", "status", "usd"),
    [
        ({"do": "bill", "usd": 0.3}, "completed", 0.3),
        ({"do": "fail"}, "error", 0.0),
        ({"do": "fail", "usd": 0.3}, "error", 0.3),
    ],
)
async def test_a_generation_is_charged_what_the_plan_says(
    rule: dict[str, Any], status: str, usd: float
) -> None:
    async with serving({"on": "submit", **rule}) as server:
        before = (await ask(server.sandbox.url, "GET", "/v1/billing/balance")).json["balance"]
        await server.submit()
        said = await server.fetch()
        assert said.json["status"] == status
        assert said.json["meta"]["usage"]["usd_spent"] == usd
        assert float(said.head["x-aimlapi-usd-spent"]) == usd
        after = (await ask(server.sandbox.url, "GET", "/v1/billing/balance")).json["balance"]
        assert before - after == usd * 2_000_000


async def test_another_price_is_quoted_than_is_charged() -> None:
    async with serving({"on": "models", "do": "quote", "usd": 0}) as server:
        path = f"/v1/models?id={quote(WAN_1_3B, safe='')}&include=pricing"
        [model] = (await ask(server.sandbox.url, "GET", path)).json["data"]
        assert model["pricing"]["units"] == [{"price": 0.0, "per": "video"}]


PART = {"Range": "bytes=100-"}
LENGTH = str(len(CLIP))
DOWNLOADS: list[tuple[dict[str, Any], dict[str, str], Check]] = [
    (
        {"do": "cut", "framing": "content_length"},
        {},
        lambda s: s.head["content-length"] == LENGTH and len(s.body) == len(CLIP) // 2,
    ),
    (
        {"do": "cut", "framing": "chunked"},
        {},
        lambda s: s.head["transfer-encoding"] == "chunked" and not s.body.endswith(b"0\r\n\r\n"),
    ),
    (
        {"do": "cut", "framing": "early_terminator"},
        {},
        lambda s: s.body.endswith(b"0\r\n\r\n") and len(s.body) < len(CLIP),
    ),
    (
        {"do": "cut", "framing": "close", "at": "10%"},
        {},
        lambda s: "content-length" not in s.head and s.body == CLIP[: len(CLIP) // 10],
    ),
    ({"do": "cut", "framing": "close", "at": 77}, {}, lambda s: s.body == CLIP[:77]),
    (
        {"do": "cut", "framing": "content_length", "at": 0.5},
        PART,
        lambda s: s.status == 206 and s.head["content-range"].startswith("bytes 100-"),
    ),
    ({"do": "wrong_body", "style": "html"}, {}, lambda s: s.head["content-type"] == "video/mp4"),
    ({"do": "wrong_body", "style": "xml"}, {}, lambda s: b"AccessDenied" in s.body),
    ({"do": "wrong_body", "style": "empty"}, {}, lambda s: s.status == 200 and s.body == b""),
    ({"do": "wrong_body", "style": "one_byte"}, {}, lambda s: len(s.body) == 1),
    ({"do": "gzip"}, {}, lambda s: s.head["content-encoding"] == "gzip"),
    ({"do": "bomb"}, {}, lambda s: s.head["content-encoding"] == "gzip"),
    *[
        ({"do": "expired", "status": status}, {}, _is)
        for status in (403, 404, 410)
        for _is in [lambda s, status=status: s.status == status]
    ],
    ({"do": "ignore_range"}, PART, lambda s: s.status == 200 and s.body == CLIP),
    (
        {"do": "wrong_range"},
        PART,
        lambda s: s.status == 206 and s.head["content-range"].startswith("bytes 1-"),
    ),
    ({"do": "range_416"}, PART, lambda s: s.status == 416),
    (
        {"do": "changed_etag"},
        {**PART, "If-Range": '"another"'},
        lambda s: s.status == 200 and s.body == CLIP,
    ),
    ({"do": "endless"}, {}, lambda s: len(s.body) > 10 * len(CLIP)),
    ({"do": "claims"}, {}, lambda s: s.head["content-length"] == "50000000000"),
    ({"do": "trickle", "every": "50ms"}, {}, lambda s: s.end == "open" and len(s.body) < 200),
    (
        {"do": "redirect", "to": "http://169.254.169.254/"},
        {},
        lambda s: s.head["location"] == "http://169.254.169.254/",
    ),
]


@pytest.mark.parametrize(
    ("rule", "headers", "check"), DOWNLOADS, ids=[json.dumps(rule) for rule, _, _ in DOWNLOADS]
)
async def test_a_download_is_met_by_its_fault(
    rule: dict[str, Any], headers: dict[str, str], check: Check
) -> None:
    async with serving({"on": "download", "first": 1, **rule}) as server:
        await server.submit()
        assert check(seen := await server.download(headers)), seen
        again = await server.download()
        assert sha256(again.body).hexdigest() == WHOLE


@pytest.mark.parametrize(("said", "ahead"), [("20m", 1_200), ("-2h", -7_200), (90, 90), (-90, -90)])
async def test_a_server_whose_clock_is_set_wrong_dates_answers_and_log_rows_by_it(
    said: object, ahead: float
) -> None:
    plan = FaultPlan.model_validate({"clock_ahead": said})
    clock = Clock()
    async with running(
        SandboxSettings(), faults=plan, clock=clock, render=lambda _: CLIP
    ) as sandbox:
        server = Server(sandbox, clock)
        taken = await server.submit()
        start, end = (_iso(clock.time + ahead + shift) for shift in (-5, 5))
        logged = await ask(sandbox.url, "GET", f"/v2/logs?start={start}&end={end}")
        trap = await ask(sandbox.url, "GET", "/no/such/place")
    for answer in (taken, logged, trap):
        date = parsedate_to_datetime(answer.head["date"]).timestamp()
        assert date == clock.time + ahead
    (row,) = logged.json["data"]
    assert datetime.fromisoformat(row["created"]).timestamp() == clock.time + ahead


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def test_every_fault_there_is_is_tried_above() -> None:
    rules = [rule for rule, *_ in SUBMITS] + [rule for rule, *_ in FETCHES]
    rules += [rule for rule, *_ in DOWNLOADS]
    tried = {rule["do"] for rule in rules} | {
        "same_id",
        "quote",
        "others_answer",
        "close_idle",
        "late_rows",
        "lost_rows",
    }
    assert tried == set(_RULES)
    assert len(_RULES) == len(get_args(get_args(Rule)[0]))


async def test_the_same_id_is_given_twice_and_nothing_else_is_taken() -> None:
    async with serving({"on": "submit", "do": "same_id"}) as server:
        first = await server.submit("one")
        second = await server.submit("two")
        assert second.json["id"] == first.json["id"]
        assert server.taken == 1


async def test_a_submit_is_taken_and_answered_with_another_s_id() -> None:
    async with serving({"on": "submit", "do": "same_id", "taken": True}) as server:
        first = await server.submit("one")
        assert (await server.submit("two")).json["id"] == first.json["id"]
        assert server.taken == 2


async def test_a_fetch_is_answered_with_where_another_generation_stands() -> None:
    async with serving({"on": "fetch", "do": "others_answer"}) as server:
        first = (await server.submit("one")).json["id"]
        second = (await server.submit("two")).json["id"]
        for asked in (first, second):
            answer = (await server.fetch(asked)).json
            assert answer["id"] == first
            assert answer["video"]["url"]


async def test_an_idle_connection_is_closed_without_having_been_announced() -> None:
    async with serving({"on": "submit", "do": "close_idle", "first": 1}) as server:
        seen = await server.submit(keep=True)
        assert seen.status == 201
        assert seen.head.get("connection") != "close"
        assert seen.end == "closed"
        assert (await server.submit(keep=True)).end == "open", "as usual, it is kept"


async def test_a_connection_may_be_closed_only_when_its_next_request_has_come() -> None:
    plan = {"on": "submit", "do": "close_idle", "when": "next_request", "first": 1}
    async with serving(plan) as server:
        where = urlsplit(server.sandbox.url)
        body = json.dumps({"model": WAN_1_3B, "prompt": "fox"}).encode()
        head = f"POST {FORM} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(head.encode() + body)
        assert b"201" in await reader.readline()
        await anyio.sleep(0.2)
        assert not reader.at_eof(), "unlike one that is closed at once"
        writer.write(head.encode() + body)
        assert b"HTTP" not in await reader.read(), "the second got no answer"
        writer.close()
        assert server.taken == 1


async def test_a_generation_that_a_plan_fails_costs_nothing_and_one_that_is_stuck_stays() -> None:
    async with serving(
        {"on": "submit", "do": "fail", "code": "moderation", "first": 1},
        {"on": "submit", "do": "stuck", "first": 1},
    ) as server:
        failed = (await server.submit("one")).json["id"]
        stuck = (await server.submit("two")).json["id"]
        server.clock.time += 1e6
        answer = (await server.fetch(failed)).json
        assert (answer["status"], answer["error"]["name"]) == ("error", "moderation")
        assert answer["meta"]["usage"]["credits_used"] == 0
        assert (await server.fetch(stuck)).json["status"] == "queued"


async def test_an_id_is_unknown_only_for_as_long_as_the_plan_says() -> None:
    async with serving({"on": "fetch", "do": "unknown_id", "for": "60s"}) as server:
        await server.submit()
        server.clock.time += 59
        assert (await server.fetch()).status == 404
        server.clock.time += 2
        assert (await server.fetch()).json["status"] == "completed"


async def listed(server: Server) -> list[str]:
    """Read the log, in pages of two; return the client request ids, newest first."""
    found: list[str] = []
    while True:
        page = await ask(server.sandbox.url, "GET", f"/v2/logs?limit=2&offset={len(found)}")
        found += [row["client_request_id"] for row in page.json["data"]]
        if not page.json["pagination"]["has_more"]:
            assert page.json["pagination"]["total"] == len(found)
            return found


async def test_the_log_lists_late_what_was_taken() -> None:
    async with serving({"on": "logs", "do": "late_rows", "for": "90s"}) as server:
        for prompt in ("one", "two", "three"):
            await server.submit(prompt)
            server.clock.time += 40
        assert await listed(server) == ["one"]
        server.clock.time += 20
        assert await listed(server) == ["two", "one"]
        server.clock.time += 90
        assert await listed(server) == ["three", "two", "one"]
        assert server.taken == 3


async def test_the_log_never_lists_a_share_always_the_same_and_looks_complete() -> None:
    plan = {"on": "logs", "do": "lost_rows", "share": "30%"}
    async with serving(plan) as server, serving(plan) as another:
        prompts = [str(number) for number in range(40)]
        for prompt in prompts:
            await server.submit(prompt)
            await another.submit(prompt)
        there = await listed(server)
        assert there == await listed(server) == await listed(another)
        assert 20 <= len(there) <= 36
    async with serving({"on": "logs", "do": "lost_rows"}) as server:
        await server.submit()
        assert await listed(server) == []


async def test_the_log_may_leave_out_just_what_was_not_answered() -> None:
    async with serving(
        {"on": "submit", "do": "lose_answer", "skip": 1, "first": 1},
        {"on": "submit", "do": "status", "status": 504, "taken": True, "skip": 1, "first": 1},
        {"on": "logs", "do": "lost_rows", "of": "unanswered"},
    ) as server:
        for prompt in ("answered", "lost", "refused", "answered, too"):
            await server.submit(prompt.replace(", ", "-"))
        assert server.taken == 4
        assert await listed(server) == ["answered-too", "answered"]


async def test_an_id_is_forgotten_once_it_is_as_old_as_the_plan_says() -> None:
    async with serving({"on": "fetch", "do": "forgotten_id", "after": "60s"}) as server:
        await server.submit()
        server.clock.time += 59
        assert (await server.fetch()).json["status"] == "completed"
        server.clock.time += 2
        assert (await server.fetch()).status == 404
        server.clock.time += 1e6
        assert (await server.fetch()).status == 404


async def test_some_ids_are_broken_for_good_and_the_others_never() -> None:
    async with serving({"on": "fetch", "do": "broken_id", "rate": "50%"}) as server:
        given = [(await server.submit(str(number))).json["id"] for number in range(20)]
        seen = [{(await server.fetch(each)).status for _ in range(3)} for each in given]
        assert {frozenset(statuses) for statuses in seen} == {frozenset({200}), frozenset({500})}


@pytest.mark.parametrize("style", ["slash", "percent", "query", "long", "control"])
async def test_an_odd_id_can_be_fetched_and_its_video_downloaded(style: str) -> None:
    async with serving({"on": "submit", "do": "odd_id", "style": style}) as server:
        await server.submit()
        if style == "long":
            assert server.taken == 1, "its address is longer than any server takes"
            return
        assert (await server.fetch()).json["status"] == "completed"
        assert (await server.download()).body == CLIP


async def test_the_ledger_says_what_was_done_and_what_came_where_nobody_should_go() -> None:
    async with serving(
        {"on": "submit", "do": "redirect", "first": 2}, {"on": "fetch", "do": "html"}
    ) as server:
        where = (await server.submit()).head["location"]
        await server.submit()
        assert (await server.ledger())["trapped"] == []
        await ask(server.sandbox.url, "POST", urlsplit(where).path, b"{}")
        ledger = await server.ledger()
        assert [(hit["method"], hit["path"]) for hit in ledger["trapped"]] == [
            ("POST", "/sandbox/trap/redirected")
        ]
        assert "Authorization" in ledger["trapped"][0]["headers"]
        assert [rule["times"] for rule in ledger["faults"]] == [2, 0]


async def test_the_ledger_says_which_headers_came_with_downloads() -> None:
    async with serving() as server:
        await server.submit()
        await server.download({"Cookie": "a=b"})
        headers = (await server.ledger())["download_headers"]
        assert headers["cookie"] == headers["authorization"] == 1


# What a plan chooses.

REQUESTS = [(place, str(number)) for number in range(40) for place in ("submit", "fetch")] * 3


def chosen(plan: FaultPlan, requests: list[tuple[Any, str]]) -> Counter[tuple[str, str, str]]:
    faults = Faults(plan, 0.0)
    met: Counter[tuple[str, str, str]] = Counter()
    for place, identity in requests:
        rule = faults.choose(Asked(place, identity), 0.0)
        if rule is not None:
            met[place, identity, rule.do] += 1
    return met


HALF = FaultPlan.model_validate(
    {
        "seed": 7,
        "faults": [
            {"on": "all", "do": "html", "rate": "30%"},
            {"on": "all", "do": "nan", "rate": 0.3},
        ],
    }
)


@given(st.permutations(REQUESTS))
def test_the_order_of_requests_about_different_things_changes_nothing(
    requests: list[tuple[Any, str]],
) -> None:
    assert chosen(HALF, requests) == chosen(HALF, REQUESTS)


def test_another_seed_meets_other_requests() -> None:
    assert chosen(HALF.model_copy(update={"seed": 8}), REQUESTS) != chosen(HALF, REQUESTS)


def test_a_rate_is_the_share_of_requests_that_are_met() -> None:
    requests = [("fetch", str(number)) for number in range(20_000)]
    met = chosen(HALF, requests)
    first = sum(times for (_, _, do), times in met.items() if do == "html")
    second = sum(times for (_, _, do), times in met.items() if do == "nan")
    assert abs(first - 6_000) < 250, "four standard deviations"
    assert abs(second - 14_000 * 0.3) < 250, "of those the first rule left"


def plan_of(**rule: Any) -> FaultPlan:
    return FaultPlan.model_validate({"faults": [{"on": "fetch", "do": "nan", **rule}]})


def turns(plan: FaultPlan, count: int, identity: str = "a") -> list[int]:
    faults = Faults(plan, 0.0)
    return [
        turn
        for turn in range(count)
        if faults.choose(Asked("fetch", identity, age=1.0), float(turn)) is not None
    ]


def test_first_and_skip_count_requests_from_and_until_seconds() -> None:
    assert turns(plan_of(first=2), 9) == [0, 1]
    assert turns(plan_of(skip=3), 6) == [3, 4, 5]
    assert turns(plan_of(skip=3, first=2), 9) == [3, 4]
    assert turns(plan_of(**{"from": "2s", "until": "4s"}), 9) == [2, 3]


def test_each_bounds_what_one_generation_suffers() -> None:
    faults = Faults(plan_of(each=2), 0.0)
    met = [faults.choose(Asked("fetch", identity), 0.0) for identity in "ababab"]
    assert [rule is not None for rule in met] == [True] * 4 + [False] * 2


def test_a_lasting_fault_is_decided_once_for_a_generation() -> None:
    plan = FaultPlan.model_validate(
        {"faults": [{"on": "fetch", "do": "unknown_id", "rate": "50%"}]}
    )
    for identity in map(str, range(50)):
        assert turns(plan, 5, identity) in ([], [0, 1, 2, 3, 4])


# What a plan file may hold.

WRONG = [
    ("seed: x", "1:7", "valid integer"),
    ("clock_ahead: soon", "1:14", "expected a duration"),
    ("clock_ahead: --1m", "1:14", "expected a duration"),
    ("sed: 1", "1:1", 'did you mean "seed"?'),
    ("faults: [{on: submit, do: statsu}]", "1:27", 'did you mean "status"?'),
    ("faults: [{on: submit}]", "1:10", "do is missing"),
    ("faults: [{do: html}]", "1:10", "on is missing"),
    ("faults: [{on: submitt, do: html}]", "1:15", "'submit', 'fetch'"),
    ("faults: [{on: [], do: html}]", "1:15", "at least 1"),
    ("faults: [{on: fetch, do: lose_answer}]", "1:15", "done to submit only, not to fetch"),
    ("faults: [{on: all, do: cut}]", "1:15", "done to download only, not to all"),
    ("faults: [{on: all, do: html, from: 5s, until: 5s}]", "1:47", "ends before it begins"),
    ("faults: [{on: download, do: cut, at: -1}]", "1:38", "a share such as 50%, or a whole"),
    ("faults: [{on: submit, do: status, status: 500.0}]", "1:43", "valid integer"),
    ('faults: [{on: fetch, do: redirect, to: "a\\nb"}]', "1:40", "no line breaks"),
    ("faults: [{on: fetch, do: html, rate: 500%}]", "1:38", "a share such as 5%"),
    ("faults: [{on: fetch, do: html, rate: some}]", "1:38", "a share such as 5%"),
    ("faults: [{on: fetch, do: delay}]", "1:10", "seconds is missing"),
    ("faults: [{on: fetch, do: delay, seconds: soon}]", "1:42", "expected a duration"),
    ("faults: [{on: fetch, do: status, status: 99}]", "1:42", "greater than or equal to 200"),
    ("faults: [{on: fetch, do: status, status: 500, retryafter: 1}]", "1:47", '"retry_after"'),
    ("faults: [{on: fetch, do: html, first: -1}]", "1:39", "greater than or equal to 0"),
    ("faults: {}", "1:9", "valid tuple"),
    ("- 1", "1:1", "valid dictionary"),
    ("faults: [", "2:1", "a value is missing here"),
]


@pytest.mark.parametrize(("text", "place", "said"), WRONG, ids=[text for text, *_ in WRONG])
def test_a_wrong_plan_is_refused_with_the_place_and_the_mend(
    text: str, place: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load_plan(path)
    assert f"plan.yaml:{place}" in str(refused.value)
    assert said in str(refused.value)


def test_all_mistakes_of_a_plan_are_shown_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("seed: x\nfaults:\n- {on: fetch, do: htm}\n- {do: nan}")
    with pytest.raises(UsageError) as refused:
        load_plan(path)
    assert str(refused.value).count("plan.yaml:") == 3


def test_a_plan_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_plan(tmp_path / "none.yaml")


def test_json_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"seed": 3, "faults": [{"on": "all", "do": "html"}]}))
    (rule,) = load_plan(path).faults
    assert rule.on == ANYWHERE


def test_the_plan_that_the_documentation_shows_is_one() -> None:
    plan = load_plan(REPO / "docs" / "bad-night.yaml")
    assert len(plan.faults) >= 10
    documented = (REPO / "docs" / "faults.md").read_text()
    assert not [name for name in _RULES if f"`{name}`" not in documented]
