"""Which proxy a request goes through, and what is said of it: never its user and password."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import ExitCode
from batchgen.proxies import ProxyError, announcement, proxy_for
from batchgen.urls import literal_address, names_this_machine

FAR = "https://api.example/v2"
SECRET = "CANARYpassword31cc"


def test_without_a_proxy_in_the_environment_there_is_none() -> None:
    assert proxy_for(FAR) is None
    assert announcement(FAR) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_an_https_address_goes_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://proxy.corp:3128")
    proxy = proxy_for(FAR)
    assert proxy is not None
    assert (proxy.url, str(proxy), proxy.headers) == (
        "http://proxy.corp:3128",
        "proxy.corp:3128",
        {},
    )
    assert f"through the proxy proxy.corp:3128 ({name})" in (announcement(FAR) or "")


def test_a_change_of_the_environment_counts_from_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    assert str(proxy_for(FAR)) == "one:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://two:2")
    assert str(proxy_for(FAR)) == "two:2"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("proxy.corp:3128", "http://proxy.corp:3128"),
        ("http://proxy.corp", "http://proxy.corp:80"),
        ("https://proxy.corp/", "https://proxy.corp:443"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
        (f"u:{SECRET}@10.0.0.1:1", "http://10.0.0.1:1"),
    ],
)
def test_a_proxy_is_named_with_or_without_a_scheme_and_a_port(
    monkeypatch: pytest.MonkeyPatch, value: str, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    proxy = proxy_for(FAR)
    assert proxy is not None
    assert proxy.url == url


@given(user=st.text(max_size=20), password=st.text(max_size=20))
def test_user_and_password_are_for_the_proxy_only(user: str, password: str) -> None:
    from urllib.parse import quote

    try:
        login = f"{user}:{password}".encode()
    except UnicodeEncodeError:
        return
    with pytest.MonkeyPatch.context() as patch:
        value = f"http://{quote(user, safe='')}:{quote(password, safe='')}@proxy.corp:3128"
        patch.setenv("HTTPS_PROXY", value)
        proxy = proxy_for(FAR)
    assert proxy is not None
    kind, _, sent = proxy.headers["Proxy-Authorization"].partition(" ")
    assert (kind, b64decode(sent)) == ("Basic", login)
    assert proxy.url == "http://proxy.corp:3128"


def test_no_word_about_a_proxy_holds_its_user_or_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{SECRET}:{SECRET}@proxy.corp:3128")
    for said in (str(proxy_for(FAR)), repr(proxy_for(FAR)), announcement(FAR)):
        assert "proxy.corp" in str(said)
        assert SECRET not in str(said)


@pytest.mark.parametrize(
    "value",
    [
        f"socks5://{SECRET}:{SECRET}@127.0.0.1:1080",
        f"http://{SECRET}@proxy:port",
        f"http://{SECRET}@",
        f"http://[{SECRET}",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    for ask in (proxy_for, announcement):
        with pytest.raises(ProxyError, match="HTTPS_PROXY") as caught:
            ask(FAR)
        assert SECRET.lower() not in str(caught.value).lower()
        assert caught.value.exit_code is ExitCode.REFUSED


@pytest.mark.parametrize(
    ("excluded", "url"),
    [
        ("api.example", FAR),
        (".example", FAR),
        ("other.net, API.example", FAR),
        ("api.example:8443", "https://api.example:8443/x"),
        ("*", FAR),
        ("93.184.216.34", "https://93.184.216.34/x.mp4"),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_what_no_proxy_names_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch, name: str, excluded: str, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv(name, excluded)
    assert proxy_for(url) is None
    assert excluded == "*" or proxy_for("https://cdn.other/x.mp4") is not None


def test_where_only_videos_go_through_a_proxy_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", "api.example")
    assert (announcement(FAR) or "").startswith("requests to hosts of videos go through the proxy")
    monkeypatch.setenv("NO_PROXY", "*")
    assert announcement(FAR) is None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "a.localhost", "[::1]", "127.9.9.9"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_never_asked_for_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.corp:3128")
    assert proxy_for(f"{scheme}://{host}:8765/v2") is None
    assert announcement(f"{scheme}://{host}:8765") is None
    assert names_this_machine(host.strip("[]"))


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "128.0.0.1", "example", ""])
def test_other_names_are_not_this_machine(host: str) -> None:
    assert not names_this_machine(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1.", "10.0.0.1"),
        ("10.1", "10.0.0.1"),
        ("167772161", "10.0.0.1"),
        ("0x0a000001", "10.0.0.1"),
        ("012.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
        ("::ffff:a00:1", "::ffff:a00:1"),
        ("cdn.example", None),
        ("10.0.0.example", None),
        ("", None),
        ("\ud800", None),
        ("a\0b", None),
    ],
)
def test_an_address_in_a_url_is_seen_in_any_spelling(host: str, address: str | None) -> None:
    assert literal_address(host) == address


@given(st.text(max_size=30))
def test_no_host_makes_it_raise(host: str) -> None:
    literal_address(host)
    names_this_machine(host)
