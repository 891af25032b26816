"""A file given by the conditions and the range of a request.

Not web.FileResponse: it needs the clips on disk, where kill -9 leaves them and eviction takes
them from under a reader, and knows If-Range as a date only. aiohttp still parses the headers.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

# What a middleware may tell about a request.
ETAG: Final = web.RequestKey("etag", str)
WHOLE: Final = web.RequestKey("whole", bool)


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered video.

    Attributes:
        data: The MP4.
        etag: What changes when the bytes do, without quotes.
    """

    data: bytes
    etag: str


def part_asked_for(request: web.Request, clip: Clip) -> web.Response:
    """Answer a download by the conditions and the range of its request."""
    etag = request.get(ETAG, clip.etag)
    response = web.Response(content_type="video/mp4", headers={hdrs.ACCEPT_RANGES: "bytes"})
    response.etag = etag
    if _known(request, etag):
        response.set_status(HTTPStatus.NOT_MODIFIED)
        return response
    size = len(clip.data)
    if request.get(WHOLE, False) or not is_ranged(request, etag):
        response.body = clip.data
        return response
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:
        start = stop = size
    if start >= stop:
        response.set_status(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        response.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        return response
    response.set_status(HTTPStatus.PARTIAL_CONTENT)
    response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
    response.body = clip.data[start:stop]
    return response


def _known(request: web.Request, etag: str) -> bool:
    known = request.if_none_match or ()
    return any(tag.value in {etag, "*"} for tag in known)


def is_ranged(request: web.Request, etag: str | None = None) -> bool:
    """Tell whether to answer a part: only a GET asks for one, and If-Range names our bytes.

    Args:
        request: The request.
        etag: Our bytes' version, without quotes; None for whatever the client has.
    """
    if request.method != hdrs.METH_GET:
        return False
    if not request.headers.get(hdrs.RANGE, "").lower().startswith("bytes="):
        return False
    if etag is None:
        return True
    quoted = f'"{etag}"'
    return request.headers.get(hdrs.IF_RANGE, quoted) == quoted
