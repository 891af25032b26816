"""The key goes to the API's origin; no key, password or signature is in a file or on a screen."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen.cli.app import main
from batchgen.errors import BatchgenError, ProviderRefused
from batchgen.job import Job, Output, Prompt, ProviderSettings, TimeoutSettings
from batchgen.ledger.ledger import Ledger
from batchgen.models import WAN_1_3B
from batchgen.providers.aimlapi import Secret, connect
from batchgen.savedjob import save_job, saved_job
from batchgen.session import run_job
from batchgen.urls import without_secrets
from tests.security.conftest import Night
from tests.security.hostile import CANARIES, KEY, PASSWORD, SIGNATURE, hostile_api

FILES = [
    "manifest.jsonl",
    "manifest.csv",
    "metadata.jsonl",
    "index.html",
    "README.md",
    "run.log",
    "job.yaml",
    ".batchgen/job.json",
    ".batchgen/status.json",
    ".batchgen/ledger.sqlite",
    ".batchgen/rescued-ids",
]


def holds(content: bytes, canary: str) -> bool:
    """Tell whether a canary is in some bytes, as it is or as others may have spelled it."""
    raw = canary.encode()
    spelled = {raw, base64.b64encode(raw), quote(canary, safe="").encode(), raw.hex().encode()}
    return any(one.lower() in content.lower() for one in spelled)


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_in_a_file_of_the_night(night: Night, name: str, canary: str) -> None:
    content = (night.folder / name).read_bytes()
    assert content
    assert not holds(content, canary)


@pytest.mark.parametrize("canary", CANARIES)
def test_no_secret_is_in_any_file_at_all(night: Night, canary: str) -> None:
    files = [path for path in night.base.rglob("*") if path.is_file()]
    assert len(files) > len(FILES) + 40
    assert [path for path in files if holds(path.read_bytes(), canary)] == []


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("command", ["run", "status", "plan", "plan --tasks", "gallery", "resolve"])
def test_no_secret_is_on_the_screen(night: Night, command: str, canary: str) -> None:
    assert not holds(night.screens[command], canary)


def test_the_key_goes_to_no_file_host(night: Night) -> None:
    assert len(night.file_requests) > 40
    assert not [request for request in night.file_requests if KEY in request]
    # The address's own password is its host's.
    assert all("'Authorization': 'Basic " in request for request in night.file_requests[:1])


def test_the_manifest_names_the_host_of_a_video_and_no_more_than_its_path(night: Night) -> None:
    for row in night.rows():
        if row["video_url"] is not None:
            assert row["video_url"].startswith("http://127.0.0.1:")
            assert row["video_url"].endswith(".mp4")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/x.mp4?Signature=s&x=1", "https://h/x.mp4"),
        ("https://h/x.mp4#token", "https://h/x.mp4"),
        ("https://h/x.mp4?a#b?c", "https://h/x.mp4"),
        ("https://user:secret@h:8443/x.mp4", "https://h:8443/x.mp4"),
        ("https://secret@h/x.mp4", "https://h/x.mp4"),
        ("https://u:p@q@h/x.mp4", "https://h/x.mp4"),
        ("https://@h/x.mp4", "https://h/x.mp4"),
        ("https://[::1]:8443/x.mp4?s", "https://[::1]:8443/x.mp4"),
        ("https://[bad/x?s", ""),
        ("", ""),
    ],
)
def test_an_address_is_kept_without_what_opens_it(url: str, kept: str) -> None:
    assert without_secrets(url) == kept


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command in this process, in a directory of its own that holds `job.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text("prompts: [a fox]\nprovider: aimlapi\n")
    for name in ("AIMLAPI_KEY", "AIML_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out + captured.err

    return call


@pytest.mark.parametrize("verb", ["validate", "plan", "run"])
@pytest.mark.parametrize(
    "options",
    [
        ("--set", f"api_key={KEY}"),
        ("--set", f"aimlapi_key={KEY}"),
        ("--set", f"key={KEY}"),
        ("--set", KEY),
        ("--set", f"={KEY}"),
        ("--base-url", f"https://user:{KEY}@api.example"),
        ("--base-url", f"https://{KEY}@api.example"),
        ("--base-url", f"https://api.example/?key={KEY}"),
        ("--base-url", f"https://api.example#{KEY}"),
        ("--base-url", f"http://api.example/{KEY}"),
        ("--base-url", f"ftp://{KEY}"),
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    command: Callable[..., tuple[int, str]], verb: str, options: tuple[str, str]
) -> None:
    code, screen = command(verb, "job.yaml", *options)
    assert code in (2, 3)
    assert not holds(screen.encode(), KEY)
    assert [path.name for path in Path().iterdir()] == ["job.yaml"]


@pytest.mark.parametrize("verb", ["validate", "plan", "run"])
@pytest.mark.parametrize(
    "line",
    [
        f"api_key: {KEY}",
        f"provider: {{kind: aimlapi, api_key: {KEY}}}",
        f"provider: {{kind: aimlapi, aimlapi_key: {KEY}}}",
        f"provider: {{kind: aimlapi, AIMLAPI_KEY: {KEY}}}",
        f"provider: {{kind: aimlapi, secret_key: {KEY}}}",
        f"provider: {{kind: aimlapi, access_token: {KEY}}}",
        f"provider: {{kind: aimlapi, x-api-key: {KEY}}}",
        f"provider: {{kind: aimlapi, apiKey: {KEY}}}",
        f"provider: {{kind: aimlapi, auth: Bearer {KEY}}}",
        f"provider: {{kind: aimlapi, pass: {KEY}}}",
        f"provider: {{kind: aimlapi, credentials: {{value: {KEY}}}}}",
        f"provider: {{kind: aimlapi, api_key_env: {KEY}}}",
        f"provider: {{kind: aimlapi, headers: {{Authorization: Bearer {KEY}}}}}",
        f"provider: {{kind: aimlapi, base_url: 'https://user:{KEY}@api.example'}}",
        f"defaults: {{aimlapi_key: {KEY}}}",
        f"defaults: {{api_token: {KEY}}}",
        f"matrix: {{api-key: [{KEY}]}}",
        f"include: [{{api_secret: {KEY}}}]",
        f"run: {{api_key: {KEY}",
        f"  api_key: {KEY}",
    ],
)
def test_a_key_in_a_job_file_is_refused_and_not_repeated(
    command: Callable[..., tuple[int, str]], verb: str, line: str
) -> None:
    Path("job.yaml").write_text(f"prompts: [a fox]\n{line}\n")
    code, screen = command(verb, "job.yaml")
    assert code == 3
    assert not holds(screen.encode(), KEY)
    assert [path.name for path in Path().iterdir()] == ["job.yaml"]


@pytest.mark.parametrize("name", ["aimlapi_key", "api_token", "API-KEY", "my_secret_key", "apiKey"])
def test_a_key_is_no_parameter_of_a_model_nobody_knows(
    command: Callable[..., tuple[int, str]], name: str
) -> None:
    Path("job.yaml").write_text(
        f"prompts: [a fox]\nprovider: {{model: new/model}}\ndefaults: {{{name}: {KEY}}}\n"
    )
    code, screen = command("plan", "--tasks", "job.yaml")
    assert code == 3
    assert not holds(screen.encode(), KEY)


@pytest.mark.parametrize("name", ["keyframes", "key_light", "token_count", "monkey", "passes"])
def test_a_parameter_that_only_sounds_like_a_key_is_taken(
    command: Callable[..., tuple[int, str]], name: str
) -> None:
    Path("job.yaml").write_text(
        f"prompts: [a fox]\nprovider: {{model: new/model}}\ndefaults: {{{name}: 7}}\n"
    )
    assert command("validate", "job.yaml")[0] == 0


@pytest.mark.parametrize("bad", [f"{KEY} x", f"{KEY}\nx", f"\u00fc{KEY}", f"{KEY}\x7f"])
def test_a_key_that_can_be_none_is_refused_and_not_repeated(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setenv("AIMLAPI_KEY", bad)
    code, screen = command("run", "job.yaml", "-v")
    assert code == 4
    assert not holds(screen.encode(), KEY)


def surroundings(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BATCHGEN_", "AIML")) and not name.lower().endswith("proxy")
    }
    return {**kept, "HOME": str(tmp_path), **more}


def run_command(tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "batchgen", *arguments],
        cwd=tmp_path,
        env=surroundings(tmp_path, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


BUG = """\
import batchgen.run.{room} as room

def broken(*args, **kwargs):
    raise ZeroDivisionError("a bug")

room.{name} = broken
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("room", "name"), [("submit", "decide"), ("completion", "next_wait"), ("download", "_fetch")]
)
async def test_the_traceback_of_a_bug_shows_no_secret(tmp_path: Path, room: str, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUG.format(room=room, name=name))
    async with hostile_api() as (url, _):
        (tmp_path / ".env").write_text(f"AIMLAPI_KEY={KEY}\nHTTPS_PROXY=http://u:{PASSWORD}@p\n")
        seeds = 3 if name == "decide" else 1
        (tmp_path / "job.yaml").write_text(
            f"prompts: [a fox]\ndefaults: {{seed: {seeds}}}\n"
            f"provider: {{kind: aimlapi, base_url: '{url}'}}\n"
            "run: {poll: {first: 20ms, every: 20ms}}\n"
        )
        ended = await anyio.to_thread.run_sync(
            lambda: run_command(tmp_path, "run", "job.yaml", "-v", PYTHONPATH=str(tmp_path))
        )
    screen = ended.stdout + ended.stderr
    assert ended.returncode == 1, screen.decode()
    assert b"Traceback" in screen
    assert b"ZeroDivisionError: a bug" in screen
    assert b"this is a bug in batchgen" in screen
    files = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    for canary in CANARIES:
        assert not holds(screen, canary)
        assert not [path for path in files if holds(path.read_bytes(), canary)]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_of_the_api_takes_the_key_elsewhere(status: int) -> None:
    came: list[str] = []

    async def trap(request: web.Request) -> web.Response:
        came.append(request.path)
        return web.Response(text="{}")

    elsewhere = web.Application()
    elsewhere.router.add_route("*", "/{path:.*}", trap)
    async with TestServer(elsewhere, host="127.0.0.1") as other:

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": str(other.make_url("/x"))})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        async with (
            TestServer(app, host="127.0.0.1") as server,
            connect(str(server.make_url("")).rstrip("/"), Secret(KEY), WAN_1_3B, SOON) as provider,
        ):
            for said in (
                await provider.submit(b"{}", "a"),
                await provider.fetch("id"),
                await provider.find(["a"], 0.0),
                await provider.price(),
            ):
                assert KEY not in repr(said)
    assert came == []


SOON = TimeoutSettings(request=5.0, submit=5.0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.example",
        "http://10.0.0.1",
        "http://localhost.api.example",
        f"https://user:{KEY}@api.example",
        f"https://api.example/?key={KEY}",
        "ftp://api.example",
        "api.example",
    ],
)
async def test_a_program_s_address_is_checked_before_the_key_goes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    monkeypatch.setenv("AIMLAPI_KEY", KEY)
    settings = ProviderSettings("aimlapi", WAN_1_3B, base_url=base_url)
    job = Job("night", (Prompt("a fox"),), Output(tmp_path / "run"), provider=settings)
    with pytest.raises(ProviderRefused) as caught:
        await run_job(job)
    assert not holds(str(caught.value).encode(), KEY)


@pytest.mark.anyio
async def test_the_settings_of_a_run_directory_are_checked_like_a_program_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMLAPI_KEY", KEY)
    settings = ProviderSettings("aimlapi", WAN_1_3B, base_url="http://api.example")
    with Ledger.open(tmp_path) as ledger:
        save_job(ledger.directory, Job("n", (), Output(tmp_path), provider=settings))
        job = saved_job(ledger.directory)
    with pytest.raises(BatchgenError, match="in the clear"):
        await run_job(job)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
async def test_no_proxy_of_the_environment_sees_the_key(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    came: list[str] = []

    def app(name: str) -> web.Application:
        async def answer(_: web.Request) -> web.Response:
            came.append(name)
            return web.Response(text=json.dumps({"status": "queued"}))

        made = web.Application()
        made.router.add_route("*", "/{path:.*}", answer)
        return made

    async with (
        TestServer(app("proxy"), host="127.0.0.1") as proxy,
        TestServer(app("api"), host="127.0.0.1") as server,
    ):
        monkeypatch.setenv(name, f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        url = f"http://127.0.0.1:{server.port}"
        async with connect(url, Secret(KEY), WAN_1_3B, SOON) as provider:
            said = await provider.fetch("id")
    assert came == ["api"]
    assert PASSWORD not in repr(said)


def test_the_canaries_were_really_told(night: Night) -> None:
    """What is looked for above was there to be found."""
    assert SIGNATURE in night.file_requests[0]
    assert "***" in night.screens["run"].decode()
    assert any(row["error_message"] and "***" in row["error_message"] for row in night.rows())
