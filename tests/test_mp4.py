"""A video is whole or refused: cut anywhere, it never passes. Its header is read right."""

import struct
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen.mp4 import NotAVideo, VideoInfo, inspect
from batchgen.sandbox.clips import FPS, FRAMES, ClipRequest, render


@cache
def clip() -> bytes:
    return render(ClipRequest("a paper boat", width=160, height=96))


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def wide_box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def borders(data: bytes | bytearray) -> list[int]:
    at, found = 0, []
    while at < len(data):
        found.append(at)
        at += struct.unpack(">I", data[at : at + 4])[0]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


def test_a_whole_clip_passes_with_its_width_height_rate_and_duration(file: Path) -> None:
    file.write_bytes(clip())
    assert inspect(file) == VideoInfo(160, 96, float(FPS), FRAMES / FPS)


def test_a_clip_cut_at_any_two_hundredth_of_its_length_is_refused(file: Path) -> None:
    whole = clip()
    for step in range(200):
        file.write_bytes(whole[: len(whole) * step // 200])
        with pytest.raises(NotAVideo):
            inspect(file)


def test_a_clip_cut_at_a_border_of_its_boxes_or_beside_one_is_refused(file: Path) -> None:
    whole = clip()
    places = {place + near for place in (*borders(whole), len(whole)) for near in (-1, 0, 1, 7, 8)}
    cuts = sorted(cut for cut in places if 0 <= cut < len(whole))
    assert len(borders(whole)) >= 3
    for cut in cuts:
        file.write_bytes(whole[:cut])
        with pytest.raises(NotAVideo):
            inspect(file)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_clip_cut_at_any_byte_is_refused(file: Path, data: st.DataObject) -> None:
    whole = clip()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(NotAVideo):
        inspect(file)


@pytest.mark.parametrize(
    "rubbish", [b"\0", b"\r\n", b"0\r\n\r\n", b"<html>502</html>", b"x" * 5000]
)
def test_a_clip_with_something_behind_its_end_is_refused(file: Path, rubbish: bytes) -> None:
    file.write_bytes(clip() + rubbish)
    with pytest.raises(NotAVideo):
        inspect(file)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_clip_with_flipped_bytes_passes_or_is_refused_and_nothing_else_is_raised(
    file: Path, data: st.DataObject
) -> None:
    broken = bytearray(clip())
    header = broken.index(b"mdat")
    for place in data.draw(st.lists(st.integers(0, header), min_size=1, max_size=6)):
        broken[place] = data.draw(st.integers(0, 255))
    file.write_bytes(broken)
    with suppress(NotAVideo):
        assert isinstance(inspect(file), VideoInfo)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_behind_a_true_beginning_pass_or_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(box(b"ftyp", b"isom") + data)
    with suppress(NotAVideo):
        assert isinstance(inspect(file), VideoInfo)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\0", "no video"),
        (b"<!DOCTYPE html><html>Not found</html>", "text"),
        (b'\n  <?xml version="1.0"?><Error/>', "text"),
        (b'{"message": "expired"}', "text"),
        (b"\x1f\x8b\x08\x00" + b"\0" * 100, "no video"),
        (b"no video at all, but long enough to look", "no video"),
    ],
)
def test_what_is_no_video_is_refused_in_words_that_say_what_it_is(
    file: Path, content: bytes, word: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(NotAVideo, match=word):
        inspect(file)


@pytest.mark.parametrize("head", [b"\x1aE\xdf\xa3\0", b"RIFF\0\0\0\0AVI LIST", b"GIF89a"])
def test_other_kinds_of_video_pass_where_their_structure_does_not_say_where_they_end(
    file: Path, head: bytes
) -> None:
    file.write_bytes(head + b"\0" * 100)
    assert inspect(file) == VideoInfo()


def test_boxes_with_64_bit_sizes_are_walked(file: Path) -> None:
    whole = box(b"ftyp", b"isom") + wide_box(b"moov") + wide_box(b"mdat", b"1234")
    file.write_bytes(whole)
    assert inspect(file) == VideoInfo()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        with pytest.raises(NotAVideo):
            inspect(file)


def test_a_last_box_that_reaches_to_the_end_of_the_file_passes(file: Path) -> None:
    endless = struct.pack(">I4s", 0, b"mdat") + b"frames"
    file.write_bytes(box(b"ftyp", b"isom") + box(b"moov") + endless)
    assert inspect(file) == VideoInfo()


@pytest.mark.parametrize("size", [2, 7])
def test_a_box_smaller_than_its_own_head_is_refused(file: Path, size: int) -> None:
    file.write_bytes(box(b"ftyp", b"isom") + struct.pack(">I4s", size, b"moov") + b"\0" * 50)
    with pytest.raises(NotAVideo, match="broken"):
        inspect(file)


def test_a_file_of_countless_boxes_ends_soon(file: Path) -> None:
    file.write_bytes(box(b"ftyp", b"isom") + box(b"free") * 120_000)
    with pytest.raises(NotAVideo, match="more boxes"):
        inspect(file)


def test_a_header_of_a_fragmented_file_does_not_say_how_long_it_is(file: Path) -> None:
    whole = bytearray(clip())
    header = whole.index(b"mdhd") + 4
    whole[header + 16 : header + 20] = b"\0\0\0\0"
    file.write_bytes(whole)
    info = inspect(file)
    assert (info.width, info.duration_s) == (160, None)


def test_a_fragmented_file_that_ends_before_a_fragment_s_content_is_refused(file: Path) -> None:
    whole = box(b"ftyp", b"isom") + box(b"moov") + box(b"moof") + box(b"mdat", b"1234")
    file.write_bytes(whole + box(b"moof") + box(b"mdat", b"5678"))
    assert inspect(file) == VideoInfo()
    file.write_bytes(whole + box(b"moof"))
    with pytest.raises(NotAVideo, match="cut"):
        inspect(file)


def test_an_odd_header_in_a_whole_file_is_no_reason_to_refuse_it(file: Path) -> None:
    # QuickTime ends lists of boxes with a zero that is no box.
    odd = box(b"moov", box(b"trak", box(b"tkhd") + b"\0\0\0\0"))
    file.write_bytes(box(b"ftyp", b"qt  ") + odd + box(b"mdat", b"1234"))
    assert inspect(file) == VideoInfo()


def test_a_file_that_is_not_there_is_the_disk_s_trouble(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect(file)


@pytest.mark.parametrize("lost", [1, 100, 2_000])
def test_a_content_that_ends_wherever_the_file_does_is_missed_where_it_is_cut(
    file: Path, lost: int
) -> None:
    whole = bytearray(clip())
    last = next(at for at in borders(whole) if whole[at + 4 : at + 8] == b"mdat")
    whole = whole[: last + struct.unpack(">I", whole[last : last + 4])[0]]
    whole[last : last + 4] = bytes(4)  # "to the end of the file"
    file.write_bytes(whole)
    assert inspect(file).width == 160
    file.write_bytes(whole[:-lost])
    with pytest.raises(NotAVideo, match="speaks of more than there is"):
        inspect(file)
