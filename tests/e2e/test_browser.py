"""A browser plays what a run leaves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import REPO, Batchgen

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def test_chromium_plays_a_produced_clip(
    batchgen: Batchgen, browser: Browser, tmp_path: Path
) -> None:
    assert batchgen("run", REPO / "jobs" / "quickstart.yaml").returncode == 0
    (clip,) = (tmp_path / "output" / "quickstart" / "videos").glob("*.mp4")
    page = browser.new_page()
    (tmp_path / "page.html").write_text(
        f'<video id="clip" muted loop src="{clip.resolve().as_uri()}"></video>'
    )
    page.goto((tmp_path / "page.html").as_uri())
    page.evaluate("document.getElementById('clip').play()")
    page.wait_for_function("document.getElementById('clip').currentTime > 0.5", timeout=15_000)
    size = page.evaluate(
        "[document.getElementById('clip').videoWidth, document.getElementById('clip').videoHeight]"
    )
    assert size == [832, 480]


def test_the_page_of_a_run_shows_its_clip(
    batchgen: Batchgen, browser: Browser, tmp_path: Path
) -> None:
    assert batchgen("run", REPO / "jobs" / "quickstart.yaml").returncode == 0
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "output" / "quickstart" / "index.html").as_uri())
    # The page's policy forbids eval, which wait_for_function needs.
    for _ in range(150):
        if page.evaluate("[...document.querySelectorAll('video')].some(v => v.videoWidth === 832)"):
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("no clip was loaded")
    assert "A red fox trots through fresh snow" in page.inner_text("body")
    assert errors == []
