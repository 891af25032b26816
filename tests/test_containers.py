"""A cut WebM, GIF, AVI or Ogg is found wherever its format lets it be; a whole one passes."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.containers import CUT, kind_of, structural_end
from batchgen.mp4 import NotAVideo, VideoInfo, ends_by_itself, inspect_bytes
from batchgen.sandbox.clips import ClipRequest, render

CODECS = {"webm": "libvpx", "gif": "gif", "avi": "mjpeg"}
PIXELS = {"webm": "yuv420p", "gif": "rgb8", "avi": "yuvj420p"}
HEADS = {
    "webm": b"\x1aE\xdf\xa3",
    "gif": b"GIF89a",
    "avi": b"RIFF\xff\0\0\0AVI ",
    "ogg": b"OggS",
}


class Pipe(io.BytesIO):
    """What cannot be gone back in: a length at the beginning stays unwritten."""

    def seekable(self) -> bool:
        return False


@cache
def video(kind: str, *, piped: bool = False) -> bytes:
    """Encode a few small frames as a real program does."""
    out = Pipe() if piped else io.BytesIO()
    with av.open(out, "w", format=kind, options={"live": "1"} if piped else {}) as container:
        stream: Any = container.add_stream(CODECS[kind], rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, PIXELS[kind]
        noise = np.random.default_rng(1)
        for _ in range(6):
            pixels = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=PIXELS[kind])))
        container.mux(stream.encode(None))
    return out.getvalue()


def ogg(*packets: bytes) -> bytes:
    """Put packets into pages (RFC 3533, section 6), with checksums nobody looks at."""
    pages = b""
    for number, packet in enumerate(packets):
        lengths = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        head = b"OggS\0" + bytes(9) + number.to_bytes(8, "little") + bytes(4)
        pages += head + bytes([len(lengths)]) + lengths + packet
    return pages


def end_of(content: bytes) -> int | None:
    kind = kind_of(content[:16])
    assert kind is not None
    return structural_end(kind, io.BytesIO(content), len(content))


def is_cut(content: bytes) -> bool:
    try:
        inspect_bytes(content)
    except NotAVideo:
        return True
    return False


@pytest.mark.parametrize("kind", ["webm", "gif", "avi"])
def test_a_whole_file_passes_and_ends_by_itself(kind: str, tmp_path: Path) -> None:
    whole = video(kind)
    assert kind_of(whole) == kind
    assert end_of(whole) == len(whole)
    assert inspect_bytes(whole) == VideoInfo()
    (tmp_path / "x").write_bytes(whole)
    assert ends_by_itself(tmp_path / "x")


@pytest.mark.parametrize("kind", ["webm", "gif", "avi"])
def test_a_file_that_is_cut_anywhere_is_found(kind: str, tmp_path: Path) -> None:
    whole = video(kind)
    assert not [cut for cut in range(len(whole)) if not is_cut(whole[:cut])]
    (tmp_path / "x").write_bytes(whole[:-1])
    assert not ends_by_itself(tmp_path / "x")


@pytest.mark.parametrize("kind", ["webm", "gif", "avi"])
def test_bytes_behind_the_end_are_no_cut(kind: str, tmp_path: Path) -> None:
    longer = video(kind) + b"\0\0\0"
    assert not is_cut(longer)
    (tmp_path / "x").write_bytes(longer)
    assert not ends_by_itself(tmp_path / "x")


def test_a_webm_without_a_length_is_cut_where_a_part_of_it_is() -> None:
    live = video("webm", piped=True)
    assert b"\x01\xff\xff\xff\xff\xff\xff\xff" in live[:80]
    assert not is_cut(live)
    missed = [cut for cut in range(len(live)) if not is_cut(live[:cut])]
    # Only between two parts nobody can tell, and within the first magic it is no WebM yet.
    assert len(missed) < 12


def test_an_avi_without_a_length_says_nothing() -> None:
    whole = video("avi")
    for length in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        unsized = whole[:4] + length + whole[8:]
        assert end_of(unsized) is None
        assert not is_cut(unsized[:-100])


def test_an_ogg_is_cut_where_a_page_is() -> None:
    pages = [ogg(b"x" * size) for size in (30, 255, 700, 0)]
    whole = b"".join(pages)
    assert end_of(whole) == len(whole)
    borders = {sum(map(len, pages[:count])) for count in range(len(pages) + 1)}
    for cut in range(4, len(whole)):
        assert is_cut(whole[:cut]) is (cut not in borders)


def test_an_mp4_ends_by_itself_unless_it_is_in_fragments(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    whole = render(ClipRequest("a fox", width=64, height=64))
    path.write_bytes(whole)
    assert ends_by_itself(path)
    path.write_bytes(whole[:-1])
    assert not ends_by_itself(path)
    out = io.BytesIO()
    source: Any
    with (
        av.open(io.BytesIO(whole)) as source,
        av.open(out, "w", format="mp4", options={"movflags": "frag_every_frame"}) as fragments,
    ):
        stream = fragments.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                fragments.mux(packet)
    path.write_bytes(out.getvalue())
    assert inspect_bytes(out.getvalue()).width == 64
    assert not ends_by_itself(path)
    path.write_bytes(b"<html>")
    assert not ends_by_itself(path)


@pytest.mark.parametrize("kind", HEADS)
@given(data=st.binary(max_size=300))
def test_any_bytes_behind_a_true_beginning_have_an_end_or_none(kind: str, data: bytes) -> None:
    content = HEADS[kind] + data
    assert kind_of(content[:16]) == kind
    end = end_of(content)
    assert end is None or end == CUT or end > 0


@given(st.data())
def test_a_byte_that_is_not_what_it_was_makes_nothing_raise(data: st.DataObject) -> None:
    whole = bytearray(video(data.draw(st.sampled_from(sorted(CODECS)))))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    is_cut(bytes(whole))
