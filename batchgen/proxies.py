"""The proxies that the environment names, and which of them a request goes through.

Looked up for each request, and given to each: a session that trusted the environment by itself
would also take passwords for hosts out of `~/.netrc`. Users and passwords of proxies are secrets.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from batchgen.errors import ProviderRefused
from batchgen.urls import names_this_machine

_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""In the order in which they count."""


class ProxyError(ProviderRefused):
    """The environment names a proxy that cannot be used. The text shows nothing of its value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its root, without user and password.
        host: Its name or address.
        port: Its port.
        headers: What only it is sent: its user and password.
    """

    url: str
    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Name it in a message."""
        return f"{self.host}:{self.port}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that a request to an https address goes through; None for none.

    Addresses of this machine are never proxied, and neither is plain http, which goes nowhere else.

    Raises:
        ProxyError: The one that the environment names cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or names_this_machine(parts.hostname or ""):
        return None
    named = getproxies()
    value = named.get("https") or named.get("all")
    if not value or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return _read(value)


def announcement(base_url: str) -> str | None:
    """Say which proxy a run's requests go through; None where there is none to speak of.

    Args:
        base_url: Root of the API. One on this machine is a rehearsal, whose files are here too.

    Raises:
        ProxyError: The one that the environment names cannot be used.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https" or names_this_machine(parts.hostname or ""):
        return None
    who = "requests go"
    if (proxy := proxy_for(base_url)) is None:
        who, proxy = "requests to hosts of videos go", proxy_for("https://")
    if proxy is None:
        return None
    return (
        f"{who} through the proxy {proxy} ({_source()}), except for what NO_PROXY names; the proxy "
        "looks up the names of hosts, so nothing here can check that they lead to public addresses"
    )


def _source() -> str:
    return next((name for name in _VARIABLES if os.environ.get(name)), "the system's settings")


def _read(value: str) -> Proxy:
    """Read a proxy's address, with or without a scheme."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, given = parts.hostname, parts.port
    except ValueError:
        raise ProxyError(f"{_source()} does not hold the address of a proxy") from None
    if parts.scheme not in ("http", "https"):
        raise ProxyError(
            f"{_source()} names a proxy that speaks neither http nor https: name one that does, or "
            "unset it"
        )
    if not host:
        raise ProxyError(f"{_source()} does not hold the address of a proxy")
    port = given or (443 if parts.scheme == "https" else 80)
    written = f"[{host}]" if ":" in host else host
    headers = {}
    if parts.username is not None or parts.password is not None:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return Proxy(f"{parts.scheme}://{written}:{port}", host, port, headers)
