"""What the benchmarks' server says, in the wire formats of the clients that are compared.

Pure: a request and the time in, an answer out. Each format holds what its client needs and no more.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.account import Account, Generation

PATH: Final = "/v2/generate/video/alibaba/generation"
PRICE: Final = 0.06
_FORM_PROMPT: Final = re.compile(rb'name="prompt"\r\n\r\n(.*?)\r\n--', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as far as the server looks at it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Return the path, escapes undone."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """Return the query's first values."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def prompt(self) -> str:
        """Return what is asked for, in JSON or in a form."""
        if found := _FORM_PROMPT.search(self.body):
            return found[1].decode()
        content = json.loads(self.body)
        return str(content.get("input", content).get("prompt"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `lost` stands for one that is thrown away with its connection."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    lost: bool = False


LOST: Final = Answer(0, lost=True)
_UNKNOWN: Final = Answer(404, b'{"message": "there is no such thing here"}')
_BUSY: Final = Answer(
    429,
    b'{"message": "too many at once", "path": "/", "requestId": "1", "statusCode": 429}',
)

Said = Callable[[Generation], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Server:
    """Answers for one account.

    Attributes:
        account: Its books.
        url: Root of the server, for the addresses it hands out.
        clip: The one video there is.
    """

    account: Account
    url: str
    clip: bytes = field(repr=False)

    def answer(self, request: Request, now: float) -> Answer:
        """Answer a request at Unix seconds `now`."""
        path = request.path
        if path.startswith("/files/"):
            return self._file()
        if path == PATH:
            return self._aimlapi(request, now)
        if path == "/account":
            return _json(self.account.counts())
        for root, dialect in (
            ("/v2/logs", self._log),
            ("/v1/models?", self._price),
            ("/v1/videos", self._openai),
            ("/v1/", self._replicate),
            ("/fal/", self._fal),
        ):
            if request.target.startswith(root):
                return dialect(request, now)
        return _UNKNOWN

    def _aimlapi(self, request: Request, now: float) -> Answer:
        if request.method == "POST":
            return self._submit(request, now, lambda new: {"id": new.id, "status": "queued"}, 201)
        generation = self.account.generations.get(request.query.get("generation_id", ""))
        if generation is None:
            return _UNKNOWN
        if not self.account.is_done(generation, now):
            return _json({"id": generation.id, "status": "generating"})
        cost = {"usage": {"credits_used": 120_000, "usd_spent": PRICE}}
        video = {"url": self._address(generation), "file_size": len(self.clip)}
        said = {"id": generation.id, "status": "completed", "video": video, "meta": cost}
        return _json(said)

    def _log(self, request: Request, now: float) -> Answer:
        del now
        offset, limit = (int(request.query[name]) for name in ("offset", "limit"))
        newest_first = list(reversed(self.account.generations.values()))
        rows = [
            {
                "created": datetime.fromtimestamp(generation.taken, UTC).isoformat(),
                "inference_id": generation.id,
                "client_request_id": generation.sent_as,
            }
            for generation in newest_first[offset : offset + limit]
        ]
        more = offset + limit < len(newest_first)
        return _json({"data": rows, "pagination": {"has_more": more}})

    def _price(self, request: Request, now: float) -> Answer:
        del now
        units = [{"price": PRICE, "per": "video"}]
        pricing = {"kind": "fixed", "currency": "USD", "units": units}
        return _json({"data": [{"id": request.query.get("id"), "pricing": pricing}]})

    def _openai(self, request: Request, now: float) -> Answer:
        def said(generation: Generation, status: str = "queued") -> dict[str, Any]:
            return {
                "id": generation.id,
                "object": "video",
                "status": status,
                "progress": 100 if status == "completed" else 0,
                "created_at": int(generation.taken),
                "model": "sora-2",
                "seconds": "4",
                "size": "720x1280",
            }

        if request.method == "POST":
            return self._submit(request, now, said)
        name, _, content = request.path.removeprefix("/v1/videos/").partition("/")
        generation = self.account.generations.get(name)
        if generation is None:
            return _UNKNOWN
        if content:
            return self._file()
        done = self.account.is_done(generation, now)
        return _json(said(generation, "completed" if done else "in_progress"))

    def _fal(self, request: Request, now: float) -> Answer:
        def said(generation: Generation) -> dict[str, Any]:
            place = f"{self.url}/fal/requests/{generation.id}"
            return {
                "request_id": generation.id,
                "response_url": place,
                "status_url": f"{place}/status",
                "cancel_url": f"{place}/cancel",
            }

        if request.method == "POST":
            return self._submit(request, now, said)
        name, _, status = request.path.removeprefix("/fal/requests/").partition("/")
        generation = self.account.generations.get(name)
        if generation is None:
            return _UNKNOWN
        if not status:
            return _json({"video": {"url": self._address(generation)}})
        done = self.account.is_done(generation, now)
        return _json({"status": "COMPLETED" if done else "IN_PROGRESS", "logs": None})

    def _replicate(self, request: Request, now: float) -> Answer:
        def said(generation: Generation, status: str = "starting") -> dict[str, Any]:
            done = status == "succeeded"
            return {
                "id": generation.id,
                "model": "a/model",
                "version": "hidden",
                "input": {},
                "status": status,
                "output": self._address(generation) if done else None,
                "urls": {"get": f"{self.url}/v1/predictions/{generation.id}"},
            }

        if request.method == "POST":
            return self._submit(request, now, said, 201)
        generation = self.account.generations.get(request.path.rpartition("/")[2])
        if generation is None:
            return _UNKNOWN
        done = self.account.is_done(generation, now)
        return _json(said(generation, "succeeded" if done else "processing"))

    def _submit(self, request: Request, now: float, said: Said, status: int = 200) -> Answer:
        sent_as = request.headers.get("x-client-request-id", "")
        generation = self.account.submit(request.prompt, sent_as, now)
        if generation is None:
            return _BUSY
        return LOST if self.account.loses_this() else _json(said(generation), status)

    def _file(self) -> Answer:
        self.account.files += 1
        return Answer(200, self.clip, "video/mp4")

    def _address(self, generation: Generation) -> str:
        return f"{self.url}/files/{generation.id}.mp4"


def _json(content: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode())
