"""Draws the clip of a sandbox generation: moving art in which a person can see what was asked.

Pure but for the temporary file the encoder writes. Knows nothing of the wire or the server. The
prompt's words choose the palette, the seed the composition, guidance the energy, the sampler the
family of shapes, shift the breadth of its folds, steps the fineness of its detail.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream
from PIL import Image

from batchgen.sandbox import captions

FPS: Final = 16
FRAMES: Final = 64

Field = npt.NDArray[np.floating[Any]]
Pixels = npt.NDArray[np.uint8]

_TURN: Final = 2 * math.pi


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """What a generation asked for.

    Attributes:
        prompt: Any text at all.
        seed: Chooses the composition and the paths of motion.
        guidance_scale: From 0; 1 is calm and soft, 12 vivid and fast.
        shift: From 0; more makes the shapes broader.
        sampler: The family of shapes: `unipc` silk, `dpm+` drops, any other ripples.
        inference_steps: From 1; more makes finer detail.
        negative_prompt: Shown in the caption.
        width: In pixels, even.
        height: In pixels, even.
    """

    prompt: str
    seed: int = 0
    guidance_scale: float = 5.0
    shift: float = 5.0
    sampler: str = "unipc"
    inference_steps: int = 30
    negative_prompt: str = ""
    width: int = 832
    height: int = 480


def render(request: ClipRequest) -> bytes:
    """Return a complete MP4, H.264 yuv420p, four seconds that loop, `moov` before `mdat`.

    Blocks for about a quarter of a second of CPU. Equal requests give equal bytes on one machine.
    """
    return _encode(_frames(request), request.width, request.height)


@dataclass(frozen=True, slots=True)
class _Planes:
    """One yuv420p picture: `y` (H, W), `u` and `v` (H/2, W/2), all uint8."""

    y: Pixels
    u: Pixels
    v: Pixels


def _frames(request: ClipRequest) -> Iterator[_Planes]:
    look = _look(request)
    paint = _FAMILIES.get(request.sampler, _ripples)
    sheet = _colour_sheet(request.prompt, look.energy)
    overlay = _overlay(request)
    for number in range(FRAMES):
        shade, hue = paint(look, number / FRAMES)
        picture = _coloured(shade, hue, sheet)
        _lay(overlay, picture)
        yield picture


def _numbers(*parts: object) -> Iterator[float]:
    """Yield endless numbers in [0, 1) that depend on nothing but `parts`."""
    text = "\0".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    block = 0
    while True:
        digest = hashlib.blake2b(text, salt=block.to_bytes(8, "big")).digest()
        yield from (int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 64, 4))
        block += 1


def _saturating(value: float, half: float) -> float:
    """Map 0 and up to [0, 1), `half` to 0.5; what is no number or below 0 counts as 0."""
    bounded = min(value, 1e9) if value > 0 else 0.0
    return bounded / (bounded + half)


@dataclass(frozen=True, slots=True)
class _Look:
    """A composition: what the families of shapes draw from.

    Attributes:
        x: (1, w) float32, from left to right, 0 in the middle, the shorter side 1 long.
        y: (h, 1) float32, likewise from top to bottom.
        energy: Guidance as about 0.2 (calm) to 1 (vivid).
        breadth: Shift as about 0.6 (narrow shapes) to 1.4.
        detail: Steps as 0 to 1.
        chances: The seed's numbers, in [0, 1).
    """

    x: Field
    y: Field
    energy: float
    breadth: float
    detail: float
    chances: tuple[float, ...]

    def sway(self, which: int, time: float) -> float:
        """Return an angle that swings once over the clip, the wider the higher the guidance."""
        start = self.chances[16 + which]
        reach = 0.02 + 0.5 * self.energy * self.energy
        return _TURN * (start + reach * math.sin(_TURN * (time + start * 7)))

    def ramp(self, along: float, across: float, start: float) -> Field:
        """Return a plane (h, w) with these slopes along and across the seed's direction."""
        turn = _TURN * self.chances[0]
        right = along * math.cos(turn) - across * math.sin(turn)
        down = along * math.sin(turn) + across * math.cos(turn)
        return self.x * right + (self.y * down + start)


def _look(request: ClipRequest) -> _Look:
    h, w = request.height // 2, request.width // 2
    side = min(h, w)
    numbers = _numbers("composition", request.prompt, request.seed)
    return _Look(
        x=((np.arange(w, dtype=np.float32) + 0.5 - w / 2) / side)[None, :],
        y=((np.arange(h, dtype=np.float32) + 0.5 - h / 2) / side)[:, None],
        energy=1.6 * _saturating(request.guidance_scale, 8),
        breadth=0.6 + 0.8 * _saturating(request.shift, 5),
        detail=_saturating(request.inference_steps, 20),
        chances=tuple(next(numbers) for _ in range(64)),
    )


def _silk(look: _Look, time: float) -> tuple[Field, Field]:
    """Draw sheets of cloth that lie over each other; shade and hue (h, w) in about [0, 1]."""
    c, broad = look.chances, look.breadth
    bend = np.sin(look.ramp(1.3, (3 + 3 * c[1]) / broad, look.sway(0, time)))
    curl = np.sin(look.ramp((2.5 + 3 * c[2]) / broad, 0, look.sway(1, time)) + bend * 1.1)
    height = look.ramp((1.5 + 0.9 * c[3]) / broad, 0, look.sway(2, time) / _TURN)
    height += bend * (0.4 + 0.3 * c[4]) + curl * 0.55
    return _layered(look, height, time)


def _layered(look: _Look, height: Field, time: float) -> tuple[Field, Field]:
    """Cut a landscape, (h, w), into lit layers one unit apart; shade and hue (h, w)."""
    edge = 0.05 + 0.45 * (1 - look.detail) ** 2
    within = height - np.floor(height)
    # Up slowly to the rim, down at once into the shadow of the next layer.
    slope = np.minimum(within * (1 / (1 - edge)), (1 - within) * (1 / edge))
    contrast = 0.25 + 0.55 * look.energy
    shade = contrast * slope * slope + 0.3 * _glow(look, time) + (0.46 - 0.38 * contrast)
    threads = np.sin(within * (_TURN * 7))
    shade += (0.06 * look.detail * look.energy) * slope * threads
    return shade, 0.5 + 0.5 * np.sin(height * 1.3)


def _glow(look: _Look, time: float) -> Field:
    """Return a soft light (h, w) in [0, 1] on the seed's path."""
    x, y = _path(look, 0, time)
    light: Field = np.exp(-5 * (look.y - y) ** 2) * np.exp(-5 * (look.x - x) ** 2)
    return light


def _path(look: _Look, which: int, time: float) -> tuple[float, float]:
    """Return where the `which`-th wandering point is: a closed curve around a place of its own."""
    c = look.chances[32 + which * 2 :]
    width, height = float(look.x[0, -1] * 2), float(look.y[-1, 0] * 2)
    reach = 0.03 + 0.3 * look.energy
    turn = _TURN * (time if which % 2 else -time)
    x = (c[0] - 0.5) * width * 0.9 + reach * math.sin(turn + _TURN * c[1])
    # The caption covers the bottom, so points live in the upper part.
    y = (c[1] - 0.62) * height * 0.8 + reach * 0.7 * math.cos(turn + _TURN * c[0] * 3)
    return x, y


_DROPS: Final = 9


def _drops(look: _Look, time: float) -> tuple[Field, Field]:
    """Draw glossy drops that merge and part; shade and hue (h, w) in about [0, 1]."""
    places = np.array([_path(look, drop, time) for drop in range(_DROPS)], dtype=np.float32)
    sizes = np.array(look.chances[:_DROPS], dtype=np.float32) ** 2
    tightness = 1 / ((0.1 + 0.16 * sizes) * look.breadth) ** 2
    dx, dy = look.x - places[:, :1], look.y.T - places[:, 1:]
    # A Gaussian is a product of its rows and columns, so a sum of many is one matrix product.
    across = np.exp(-tightness[:, None] * dx**2)
    down = np.exp(-tightness[:, None] * dy**2)
    mass = down.T @ across + 1e-6
    # Colour reaches further than shape, or it would jump where two drops are equally far.
    far_across, far_down = across**0.2, down**0.2
    hues = np.linspace(0, 1, _DROPS, dtype=np.float32)[:, None]
    tint = ((far_down * hues).T @ far_across) / (far_down.T @ far_across + 1e-20)
    lean = (down.T @ (across * dx) + (down * dy).T @ across) / mass
    level = np.log(mass) + 1
    ball = np.sqrt(np.clip(level, 0, None))
    inside = np.clip(level / (0.06 + 0.5 * (1 - look.detail) ** 2), 0, 1)
    lit = 0.3 + 0.3 * ball - lean * (1.2 + 1.6 * look.energy)
    halo = np.clip(level * 0.25 + 1, 0, 1)
    ground = 0.1 + 0.3 * _glow(look, time) + 0.3 * halo * halo
    return ground + inside * (lit - ground), 1.6 * tint - 0.3 + 0.2 * ball


def _ripples(look: _Look, time: float) -> tuple[Field, Field]:
    """Draw rings that cross each other; shade and hue (h, w) in about [0, 1]."""
    rings = []
    for which in range(3):
        x, y = _path(look, which, time)
        distance = np.sqrt((look.x - x) ** 2 + (look.y - y) ** 2)
        pitch = (7 + 5 * look.chances[which]) / look.breadth
        rings.append(np.sin(distance * pitch + look.sway(which, time)))
    return _layered(look, (rings[0] + rings[1] + rings[2]) * 0.5, time)


_FAMILIES: Final[dict[str, Callable[[_Look, float], tuple[Field, Field]]]] = {
    "unipc": _silk,
    "dpm+": _drops,
}

_SHADES: Final = 256
_HUES: Final = 128

# Word -> hue in degrees of OKLCH and how colourful; a word that is not here gets a hue of its own.
_WORDS: Final[dict[str, tuple[float, float]]] = {
    "red": (27, 1.0), "fire": (40, 1.2), "lava": (35, 1.2),
    "orange": (55, 1.0), "autumn": (60, 1.0), "sunset": (45, 1.1), "fox": (52, 1.0),
    "gold": (85, 1.0), "golden": (85, 1.0), "desert": (75, 0.8), "yellow": (103, 1.0),
    "green": (145, 1.0), "forest": (150, 0.8), "jungle": (145, 1.0), "sea": (215, 1.0),
    "ocean": (235, 1.0), "water": (220, 0.9), "rain": (245, 0.6), "snow": (235, 0.35),
    "blue": (258, 1.0), "sky": (240, 0.9), "night": (275, 0.9), "space": (285, 0.9),
    "neon": (335, 1.3), "city": (265, 0.7), "purple": (305, 1.0), "pink": (350, 1.0),
    "rose": (5, 1.0), "cherry": (0, 0.9), "stone": (80, 0.2), "fog": (230, 0.3),
}  # fmt: skip


def _colour_sheet(prompt: str, energy: float) -> npt.NDArray[np.uint32]:
    """Return the prompt's colours, (_SHADES * _HUES,) uint32, each of bytes Y, U, V and a spare.

    A picture looks its pixels up by shade * _HUES + hue.
    """
    hues, chromas = _palette(prompt)
    place = np.linspace(0, 1, _HUES) * (len(hues) - 1)
    a = np.interp(place, range(len(hues)), chromas * np.cos(np.radians(hues)))
    b = np.interp(place, range(len(hues)), chromas * np.sin(np.radians(hues)))
    shade = np.linspace(0, 1, _SHADES)[:, None]
    lightness = 0.15 + 0.78 * shade
    # Colour is fullest in the middle and fades towards black and white.
    fullness = (0.10 + 0.13 * energy) * np.sin(np.pi * shade**0.85 * 0.9 + 0.15)
    return _packed(_yuv(_rgb(lightness + 0 * a, fullness * a, fullness * b))).ravel()


def _palette(prompt: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    words = prompt.casefold().split()
    known = [
        _WORDS[word]
        for word in dict.fromkeys(w.strip(".,;:!?\"'()") for w in words)
        if word in _WORDS
    ]
    chance = _numbers("palette", *words)
    lead = known[0][0] if known else 360 * next(chance)
    spread = (35.0, 60.0, 150.0)[int(next(chance) * 3)] * (1 if next(chance) < 0.5 else -1)
    stops = [
        *known[:3],
        (lead + spread, 1.0),
        (lead + spread * 0.5, 0.9),
        (lead - spread * 0.4, 1.0),
    ]
    hues = np.array([hue + 16 * (next(chance) - 0.5) for hue, _ in stops[:4]])
    return hues, np.array([chroma for _, chroma in stops[:4]])


def _rgb(
    lightness: npt.NDArray[np.float64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Convert OKLab to gamma-encoded sRGB, (..., 3) in [0, 1], clipped."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    )
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def _yuv(rgb: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Convert RGB, (..., 3) in [0, 1], to BT.709 in the video range, (..., 3) in [16, 240]."""
    luma = rgb @ np.array([0.2126, 0.7152, 0.0722])
    blue = (rgb[..., 2] - luma) / 1.8556
    red = (rgb[..., 0] - luma) / 1.5748
    return np.stack([16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red], axis=-1)


def _packed(yuv: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    spare = np.zeros((*yuv.shape[:-1], 1))
    return np.concatenate([yuv + 0.5, spare], axis=-1).astype(np.uint8).view(np.uint32)


def _coloured(shade: Field, hue: Field, sheet: npt.NDArray[np.uint32]) -> _Planes:
    """Look shade and hue, (h, w) each, up in the sheet; luma comes out at (2h, 2w)."""
    rows = np.floor(np.clip(shade, 0, 1) * (_SHADES - 1))
    columns = np.clip(hue, 0, 1) * (_HUES - 1)
    small = sheet.take((rows * _HUES + columns).astype(np.intp)).view(np.uint8)
    y, u, v = (small[:, plane::4].copy() for plane in range(3))
    return _Planes(_doubled(y), u, v)


def _doubled(small: Pixels) -> Pixels:
    """Return (2h, 2w) uint8 from (h, w), new pixels halfway between their neighbours."""
    right = np.concatenate([small[:, 1:], small[:, -1:]], axis=1)
    # Two neighbours packed into one 16-bit number write a row at once, ten times as fast.
    pairs = small.astype("<u2") | _between(small, right).astype("<u2") << 8
    wide = pairs.view(np.uint8)
    tall = np.empty((2 * len(wide), wide.shape[1]), np.uint8)
    tall[::2] = wide
    tall[1:-1:2] = _between(wide[:-1], wide[1:])
    tall[-1] = wide[-1]
    return tall


def _between(one: Pixels, other: Pixels) -> Pixels:
    return (one & other) + ((one ^ other) >> 1)


@dataclass(frozen=True, slots=True)
class _Cover:
    """What lies over the last n rows of a plane: `rows * keep >> 8` plus `ink`, (n, W) uint16."""

    keep: npt.NDArray[np.uint16]
    ink: npt.NDArray[np.uint16]


def _overlay(request: ClipRequest) -> tuple[_Cover, _Cover, _Cover]:
    details = [
        f"seed {request.seed}",
        f"guidance {request.guidance_scale:g}",
        f"shift {request.shift:g}",
        request.sampler,
        f"{request.inference_steps} steps",
    ]
    band = captions.draw(
        request.prompt, details, request.negative_prompt, request.width, request.height
    )
    half = band.resize((band.width // 2, band.height // 2), Image.Resampling.BOX)
    y, _, _ = _covers(band)
    _, u, v = _covers(half)
    return y, u, v


def _covers(band: Image.Image) -> tuple[_Cover, ...]:
    pixels = np.asarray(band, dtype=np.float32) / 255
    alpha = pixels[..., 3]
    ink = _yuv(pixels[..., :3])
    keep = np.round(256 * (1 - alpha)).astype(np.uint16)
    return tuple(
        _Cover(keep, np.round(ink[..., plane] * alpha).astype(np.uint16)) for plane in range(3)
    )


def _lay(overlay: tuple[_Cover, _Cover, _Cover], picture: _Planes) -> None:
    """Draw the caption into the picture's planes."""
    for plane, cover in zip((picture.y, picture.u, picture.v), overlay, strict=True):
        rows = plane[plane.shape[0] - len(cover.keep) :]
        rows[:] = (rows * cover.keep >> 8) + cover.ink


def _encode(pictures: Iterator[_Planes], width: int, height: int) -> bytes:
    # Moving `moov` to the front needs a path: the muxer opens the file a second time.
    with tempfile.TemporaryDirectory(prefix="batchgen-") as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = _stream(container, width, height)
            for picture in pictures:
                container.mux(stream.encode(_video_frame(picture)))
            container.mux(stream.encode())
        return path.read_bytes()


def _stream(container: av.container.OutputContainer, width: int, height: int) -> VideoStream:
    tuning = "colorprim=bt709:transfer=bt709:colormatrix=bt709:chroma-qp-offset=-4"
    options = {"preset": "ultrafast", "qp": "24", "x264-params": tuning}
    stream = container.add_stream("libx264", rate=FPS, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.thread_count = 1  # more threads make other bytes each time
    return stream


def _video_frame(picture: _Planes) -> av.VideoFrame:
    height, width = picture.y.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, pixels in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = pixels
    return frame
