"""What is said of certificates, before any host is asked and when one is not trusted."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from batchgen.connection_errors import (
    certificates_objection,
    trusted_certificates,
    unconnected,
)
from batchgen.outcomes import NotSent
from tests.security.internet import CERTIFICATE

KEY = ConnectionKey(
    "api.example",
    443,
    is_ssl=True,
    ssl=True,
    proxy=None,
    proxy_auth=None,
    proxy_headers_hash=None,
    server_hostname=None,
)


def test_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert (
        certificates_objection()
        == f"SSL_CERT_FILE={path} cannot be read: No such file or directory"
    )
    path.write_text("")
    assert certificates_objection() == f"SSL_CERT_FILE={path} holds no certificate that can be read"
    path.write_bytes(CERTIFICATE.read_bytes())
    assert certificates_objection() is None


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_name_there_is_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if value is not None:
        monkeypatch.setenv("SSL_CERT_FILE", value)
    assert certificates_objection() is None


def not_trusted(why: str) -> NotSent:
    cause = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    cause.verify_message = why
    found = unconnected(aiohttp.ClientConnectorCertificateError(KEY, cause), None)
    assert found is not None
    assert found.certificate
    return found


@pytest.mark.parametrize("why", ["certificate has expired", "certificate is not yet valid"])
def test_a_certificate_of_another_time_is_said_with_the_time_it_is_here(why: str) -> None:
    said = not_trusted(why).reason
    assert said.startswith(f"the certificate of api.example cannot be trusted: {why} ")
    assert f"by the clock of this machine it is {datetime.now(UTC):%Y-%m-%d}" in said


def test_another_certificate_is_said_with_what_is_trusted() -> None:
    said = not_trusted("unable to get local issuer certificate").reason
    assert f"(trusted are those in {trusted_certificates()})" in said


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        aiohttp.ClientConnectorError(KEY, OSError(111, "refused")),
        aiohttp.ServerDisconnectedError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_judged_here(error: Exception) -> None:
    assert unconnected(error, None) is None
