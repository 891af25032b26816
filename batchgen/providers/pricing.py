"""What a video costs, asked before there is a run: without a key, and never for long.

It does not use the run's HTTP client, which takes longer to import than a plan takes to make.
"""

import errno
import http.client
import threading
from typing import Final
from urllib.parse import urlsplit

from batchgen._version import __version__
from batchgen.errors import BatchgenError
from batchgen.job import ProviderSettings
from batchgen.providers import wire
from batchgen.providers.base import BASE_URLS
from batchgen.urls import base_url_objection

PATIENCE: Final = 2.0
"""Seconds; a plan is worth no longer a wait."""
SANDBOX_USD: Final = 0.06
"""What the sandbox inside a run books for a video, in play money."""
MAX_ANSWER_BYTES: Final = 1 << 20


def known_price(settings: ProviderSettings) -> float | None:
    """Return what one video costs in US dollars where nobody need be asked; None elsewhere."""
    asked = settings.kind in BASE_URLS or settings.base_url is not None
    return None if asked else SANDBOX_USD


def quoted_price(settings: ProviderSettings, patience: float = PATIENCE) -> float | None:
    """Ask what one video costs in US dollars.

    Args:
        settings: Whom to ask.
        patience: Seconds after which no answer is waited for.

    Returns:
        The price; None where nobody answers in time, or the answer names no fixed price.
    """
    if (known := known_price(settings)) is not None:
        return known
    base_url = settings.base_url or BASE_URLS[settings.kind]
    if base_url_objection(base_url):
        return None
    answers: list[float | None] = []

    def ask() -> None:
        try:
            answers.append(_ask(base_url, settings.model, patience))
        except (OSError, http.client.HTTPException, BatchgenError):
            answers.append(None)

    # Looking a name up cannot be bounded or cancelled; a daemon's thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True, name="price")
    thread.start()
    thread.join(patience)
    return answers[0] if answers else None


def _ask(base_url: str, model: str, patience: float) -> float | None:
    """Make one GET, without a key, a cookie or a redirect.

    Raises:
        OSError: Nobody was reached, or not in time.
        http.client.HTTPException: What came back is not HTTP.
        ProxyError: The environment names a proxy that cannot be used.
    """
    # Imported here: known prices are not asked for.
    from batchgen.proxies import proxy_for  # noqa: PLC0415

    root = urlsplit(base_url)
    kind = http.client.HTTPSConnection if root.scheme == "https" else http.client.HTTPConnection
    host, port = root.hostname or "", root.port
    if (proxy := proxy_for(base_url)) is None:
        connection = kind(host, port, timeout=patience)
    elif proxy.url.startswith("https:"):
        raise OSError(errno.EPROTONOSUPPORT, "http.client speaks no TLS to a proxy")
    else:
        connection = kind(proxy.host, proxy.port, timeout=patience)
        connection.set_tunnel(host, port, dict(proxy.headers))
    try:
        connection.request(
            "GET",
            root.path.rstrip("/") + wire.price_path(model),
            headers={"User-Agent": f"batchgen/{__version__}", "Accept": "application/json"},
        )
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER_BYTES)
        return wire.read_price(body, model) if answer.status == 200 else None
    finally:
        connection.close()
