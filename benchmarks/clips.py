"""Videos of any size that are whole: a real clip, made longer by a box that players skip."""

import struct

from batchgen.sandbox.clips import ClipRequest, render

BOX_HEADER = 8


def clip(size: int) -> bytes:
    """Return a clip of so many bytes.

    Raises:
        ValueError: No clip is so small.
    """
    video = render(ClipRequest("a benchmark", width=32, height=32))
    room = size - len(video)
    if room < BOX_HEADER:
        raise ValueError(f"a clip takes {len(video) + BOX_HEADER} bytes at least, not {size}")
    return video + struct.pack(">I4s", room, b"free") + bytes(room - BOX_HEADER)
