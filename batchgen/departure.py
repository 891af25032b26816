"""Has a request left this machine? What never left was never taken, and may be repeated for free.

The class of an exception does not tell: a reset may come before or after the headers went out.
"""

from types import SimpleNamespace

import aiohttp


class Departure(SimpleNamespace):
    """Goes along with one request, as its `trace_request_ctx`.

    Attributes:
        left: Whether the request's headers were sent.
    """

    left: bool = False


def departures() -> aiohttp.TraceConfig:
    """Return the trace that marks each request's `Departure` when its headers go out."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_mark)
    return trace


async def _mark(
    session: aiohttp.ClientSession,  # noqa: ARG001  # aiohttp's signature
    context: SimpleNamespace,
    params: aiohttp.TraceRequestHeadersSentParams,  # noqa: ARG001
) -> None:
    context.trace_request_ctx.left = True
