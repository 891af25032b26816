"""The sandbox's clips: playable, repeatable, and telling what was asked."""

import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.sandbox import captions
from batchgen.sandbox.clips import FPS, FRAMES, ClipRequest, render

SMALL = ClipRequest("a red fox in the snow", width=160, height=96)
ART_ROWS = 40  # of the 96: above the caption
SAMPLERS = ("unipc", "dpm+", "ddim")

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


@cache
def pictures(request: ClipRequest) -> npt.NDArray[np.int16]:
    """Decode a clip to RGB: (frames, H, W, 3)."""
    with av.open(io.BytesIO(render(request)), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.int16)


def motion(request: ClipRequest) -> float:
    """Return the mean absolute difference between neighbouring frames, of 255."""
    art = pictures(request)[:, :ART_ROWS]
    return float(np.abs(np.diff(art, axis=0)).mean())


def box_names(data: bytes) -> Iterator[str]:
    """Yield the names of an MP4's outermost boxes in file order."""
    at = 0
    while at < len(data):
        yield data[at + 4 : at + 8].decode("ascii")
        at += int.from_bytes(data[at : at + 4], "big")


def caption(prompt: str) -> bytes:
    return captions.draw(prompt, ["seed 1"], "", 416, 240).tobytes()


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without any fonts: the look-up is cached, so it is forgotten before and after."""
    cached = [value for value in vars(captions).values() if hasattr(value, "cache_clear")]
    monkeypatch.setattr(captions, "_font_folders", list)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize(
    ("width", "height"), [(832, 480), (480, 832), (98, 66), (640, 32), (16, 240)]
)
def test_a_clip_decodes_to_the_size_rate_and_length_asked_for(width: int, height: int) -> None:
    data = render(replace(SMALL, sampler="dpm+", width=width, height=height))
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (width, height)
        assert stream.average_rate == FPS
        assert len(list(container.decode(video=0))) == FRAMES


def test_a_clip_lasts_about_four_seconds() -> None:
    assert 3.5 <= FRAMES / FPS <= 4.5


def test_the_index_stands_before_the_data() -> None:
    names = list(box_names(render(SMALL)))
    assert names.index("moov") < names.index("mdat")


def test_a_full_size_clip_is_neither_tiny_nor_huge() -> None:
    request = ClipRequest("a red fox in the snow", guidance_scale=7)
    assert 100_000 < len(render(request)) < 1_500_000


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_requests_give_equal_bytes(sampler: str) -> None:
    request = replace(SMALL, sampler=sampler)
    assert render(request) == render(replace(request))


def test_clips_drawn_at_the_same_time_are_those_drawn_one_by_one() -> None:
    requests = [replace(SMALL, seed=seed, prompt=f"лиса 狐 🦊 {seed}") for seed in range(6)]
    alone = [render(request) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render, requests)) == alone


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    render(SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_is_another_picture(sampler: str) -> None:
    one, other = (pictures(replace(SMALL, sampler=sampler, seed=seed)) for seed in (1, 2))
    assert np.abs(one - other)[:, :ART_ROWS].mean() > 10


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a green forest"},
        {"sampler": "dpm+"},
        {"shift": 1.0},
        {"inference_steps": 5},
        {"guidance_scale": 9.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_shows_in_the_art(change: dict[str, object]) -> None:
    changed = replace(SMALL, **change)  # type: ignore[arg-type]
    assert np.abs(pictures(SMALL) - pictures(changed))[:, :ART_ROWS].mean() > 2


def test_the_negative_prompt_is_written_under_the_prompt() -> None:
    tall = replace(SMALL, height=160)
    plain, negative = pictures(tall), pictures(replace(tall, negative_prompt="blurry"))
    assert np.abs(plain - negative)[:, -60:].mean() > 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_motion_grows_with_guidance(sampler: str) -> None:
    means = [
        np.mean(
            [
                motion(replace(SMALL, sampler=sampler, seed=seed, guidance_scale=guidance))
                for seed in range(4)
            ]
        )
        for guidance in (1.0, 4.0, 7.0, 12.0)
    ]
    assert means == sorted(means)
    assert means[-1] > 3 * means[0]


def colours(prompt: str, seed: int) -> set[int]:
    """Return the colours of the art in coarse steps of the two colour differences."""
    art = pictures(replace(SMALL, prompt=prompt, seed=seed))[::4, :ART_ROWS]
    red, green, blue = (art[..., channel].ravel() for channel in range(3))
    counts = np.bincount((red - green) // 24 * 32 + (blue - green) // 24 + 1024)
    return set(np.flatnonzero(counts > counts.sum() // 500).tolist())


def test_seeds_of_one_prompt_share_a_palette_that_other_prompts_do_not() -> None:
    def likeness(one: set[int], other: set[int]) -> float:
        return len(one & other) / min(len(one), len(other))

    lava, ocean = ([colours(prompt, seed) for seed in range(5)] for prompt in ("lava", "ocean"))
    within = [likeness(row[0], other) for row in (lava, ocean) for other in row[1:]]
    across = [likeness(one, other) for one, other in zip(lava, ocean, strict=True)]
    assert np.mean(within) > np.mean(across) + 0.25


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_last_frame_leads_into_the_first(sampler: str) -> None:
    frames = pictures(replace(SMALL, sampler=sampler, guidance_scale=9.0))[:, :ART_ROWS]
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert np.abs(frames[-1] - frames[0]).mean() <= steps.max() * 1.25


@pytest.mark.parametrize(
    ("one", "other"), [("海", "雨"), ("Ж", "Щ"), ("🦊", "🐳"), ("👩‍🚀", "👩‍🚒"), ("🇫🇷", "🇯🇵")]
)
def test_scripts_and_emoji_are_drawn_and_not_replaced(one: str, other: str) -> None:
    if not captions.is_drawable(one + other):
        pytest.skip(
            f"no font here has {one} and {other}; Debian: fonts-wqy-microhei, noto-color-emoji"
        )
    assert len({caption(one), caption(other), caption("\ue000")}) == 3


def test_what_no_font_has_is_drawn_as_a_box() -> None:
    assert not captions.is_drawable("\ue000")
    assert caption("\ue000") == caption("\ue001") != caption("")


@pytest.mark.usefixtures("no_fonts")
def test_a_machine_without_fonts_draws_latin_and_boxes() -> None:
    assert captions.is_drawable("fox")
    assert not captions.is_drawable("海")
    assert caption("fox") != caption("fix")
    assert caption("海") == caption("雨") != caption("")


@pytest.mark.parametrize("prompt", ["word " * 2000, "w" * 10_000, "海" * 10_000, "🦊" * 10_000])
def test_a_long_prompt_takes_as_much_room_as_three_lines(prompt: str) -> None:
    def height(text: str) -> int:
        return captions.draw(text, ["seed 1"], "", 832, 480).height

    assert height("a\n" * 200) <= height("word " * 200) == height(prompt) < 240


@pytest.mark.parametrize(
    "prompt",
    ["", "\0", "\ud800", "\udfff\ud83d", "\n\t ", "שלום عالم", "e" + "\u0301" * 900, "\u202e"],
)
def test_awkward_prompts_become_clips(prompt: str) -> None:
    assert render(replace(SMALL, prompt=prompt, negative_prompt=prompt, sampler=prompt))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, 1e300])
def test_numbers_out_of_all_range_become_clips(value: float) -> None:
    assert render(replace(SMALL, guidance_scale=value, shift=value, seed=2**70, inference_steps=0))


@settings(max_examples=150, deadline=None)
@given(prompt=ANY_TEXT, detail=ANY_TEXT, negative=ANY_TEXT)
def test_any_text_makes_a_caption_that_fits(prompt: str, detail: str, negative: str) -> None:
    band = captions.draw(prompt, [detail], negative, 160, 96)
    assert band.width == 160
    assert band.height <= 96
    assert band.height % 2 == 0


@settings(max_examples=12, deadline=None)
@given(prompt=ANY_TEXT, sampler=ANY_TEXT, seed=st.integers(0), half=st.integers(8, 40))
def test_any_request_makes_a_clip(prompt: str, sampler: str, seed: int, half: int) -> None:
    request = ClipRequest(prompt, seed, sampler=sampler, width=half * 2, height=half * 2)
    assert "moov" in box_names(render(request))
