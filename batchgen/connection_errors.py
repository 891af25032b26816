"""Why a connection could not be made, in words that show no secret and say where to look."""

import os
import ssl
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp

from batchgen.outcomes import NotSent
from batchgen.proxies import Proxy, ProxyError
from batchgen.terminal import printable

PROXY_REFUSALS: Final = frozenset({401, 403, 405, 407})
"""Answers by which a proxy says that it will not serve us: others may pass."""


def unconnected(error: BaseException, proxy: Proxy | None) -> NotSent | None:
    """Judge an error of making a connection; None for any other.

    Args:
        error: What was raised.
        proxy: The proxy of the request, if it had one.
    """
    match error:
        case ProxyError():
            return NotSent(str(error), proxy=True)
        case aiohttp.ClientHttpProxyError(status=status):
            reason = f"the proxy {proxy} refuses to connect: HTTP {status}{_phrase(status)}"
            return NotSent(reason, proxy=status in PROXY_REFUSALS)
        case aiohttp.ClientConnectorCertificateError():
            return NotSent(_about_certificate(error), certificate=True)
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=cause) if (
            proxy is not None and (host, port) == (proxy.host, proxy.port)
        ):
            return NotSent(f"the proxy {proxy} cannot be reached: {_short(cause)}")
        case _:
            return None


def _about_certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    """Say why a certificate is not trusted, and what was looked at to say so."""
    why = getattr(error.certificate_error, "verify_message", "") or "it does not fit"
    # Of a certificate's dates it is this machine's that may be wrong.
    judged_by = (
        f"by the clock of this machine it is {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        if "expired" in why or "not yet valid" in why
        else f"trusted are those in {trusted_certificates()}"
    )
    return printable(f"the certificate of {error.host} cannot be trusted: {why} ({judged_by})")


def trusted_certificates() -> str:
    """Say which file and folder of certificates a host is checked against."""
    paths = ssl.get_default_verify_paths()
    said = []
    for name in (paths.openssl_cafile_env, paths.openssl_capath_env):
        if path := os.environ.get(name):
            there = "" if Path(path).exists() else ", which does not exist"
            said.append(f"{name}={path}{there}")
    return printable(", ".join(said)) or paths.cafile or paths.capath or paths.openssl_cafile


def certificates_objection() -> str | None:
    """Say what is wrong with the file of certificates that the environment names; None if nothing.

    OpenSSL is silent about one that it cannot read, and then trusts nobody, or whom a folder names.
    """
    name = ssl.get_default_verify_paths().openssl_cafile_env
    if not (path := os.environ.get(name)):
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return printable(f"{name}={path} holds no certificate that can be read")
    except OSError as error:
        return printable(f"{name}={path} cannot be read: {error.strerror or error}")
    return None


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _short(error: BaseException) -> str:
    return printable(str(error))[:200] or type(error).__name__
