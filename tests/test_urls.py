"""Which addresses are safe to talk to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.urls import base_url_objection, host_of, is_loopback, private_because


@pytest.mark.parametrize(
    "url",
    [
        "https://api.aimlapi.com",
        "https://api.aimlapi.com/",
        "https://proxy.example/aiml/v1",
        "https://[2001:db8::1]:8443",
        "http://127.0.0.1:8000",
        "http://127.8.9.1",
        "http://localhost:9",
        "http://[::1]:8000",
        "HTTPS://API.AIMLAPI.COM",
    ],
)
def test_https_anywhere_and_http_at_home_are_taken(url: str) -> None:
    assert base_url_objection(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.aimlapi.com", "in the clear; use https"),
        ("http://10.0.0.1", "in the clear"),
        ("http://0.0.0.0:80", "in the clear"),
        ("http://localhost.evil.example", "in the clear"),
        ("http://127.0.0.1.evil.example", "in the clear"),
        ("http://[::ffff:10.0.0.1]", "in the clear"),
        ("https://user:CANARY@host", "a user or a password"),
        ("https://user@host", "a user or a password"),
        ("https://@host", "a user or a password"),
        ("https://:CANARY@host", "a user or a password"),
        ("http://127.0.0.1@evil.example", "a user or a password"),
        ("https://host/?key=CANARY", "no ? and no #"),
        ("https://host#x", "no ? and no #"),
        ("api.aimlapi.com", "starts with https://"),
        ("ftp://host", "starts with https://"),
        ("file:///etc/passwd", "starts with https://"),
        ("https://", "starts with https://"),
        ("", "starts with https://"),
        ("https://host:99999", "no URL"),
        ("https://[::1", "no URL"),
    ],
)
def test_an_address_that_is_not_safe_is_objected_to_without_being_repeated(
    url: str, said: str
) -> None:
    objection = base_url_objection(url)
    assert objection is not None
    assert said in objection
    assert "CANARY" not in objection


@given(st.text())
def test_any_text_is_taken_or_objected_to(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}"):
        objection = base_url_objection(url)
        assert objection is None or objection.startswith("base_url ")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("example.com", False),
        ("", False),
        ("2130706433", False),
        ("0x7f.1", False),
    ],
)
def test_a_host_is_loopback_only_where_it_can_mean_nothing_else(
    host: str, *, loopback: bool
) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("198.18.0.7", "the fake-IP DNS of a VPN or proxy app"),
        ("198.19.255.255", "the fake-IP DNS of a VPN or proxy app"),
        ("0.0.0.0", "a DNS filter or a hosts file"),
        ("127.0.0.1", "a DNS filter or a hosts file"),
        ("::1", "a DNS filter or a hosts file"),
        ("::", "a DNS filter or a hosts file"),
        ("192.168.1.1", "a captive portal"),
        ("10.0.0.1", "a company's own DNS"),
        ("fd00::1", "a VPN"),
        ("fe80::1", "a VPN"),
        ("224.0.0.251", ""),
        ("2001:db8::1", ""),
    ],
)
def test_who_is_likely_to_have_answered_with_a_private_address_is_named(
    address: str, who: str
) -> None:
    said = private_because("cdn.example", address)
    assert said.startswith(f"cdn.example leads to {address}, which is not a public address")
    assert who in said
    assert (": " in said) is bool(who)
    assert private_because(address, address).startswith(f"{address} is not a public address")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://cdn.example/a.mp4?Signature=x", "cdn.example"),
        ("https://user@CDN.example:8443/a.mp4", "cdn.example:8443"),
        ("http://[::1]:80/", "::1:80"),
        ("https://[::1/", ""),
        ("https://cdn.example:99999/", ""),
        ("a.mp4", ""),
    ],
)
def test_a_url_s_host_is_named_without_user_and_path(url: str, host: str) -> None:
    assert host_of(url) == host
