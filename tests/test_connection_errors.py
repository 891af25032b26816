"""What is said of certificates that the environment names before any host is asked."""

from pathlib import Path

import pytest

from batchgen.connection_errors import certificates_objection
from tests.security.internet import CERTIFICATE


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
