"""Texts that mean harm wherever they are shown, and an API that repeats them and every secret."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

from aiohttp import web

from batchgen.sandbox.clips import ClipRequest, render

KEY: Final = "aiml-0fCANARYkey5e8a11d0c4b7f3e2"
SIGNATURE: Final = "CANARYsignature77aa"
PASSWORD: Final = "CANARYpassword31cc"
CANARIES: Final = (KEY, SIGNATURE, PASSWORD)

TEXTS: Final = {
    "plain": "A red fox trots through snow",
    "ansi": "\x1b[2J\x1b[1;31mall done\x1b[0m",
    "title": "\x1b]0;owned\x07fox",
    "osc 8": "\x1b]8;;https://evil.example\x1b\\fox\x1b]8;;\x1b\\",
    "osc 52": "\x1b]52;c;ZXZpbA==\x07fox",
    "c1": "\x9b31mfox\x9d52;c;ZXZpbA==\x9c",
    "lines": "fox\r\n2026-08-01T00:00:00+00:00 batchgen: all done\n",
    "other lines": "fox\x85a\u2028b\u2029c\x0bd\x0ce",
    "backspace": "fox\x08\x08\x08owl\x7f",
    "nul": "fox\x00.exe",
    "bidi": "\u202efox\u2066owl\u2069\u200f\u061c",
    "invisible": "f\u200bo\u2060x\ufeff\U000e0041",
    "formula": "=cmd|'/C calc'!A0",
    "plus": "+1+1",
    "minus": "-2+3",
    "minus one": "-1",
    "at": "@SUM(1+1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "line feed": "\n=1+1",
    "wide formula": "\N{FULLWIDTH EQUALS SIGN}1+1",
    "apostrophe": "'=1+1",
    "quotes": '"\'`,;""=1+1,"',
    "script": "</script><script>alert(1)</script>",
    "comment": "<!--<script>",
    "attribute": "\" onerror=alert(1) x='",
    "jinja": "{{ 7 * 7 }}{% raw %}{# #}",
    "variables": "$$ $${x} %s {0} \\u003c &lt;",
    "parents": "../../../../tmp/evil",
    "absolute": "/etc/cron.d/evil",
    "backslashes": "..\\..\\C:\\evil",
    "percent": "..%2f..%2fevil",
    "device": "CON",
    "device with ending": "nul.txt",
    "dashes": "--output=/tmp/evil",
    "dots": "...hidden.",
    "upper case": "FOX AND OWL",
    "lower case": "fox and owl",
    "long": "x" * 400,
    "long chinese": "\u72d0" * 200,
    "long emoji": "\N{FOX FACE}" * 100,
    "marks": "e\u0301" * 200,
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
}
"""By what they try."""


@cache
def clip() -> bytes:
    return render(ClipRequest("a fox", width=160, height=96))


class Api:
    """Takes every generation, and repeats prompt, key and secrets wherever it can.

    The seed says what becomes of it: 1 a video, 2 a failure, 3 a refusal, 4 a file that is gone.

    Attributes:
        file_requests: What came for a file: address and headers.
    """

    def __init__(self) -> None:
        self.file_requests: list[str] = []
        self._prompts: dict[str, tuple[str, int]] = {}
        self._numbers = itertools.count()

    async def submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt, seed = body["prompt"], body["seed"]
        if seed == 3:
            return self._json({"message": f"{prompt} {self._secrets(request)}"}, status=400)
        number = f"gen/{next(self._numbers)}"
        self._prompts[number] = prompt, seed
        name = f"{number}/{KEY}"
        return self._json({"id": name, "status": f"queued {KEY}"}, named=name)

    async def fetch(self, request: web.Request) -> web.Response:
        number = "/".join(request.query["generation_id"].split("/")[:2])
        prompt, seed = self._prompts[number]
        if seed == 2:
            said = f"{prompt} {self._secrets(request)}"
            return self._json({"status": "error", "error": {"name": prompt, "message": said}})
        origin = f"user:{PASSWORD}@{request.host}"
        name = "/etc/passwd" if seed == 1 else "../../evil.mp4"
        return self._json(
            {
                "status": "completed",
                "video": {
                    "url": f"http://{origin}/{number}.mp4?Signature={SIGNATURE}&key={KEY}#{PASSWORD}",
                    "file_name": f"{name}{prompt}",
                    "content_type": prompt,
                },
            }
        )

    async def file(self, request: web.Request) -> web.Response:
        self.file_requests.append(f"{request.path_qs} {dict(request.headers)}")
        _, seed = self._prompts[request.path.removeprefix("/").removesuffix(".mp4")]
        if seed == 4:
            return web.Response(status=451, text=f"{SIGNATURE} {KEY}")
        if request.query.get("again") is None:
            target = f"{request.path}?again=1&Signature={SIGNATURE}"
            return web.Response(status=302, headers={"Location": target})
        disposition = 'attachment; filename="../../../evil.mp4"'
        return web.Response(body=clip(), headers={"Content-Disposition": disposition})

    def _secrets(self, request: web.Request) -> str:
        return f"{request.headers['Authorization']} {KEY}"

    @staticmethod
    def _json(content: dict[str, object], status: int = 200, named: str = KEY) -> web.Response:
        return web.Response(
            status=status,
            text=json.dumps(content),
            content_type="application/json",
            headers={"X-Inference-Id": named, "X-Request-Id": KEY},
        )


@asynccontextmanager
async def hostile_api() -> AsyncIterator[tuple[str, Api]]:
    """Serve the API on this machine; yield its root and itself."""
    api = Api()
    app = web.Application()
    for path in ("/v2/generate/video/alibaba/generation", "/v2/video/generations"):
        app.router.add_post(path, api.submit)
        app.router.add_get(path, api.fetch)
    app.router.add_get("/gen/{name}", api.file)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", api
    finally:
        await runner.cleanup()
