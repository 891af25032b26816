"""Why a connection could not be made, in words that show no secret and say where to look."""

import os
import ssl
from http import HTTPStatus
from pathlib import Path

import aiohttp

from batchgen.proxies import Proxy
from batchgen.terminal import printable


def connection_reason(error: BaseException, proxy: Proxy | None) -> str | None:
    """Put an error of making a connection into words; None for any other.

    Args:
        error: What was raised.
        proxy: The proxy of the request, if it had one.
    """
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return f"the proxy {proxy} refuses to connect: HTTP {status}{_phrase(status)}"
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it does not fit"
            return printable(
                f"the certificate of {error.host} cannot be trusted: {why} "
                f"(trusted are those in {trusted_certificates()})"
            )
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=cause) if (
            proxy is not None and (host, port) == (proxy.host, proxy.port)
        ):
            return f"the proxy {proxy} cannot be reached: {_short(cause)}"
        case _:
            return None


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
