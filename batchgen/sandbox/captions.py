"""The caption band of a clip: any text at all, set in whatever fonts this machine has.

Knows Pillow and fonts; nothing of videos, requests or the wire.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import RLock
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int, int]

PROMPT_LINES: Final = 3
_PROMPT_INK: Final = (255, 255, 255, 255)
_DETAIL_INK: Final = (255, 255, 255, 205)
_NEGATIVE_INK: Final = (255, 186, 176, 215)
_SCRIM: Final = 195  # alpha under the text, enough for white letters over white art

# The first that is found sets the face of the caption, the next fill in what it lacks.
_TEXT_FONTS: Final = (
    "wqy-microhei.ttc",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "segoeui.ttf",
    "msyh.ttc",
    "arial.ttf",
    "LiberationSans-Regular.ttf",
)
_EMOJI_FONTS: Final = ("NotoColorEmoji.ttf", "Apple Color Emoji.ttc", "seguiemj.ttf")
_EMOJI_SIZES: Final = (109, 160, 96, 64)  # bitmap fonts open at their own size only

_PICTOGRAPH: Final = (
    "[\U0001f000-\U0001faff\u203c\u2049\u231a-\u23ff\u25b6\u25c0\u2600-\u27bf\u2b05-\u2b55]"
)
_DRESS: Final = "[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
_CLUSTER: Final = re.compile(
    rf"(?P<emoji>[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3"
    rf"|{_PICTOGRAPH}{_DRESS}(?:\u200d{_PICTOGRAPH}{_DRESS})*)|.",
    re.DOTALL,
)

# Pillow's font objects wrap one FreeType face each, which two threads must not use at once.
_FACES_LOCK: Final = RLock()


@dataclass(frozen=True, slots=True)
class Glyph:
    """One thing to draw: a character or a whole emoji sequence.

    Attributes:
        text: What the font is given.
        face: Index into the text fonts, `_EMOJI` or `_MISSING`.
        breaks: Whether a line may end before and after it, as between ideographs.
    """

    text: str
    face: int
    breaks: bool = False


_EMOJI: Final = -1
_MISSING: Final = -2
_ELLIPSIS: Final = Glyph("...", 0)  # fonts for Chinese hang the single character mid-line

Line = list[Glyph]


@dataclass(frozen=True, slots=True)
class _Row:
    """A line with its type size in pixels and its colour."""

    line: Line
    size: int
    ink: Colour


def draw(prompt: str, details: list[str], negative: str, width: int, height: int) -> Image.Image:
    """Draw the band that lies along the bottom edge of a picture of `width` x `height` pixels.

    The prompt takes up to three lines, `details` (joined by middle dots) and the negative prompt
    stand below it. Returns an RGBA image, `width` wide, of even height, at most `height` high.
    """
    with _FACES_LOCK:
        return _paint(_rows(prompt, details, negative, width, height), width, height)


def is_drawable(text: str) -> bool:
    """Say whether the fonts of this machine have every character of `text`."""
    with _FACES_LOCK:
        return all(glyph.face != _MISSING for glyph in _glyphs(text))


def _rows(prompt: str, details: list[str], negative: str, width: int, height: int) -> list[_Row]:
    # A landscape clip is looked at 260 px wide: 1/28 of its width is then just over 9 px.
    size = max(7, round(max(width, height * 0.7) / 28))
    small = max(6, round(size * 0.86))
    room = width - 2 * _margin(width)
    rows = [_Row(line, size, _PROMPT_INK) for line in _wrap(prompt, size, room, PROMPT_LINES)]
    rows += [_Row(line, small, _DETAIL_INK) for line in _wrap_details(details, small, room)]
    if negative.strip():
        tiny = max(6, round(size * 0.74))
        rows += [
            _Row(line, tiny, _NEGATIVE_INK) for line in _wrap("\u2212 " + negative, tiny, room, 1)
        ]
    return rows


def _margin(width: int) -> int:
    return max(2, width // 36)


def _paint(rows: list[_Row], width: int, height: int) -> Image.Image:
    margin = _margin(width)
    fade = margin * 3
    text_height = sum(_leading(row.size) for row in rows)
    band_height = min(height, fade + text_height + margin) // 2 * 2
    band = _scrim(width, band_height, fade)
    # Small pictures show the first rows and let the last ones fall off the edge.
    top = max(0, band_height - margin - text_height)
    for row in rows:
        _draw_line(band, row, margin, top)
        top += _leading(row.size)
    return band


def _leading(size: int) -> int:
    return round(size * 1.27)


def _scrim(width: int, height: int, fade: int) -> Image.Image:
    """Return black in RGBA, (width, height), that thickens over the first `fade` rows."""
    steps = (min(1.0, (row + 0.5) / max(1, fade)) for row in range(height))
    column = bytes(round(_SCRIM * step * step * (3 - 2 * step)) for step in steps)
    alpha = Image.frombytes("L", (1, height), column).resize((width, height))
    scrim = Image.new("RGBA", (width, height), (6, 7, 12, 0))
    scrim.putalpha(alpha)
    return scrim


def _draw_line(band: Image.Image, row: _Row, left: int, top: int) -> None:
    pen = ImageDraw.Draw(band)
    baseline = top + round(row.size * 1.02)
    x = float(left)
    for face, run in groupby(row.line, key=lambda glyph: glyph.face):
        glyphs = list(run)
        if face >= 0:
            text = "".join(glyph.text for glyph in glyphs)
            _draw_text(band, text, face, row, (x, baseline))
            x += _advance(text, face, row.size)
            continue
        for glyph in glyphs:
            if face == _EMOJI:
                tile = _emoji_tile(glyph.text, row.size)
                band.alpha_composite(tile, _inside(band, x, baseline - round(tile.height * 0.86)))
            else:
                pen.rectangle(_box(x, baseline, row.size), outline=row.ink, width=2)
            x += _advance(glyph.text, face, row.size)


def _draw_text(band: Image.Image, text: str, face: int, row: _Row, at: tuple[float, float]) -> None:
    # Drawn on a sheet of its own: ImageDraw would replace the scrim's alpha instead of covering it.
    sheet = Image.new("RGBA", band.size, (*row.ink[:3], 0))
    ImageDraw.Draw(sheet).text(at, text, fill=row.ink, font=_text_font(face, row.size), anchor="ls")
    band.alpha_composite(sheet)


def _box(x: float, baseline: int, size: int) -> tuple[float, float, float, float]:
    """Return the rectangle that stands for a character no font has, in pixels."""
    return (x + size * 0.1, baseline - size * 0.72, x + size * 0.5, baseline)


def _inside(band: Image.Image, x: float, y: int) -> tuple[int, int]:
    return min(max(0, round(x)), band.width - 1), min(max(0, y), band.height - 1)


def _wrap(text: str, size: int, room: int, most: int) -> list[Line]:
    """Break `text` into at most `most` lines of `room` pixels, the last ending in an ellipsis."""
    lines: list[Line] = [[]]
    used = 0.0
    for word in _words(_glyphs(text)):
        for piece in _pieces(word, size, room):
            length = _length(piece, size)
            if lines[-1] and used + length > room:
                if len(lines) == most:
                    return [*lines[:-1], _elide(lines[-1], size, room)]
                lines.append([])
                used = 0.0
            if lines[-1] or piece[0].text != " ":
                lines[-1].extend(piece)
                used += length
    return [line for line in lines if line]


def _wrap_details(details: list[str], size: int, room: int) -> list[Line]:
    """Set the details side by side with dots between, breaking only between two of them."""
    lines: list[Line] = []
    dot = [Glyph(" ", 0), *_glyphs("·"), Glyph(" ", 0)]
    for detail in details:
        glyphs = _glyphs(detail)
        if lines and _length([*lines[-1], *dot, *glyphs], size) <= room:
            lines[-1] += [*dot, *glyphs]
        else:
            lines.append(glyphs)
    return [line if _length(line, size) <= room else _elide(line, size, room) for line in lines]


def _elide(line: Line, size: int, room: int) -> Line:
    kept = list(line)
    while kept and (kept[-1].text in " ,.;:" or _length([*kept, _ELLIPSIS], size) > room):
        kept.pop()
    return [*kept, _ELLIPSIS]


def _words(glyphs: list[Glyph]) -> Iterator[Line]:
    """Split at spaces (each a word of its own) and around whatever breaks by itself."""
    word: Line = []
    for glyph in glyphs:
        if glyph.breaks or glyph.text == " ":
            if word:
                yield word
            yield [glyph]
            word = []
        else:
            word.append(glyph)
    if word:
        yield word


def _pieces(word: Line, size: int, room: int) -> Iterator[Line]:
    """Cut a word that is longer than a whole line into pieces that are not."""
    if len(word) == 1 or _length(word, size) <= room:
        yield word
        return
    piece: Line = []
    used = 0.0
    for glyph in word:
        length = _length([glyph], size)
        if piece and used + length > room:
            yield piece
            piece, used = [], 0.0
        piece.append(glyph)
        used += length
    yield piece


def _length(line: Line, size: int) -> float:
    """Return a line's length in pixels."""
    return sum(_advance(glyph.text, glyph.face, size) for glyph in line)


# No picture holds more than a few hundred letters; the rest of a long prompt is not looked at.
_MOST_CHARACTERS: Final = 600


def _glyphs(text: str) -> Line:
    readable = " ".join(text[: _MOST_CHARACTERS * 2].split())[:_MOST_CHARACTERS]
    found: Line = []
    for match in _CLUSTER.finditer(readable):
        cluster = match.group()
        if match["emoji"] and _has_emoji(cluster):
            found.append(Glyph(cluster, _EMOJI, breaks=True))
        else:
            found.extend(_plain(character) for character in cluster if _is_visible(character))
    return found


def _plain(character: str) -> Glyph:
    return Glyph(
        character, _face_of(character), breaks=unicodedata.east_asian_width(character) in "WF"
    )


def _is_visible(character: str) -> bool:
    """Say whether a character is more than a joiner, direction mark or variation selector."""
    return unicodedata.category(character) != "Cf" and not "\ufe00" <= character <= "\ufe0f"


@lru_cache(maxsize=8192)
def _face_of(character: str) -> int:
    """Return the first text font that has a character; `_MISSING` when none has."""
    if unicodedata.category(character) in {"Cc", "Cs", "Cn", "Zl", "Zp"}:
        return _MISSING
    for face in range(len(_text_paths()) + 1):
        font = _text_font(face, 16)
        if _mask(font, character) != _mask(font, "\uffff"):
            return face
    return _MISSING


def _mask(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)


@lru_cache(maxsize=16384)
def _advance(text: str, face: int, size: int) -> float:
    if face == _EMOJI:
        return _emoji_tile(text, size).width + size * 0.08
    if face == _MISSING:
        return size * 0.6
    return _text_font(face, size).getlength(text)


@lru_cache(maxsize=512)
def _emoji_tile(cluster: str, size: int) -> Image.Image:
    """Return an emoji as RGBA, 1.15 times the type size high."""
    font = _emoji_font()
    if font is None:
        return Image.new("RGBA", (size, size))
    left, top, right, bottom = (round(edge) for edge in font.getbbox(cluster))
    tile = Image.new("RGBA", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(tile).text((-left, -top), cluster, font=font, embedded_color=True)
    high = round(size * 1.15)
    wide = max(1, round(tile.width * high / tile.height))
    return tile.resize((wide, high), Image.Resampling.LANCZOS)


@lru_cache(maxsize=2048)
def _has_emoji(cluster: str) -> bool:
    font = _emoji_font()
    if font is None:
        return False
    # What a bitmap font lacks it sets as a blank without height.
    _, top, _, bottom = font.getbbox(cluster)
    return bottom > top


@lru_cache(maxsize=1)
def _emoji_font() -> ImageFont.FreeTypeFont | None:
    folder = _installed()
    for name in _EMOJI_FONTS:
        for size in _EMOJI_SIZES if name.lower() in folder else ():
            try:
                return ImageFont.truetype(folder[name.lower()], size)
            except OSError:
                continue
    return None


@lru_cache(maxsize=256)
def _text_font(face: int, size: int) -> Font:
    """Return the `face`-th text font at `size` pixels; Pillow's own stands after the last."""
    paths = _text_paths()
    return ImageFont.truetype(paths[face], size) if face < len(paths) else _own_font(size)


def _own_font(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _text_paths() -> tuple[Path, ...]:
    """Return the text fonts of this machine that open, in order of preference."""
    folder = _installed()
    return tuple(
        folder[name.lower()]
        for name in _TEXT_FONTS
        if name.lower() in folder and _opens(folder[name.lower()])
    )


def _opens(path: Path) -> bool:
    try:
        ImageFont.truetype(path, 16)
    except OSError:
        return False
    return True


@lru_cache(maxsize=1)
def _installed() -> dict[str, Path]:
    """Find the wanted fonts: lower-case file name -> path."""
    wanted = {name.lower() for name in (*_TEXT_FONTS, *_EMOJI_FONTS)}
    found: dict[str, Path] = {}
    for folder in _font_folders():
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.lower() in wanted:
                    found.setdefault(name.lower(), Path(parent, name))
    return found


def _font_folders() -> list[Path]:
    """Return the folders where this system keeps fonts, the user's own first."""
    home = Path(os.environ.get("HOME") or "/")
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")]
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    own = os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")
    roots = [own, *shared.split(":"), "/usr/share"]
    return [home / ".fonts", *(Path(root, "fonts") for root in dict.fromkeys(roots) if root)]
