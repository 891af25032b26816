"""Tells somebody how a run ended: a small JSON, sent to an address that stands in the environment.

Watches a run from above, as the display does; a run works the same without it. The address is a
secret, for who has it can write to the channel behind it: it is in no message, log or file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from batchgen._version import __version__
from batchgen.clock import Clock, SystemClock
from batchgen.errors import BatchgenError
from batchgen.events import Reason, Summary
from batchgen.job import Job, NotifySettings, Occasion
from batchgen.proxies import ProxyError, proxy_for
from batchgen.task import Status
from batchgen.terminal import duration, printable
from batchgen.urls import is_loopback

WAITS: Final = (2.0, 8.0)
"""Seconds before the second try and the third: a morning message is not worth more."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0)

_ENDINGS: Final = {
    Reason.DONE: "finished",
    Reason.INTERRUPTED: "was interrupted",
    Reason.REFUSED: "was refused",
    Reason.BUDGET: "stopped at its budget",
    Reason.DEADLINE: "stopped at its deadline",
    Reason.FAILURES: "stopped after failures",
    Reason.GAVE_UP: "gave up",
    Reason.MOVED: "stopped: its directory was moved",
}
_IN_WORDS: Final = {
    Status.FAILED: "failed",
    Status.TIMED_OUT: "took too long",
    Status.UNRESOLVED: "unresolved",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one try.

    Attributes:
        trouble: What went wrong, without the address; empty where nothing did.
        again: Whether another try may go better.
    """

    trouble: str = ""
    again: bool = False


def objection(settings: NotifySettings, environment: Mapping[str, str] = os.environ) -> str | None:
    """Say before a run why nobody will be told of its end, though somebody asked for it.

    Args:
        settings: Whom to tell.
        environment: Where the address stands.

    Returns:
        A sentence without the address, or None.
    """
    name, url = settings.url_env, environment.get(settings.url_env, "").strip()
    if not url:
        if settings.asked:
            return f"nobody is notified of the end: {name} is not set (notify: url_env)"
        return None
    if not _safe(url):
        return f"nobody is notified of the end: {name} holds no address that begins with https://"
    return None


async def tell(
    job: Job,
    end: Summary | BatchgenError,
    environment: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
) -> str | None:
    """Tell whoever the job names how its run ended, if it was asked for.

    Cancelling it sends nothing more.

    Args:
        job: The job.
        end: How its run ended, or what ended it.
        environment: Where the address stands.
        clock: Time.

    Returns:
        Why it could not be told, a sentence without the address; None where it was, or nobody is
        to be told.
    """
    url = environment.get(job.notify.url_env, "").strip()
    if _occasion(end) not in job.notify.on or not url or not _safe(url):
        return None
    clock = clock or SystemClock()
    answer = _Answer()
    async with aiohttp.ClientSession(
        timeout=TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"batchgen/{__version__}"},
    ) as session:
        for wait in (0.0, *WAITS):
            if wait:
                await clock.sleep(wait)
            answer = await _post(session, url, message(job, end))
            if not answer.again:
                break
    if not answer.trouble:
        return None
    return f"nobody was notified of the end: the address in {job.notify.url_env} {answer.trouble}"


def message(job: Job, end: Summary | BatchgenError) -> dict[str, object]:
    """Return what is sent: figures for programs, and `text` for chats."""
    about = {
        "text": _for_chats(f"{job.name} {_in_words(end)}"),
        "event": _occasion(end).value,
        "job": job.name,
        "directory": job.output.dir.resolve().name,
        "provider": job.provider.kind,
        "batchgen_version": __version__,
    }
    if isinstance(end, BatchgenError):
        return {**about, "reason": "error", "detail": str(end)}
    return {
        **about,
        "reason": end.reason.value,
        "detail": end.detail,
        "total": sum(end.counts.values()),
        "succeeded": end.counts.get(Status.SUCCEEDED, 0),
        "counts": {status.value: count for status, count in end.counts.items()},
        "submitted": end.submitted,
        "seconds": round(end.seconds, 1),
        "cost_usd": end.cost_usd,
        "cost_is_estimate": end.cost_is_estimate,
    }


def _in_words(end: Summary | BatchgenError) -> str:
    if isinstance(end, BatchgenError):
        return f"broke off: {end}"
    counts, total = end.counts, sum(end.counts.values())
    ending = "finished" if end.nothing_left else _ENDINGS[end.reason]
    noun = "video" if total == 1 else "videos"
    done = f"{counts.get(Status.SUCCEEDED, 0)} of {total} {noun} in {duration(end.seconds)}"
    words = [f"{ending}: {done}"]
    words += [
        f"{count} {said}" for status, said in _IN_WORDS.items() if (count := counts.get(status))
    ]
    if end.cost_usd is not None:
        words.append(f"{'about ' if end.cost_is_estimate else ''}${end.cost_usd:.2f}")
    why = f". {end.detail}" if end.detail and not end.nothing_left else ""
    return ", ".join(words) + why


def _for_chats(text: str) -> str:
    """Write one line as Slack reads it, where a bare `<!channel>` would wake everybody."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _occasion(end: Summary | BatchgenError) -> Occasion:
    finished = isinstance(end, Summary) and end.nothing_left
    return Occasion.FINISH if finished else Occasion.STOP


def _safe(url: str) -> bool:
    """Tell whether an address keeps a secret on its way: https, or this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )


async def _post(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> _Answer:
    """Send once. What went wrong is said by its kind: the library's own words hold the address."""
    try:
        proxy = proxy_for(url)
        async with session.post(
            url,
            json=body,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            proxy_headers=proxy.headers if proxy else None,
        ) as response:
            status = response.status
    except TimeoutError:
        return _Answer("did not answer in time", again=True)
    except (aiohttp.InvalidURL, ValueError):
        return _Answer("is no address")
    except ProxyError as error:
        return _Answer(f"cannot be reached: {error}")
    except (aiohttp.ClientError, OSError):
        return _Answer("cannot be reached", again=True)
    if 200 <= status < 300:
        return _Answer()
    return _Answer(f"answered {status}", again=status == 429 or status >= 500)
