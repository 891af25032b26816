"""Through a proxy of the environment everything works, and nobody learns what is not theirs."""

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp.connector
import anyio.to_thread
import pytest
from aiohttp import web

from batchgen.errors import UsageError
from batchgen.job import Job, NotifySettings, Output, Prompt, ProviderSettings, TimeoutSettings
from batchgen.models import WAN_1_3B
from batchgen.notify import tell
from batchgen.outcomes import NotSent, Unusable
from batchgen.part import Part
from batchgen.providers.aimlapi import Secret, connect
from batchgen.providers.pricing import quoted_price
from batchgen.transfer import Saved, open_transfer
from tests.security.hostile import KEY, PASSWORD, SIGNATURE, clip
from tests.security.internet import CDN, CERTIFICATE
from tests.security.proxy import Proxy, tunnelling

pytestmark = pytest.mark.anyio
LOGIN = f"somebody:{PASSWORD}"
FAR = f"https://{CDN}"
VIDEO = f"{FAR}/files/x.mp4?Signature={SIGNATURE}"
SOON = TimeoutSettings(request=5.0, submit=5.0)
NETRC = "CANARYnetrc5d1f"
PRICE = {"kind": "fixed", "currency": "USD", "units": [{"price": 0.06, "per": "video"}]}


async def api(request: web.Request) -> web.Response:
    """Make every video at once."""
    if request.path.startswith("/files/"):
        return web.Response(body=clip(), content_type="video/mp4")
    if request.path == "/v1/models":
        return web.json_response({"data": [{"pricing": PRICE}]})
    if request.method == "POST":
        return web.json_response({"id": "an-id", "status": "queued"})
    return web.json_response({"id": "an-id", "status": "completed", "video": {"url": VIDEO}})


@pytest.fixture(autouse=True)
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the test's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    # aiohttp made its own when it was imported.
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())


def use(monkeypatch: pytest.MonkeyPatch, proxy: Proxy, login: str = LOGIN) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}@127.0.0.1:{proxy.port}")


async def test_a_whole_run_goes_through_the_proxy_and_its_password_is_nowhere(
    tmp_path: Path,
) -> None:
    (tmp_path / ".netrc").write_text(f"machine {CDN} login {NETRC} password {NETRC}\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "job.yaml").write_text(
        f"prompts: [a fox]\nprovider: {{kind: aimlapi, base_url: '{FAR}'}}\n"
        "budget: {max_usd: 1}\nrun: {poll: {first: 20ms, every: 20ms}}\n"
    )
    async with tunnelling(api, login=LOGIN) as proxy:
        surroundings = {
            **os.environ,
            "HTTPS_PROXY": f"http://{LOGIN}@127.0.0.1:{proxy.port}",
            "HOME": str(tmp_path),
            "AIMLAPI_KEY": KEY,
        }

        def command(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "batchgen", *arguments],
                cwd=tmp_path,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=100,
                check=False,
            )

        run = await anyio.to_thread.run_sync(command, "run", "job.yaml", "--yes", "-v")
        plan = await anyio.to_thread.run_sync(command, "plan", "job.yaml", "--json")
    assert run.returncode == 0, run.stdout
    assert f"through the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY)" in run.stdout
    assert json.loads(plan.stdout)["tasks"] == 1, plan.stdout
    # Tunnels and nothing else, none of them with the key.
    assert proxy.asked_for == {f"CONNECT {CDN}:443 HTTP/1.1"}
    assert KEY not in "".join(proxy.heads)
    assert len([each for each in proxy.requests if each.method == "POST"]) == 1
    (file,) = [each for each in proxy.requests if each.path.startswith("/files/")]
    assert "Authorization" not in file.headers
    for request in proxy.requests:
        assert "Proxy-Authorization" not in request.headers
        assert request.headers.get("Authorization", f"Bearer {KEY}") == f"Bearer {KEY}"
    left = "".join(
        path.read_bytes().decode("latin-1")
        for path in (tmp_path / "output").rglob("*")
        if path.is_file()
    )
    assert "the proxy 127.0.0.1" in left
    for secret in (PASSWORD, NETRC, KEY, SIGNATURE):
        assert secret not in run.stdout + plan.stdout + left


async def test_a_netrc_adds_no_password_to_any_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f"default login {NETRC} password {NETRC}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with tunnelling(api) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with (
            connect(FAR, Secret(KEY), WAN_1_3B, SOON) as provider,
            open_transfer(base_url=FAR, seconds=10) as transfer,
        ):
            assert await provider.price() == 0.06
            assert isinstance(await transfer.fetch(VIDEO, Part(tmp_path / "x.part")), Saved)
        assert await anyio.to_thread.run_sync(quoted_price, ProviderSettings(base_url=FAR)) == 0.06
    assert len(proxy.requests) == 3
    assert not [each for each in proxy.requests if "Authorization" in each.headers]
    assert "Authorization" not in "".join(proxy.heads)


@pytest.mark.parametrize("login", ["", "somebody:else"])
async def test_a_submit_that_the_proxy_refuses_never_left_and_says_so_without_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str
) -> None:
    async with tunnelling(api, login=LOGIN) as proxy:
        use(monkeypatch, proxy, login or "nobody")
        async with (
            connect(FAR, Secret(KEY), WAN_1_3B, SOON) as provider,
            open_transfer(base_url=FAR, seconds=10) as transfer,
        ):
            said = [
                await provider.submit(b"{}", "a"),
                await provider.fetch("an-id"),
                await transfer.fetch(VIDEO, Part(tmp_path / "x.part")),
            ]
    why = f"the proxy 127.0.0.1:{proxy.port} refuses to connect: HTTP 407"
    for outcome in said:
        assert isinstance(outcome, NotSent)
        assert outcome.reason.startswith(why)
        assert outcome.proxy
        assert "else" not in repr(outcome)
    assert proxy.requests == []


async def test_a_proxy_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with tunnelling(api) as proxy:
        pass
    use(monkeypatch, proxy)
    async with (
        connect(FAR, Secret(KEY), WAN_1_3B, SOON) as provider,
        open_transfer(base_url=FAR, seconds=10) as transfer,
    ):
        said = [
            await provider.submit(b"{}", "a"),
            await transfer.fetch(VIDEO, Part(tmp_path / "x.part")),
        ]
    for outcome in said:
        assert isinstance(outcome, NotSent)
        assert outcome.reason.startswith(f"the proxy 127.0.0.1:{proxy.port} cannot be reached")
        assert PASSWORD not in repr(outcome)


async def test_a_proxy_that_cannot_be_used_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://{LOGIN}@127.0.0.1:9")
    async with (
        connect(FAR, Secret(KEY), WAN_1_3B, SOON) as provider,
        open_transfer(base_url=FAR, seconds=10) as transfer,
    ):
        said = [
            await provider.submit(b"{}", "a"),
            await transfer.fetch(VIDEO, Part(tmp_path / "x.part")),
        ]
    for outcome in said:
        assert isinstance(outcome, NotSent)
        assert "HTTPS_PROXY names a proxy that speaks neither http nor https" in outcome.reason
        assert PASSWORD not in repr(outcome)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "[fd00::1]", "[::ffff:10.0.0.1]"],
)
async def test_an_address_that_is_not_public_is_not_asked_of_a_proxy_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    async with tunnelling(api) as proxy:
        use(monkeypatch, proxy)
        async with open_transfer(base_url=FAR, seconds=10) as transfer:
            said = await transfer.fetch(f"https://{host}/x.mp4", Part(tmp_path / "x.part"))
    assert isinstance(said, NotSent)
    assert said.private
    assert proxy.heads == []


async def test_a_redirect_through_a_proxy_is_checked_at_each_hop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def inwards(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "https://169.254.169.254/latest"})

    async with tunnelling(inwards) as proxy:
        use(monkeypatch, proxy)
        async with open_transfer(base_url=FAR, seconds=10) as transfer:
            said = await transfer.fetch(VIDEO, Part(tmp_path / "x.part"))
    assert said == Unusable("the video's address leads to a host that is not public")
    assert proxy.asked_for == {f"CONNECT {CDN}:443 HTTP/1.1"}


@pytest.mark.parametrize("proxied", [True, False])
async def test_a_certificate_that_cannot_be_trusted_says_which_file_was_looked_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, proxied: bool
) -> None:
    nowhere = tmp_path / "no-such-file.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(nowhere))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    async with tunnelling(api) as proxy:
        use(monkeypatch, proxy)
        monkeypatch.setenv("NO_PROXY", "" if proxied else "*")
        runner = web.AppRunner(web.Application())
        await runner.setup()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(CERTIFICATE)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        url = FAR if proxied else f"https://localhost:{runner.addresses[0][1]}"
        async with connect(url, Secret(KEY), WAN_1_3B, SOON) as provider:
            said = await provider.submit(b"{}", "a")
        await runner.cleanup()
    assert isinstance(said, NotSent)
    assert said.certificate
    assert f"SSL_CERT_FILE={nowhere}, which does not exist" in said.reason
    assert "cannot be trusted" in said.reason


async def test_a_message_at_the_end_goes_through_the_proxy_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hook = {"BATCHGEN_NOTIFY_URL": f"{FAR}/hooks/{SIGNATURE}"}
    made = Job("j", (Prompt("a fox"),), Output(tmp_path), notify=NotifySettings(asked=True))
    async with tunnelling(api, login=LOGIN) as proxy:
        use(monkeypatch, proxy)
        assert await tell(made, UsageError("no"), hook) is None
    assert [each.path for each in proxy.requests] == [f"/hooks/{SIGNATURE}"]
    assert SIGNATURE not in "".join(proxy.heads)


async def test_what_no_proxy_names_does_not_come_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tunnelling(api) as proxy:
        use(monkeypatch, proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.2,.example")
        async with connect("https://no-such-host.example", Secret(KEY), WAN_1_3B, SOON) as direct:
            assert isinstance(await direct.fetch("an-id"), NotSent)
    assert proxy.heads == []
