"""Which addresses are safe to talk to. Pure: looks nothing up."""

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit, urlunsplit


def base_url_objection(url: str) -> str | None:
    """Say what is wrong with an API's root URL, or None: the key must not travel in the clear."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "base_url is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "base_url starts with https:// and names a host"
    if parts.username is not None or parts.password is not None:
        return "base_url holds a user or a password; the key comes from the environment"
    if parts.query or parts.fragment:
        return "base_url ends with its path: no ? and no #"
    if parts.scheme == "http" and not is_loopback(host):
        return "base_url is http: the key would travel in the clear; use https"
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_UNUSUAL: Final = (
    ("198.18.0.0/15", "the fake-IP DNS of a VPN or proxy app answers so"),
    ("127.0.0.0/8", _BLOCKED := "a DNS filter or a hosts file answers so for a name it blocks"),
    ("0.0.0.0/8", _BLOCKED),
    ("::/127", _BLOCKED),
    ("100.64.0.0/10", _NEARBY := "a captive portal, a VPN or a company's own DNS answers so"),
    ("10.0.0.0/8", _NEARBY),
    ("172.16.0.0/12", _NEARBY),
    ("192.168.0.0/16", _NEARBY),
    ("169.254.0.0/16", _NEARBY),
    ("fc00::/7", _NEARBY),
    ("fe80::/10", _NEARBY),
)
"""Who is likely to have answered a name with an address that is not public (RFC 6890, RFC 2544)."""


def private_because(host: str, address: str) -> str:
    """Say that a host has an address that is not public, and what is likely behind it.

    Args:
        host: Its name, or the address itself.
        address: Where it leads: an IP address.
    """
    ip = ipaddress.ip_address(address)
    because = next(
        (f": {who}" for network, who in _UNUSUAL if ip in ipaddress.ip_network(network)), ""
    )
    leads = address if literal_address(host) else f"{host} leads to {address}, which"
    return f"{leads} is not a public address{because}"


def host_of(url: str) -> str:
    """Return the host, with its port if the URL has one; nothing for a text that is not a URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return ""
    return f"{parts.hostname or ''}{port}"


def names_this_machine(host: str) -> bool:
    """Tell whether a host in a URL means this machine: loopback, or a name below `localhost`.

    RFC 6761, section 6.3, keeps these names for it.
    """
    name = host.rstrip(".").lower()
    return is_loopback(name) or name.endswith(".localhost")


def literal_address(host: str) -> str | None:
    """Return the IP address that a host in a URL is, in whatever spelling; None for a name."""
    host = host.rstrip(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        # `127.1`, `2130706433` and `0x7f000001` are addresses to whoever looks names up.
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def without_secrets(url: str) -> str:
    """Return an address as it may be kept: no user, no password, no query, no fragment.

    The query of a video's address is a signature: who has it can fetch the video. Of a text that
    is no URL nothing is kept.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
