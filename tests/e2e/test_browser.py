"""A browser plays what a run leaves."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
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


ODD_PROMPTS = (
    "Paper boat: macro, \"rain\" # and 'wind'",
    "two lines\n  and a tab\t, then ${seed} and $${not} and $$5",
    "emoji \U0001f98a, \u72d0, 1.5e3, - yes, %TAG {a: b} [c] \\d",
)


def save_all_as_picks(browser: Browser, folder: Path, *, videos: int) -> None:
    """Star every video of the run `grid` and save picks.yaml, as a person does."""
    page = browser.new_page()
    page.goto((folder / "output" / "grid" / "index.html").as_uri())
    stars = page.locator(".tile .star")
    assert stars.count() == videos
    for number in range(videos):
        stars.nth(number).dispatch_event("click")
    page.locator("#show-picks").click()
    with page.expect_download() as saving:
        page.locator("#save-picks").click()
    assert saving.value.suggested_filename == "picks.yaml"
    saving.value.save_as(folder / "picks.yaml")


def test_picks_saved_from_the_page_are_a_job_that_finds_everything_made(
    batchgen: Batchgen, serve: Callable[..., str], browser: Browser, tmp_path: Path
) -> None:
    url = serve("--queue", "0s", "--generate", "0.05s")
    job = {
        "prompts": list(ODD_PROMPTS),
        "defaults": {"negative_prompt": "", "shift": 5.0},
        "matrix": {"guidance_scale": [3, 4.5], "seed": {"random": 1}},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(job, allow_unicode=True))
    assert batchgen("run", "grid.yaml", "--base-url", url).returncode == 0
    save_all_as_picks(browser, tmp_path, videos=6)
    same_place = ("picks.yaml", "--output", "output/grid")
    planned = json.loads(batchgen("plan", *same_place, "--json").stdout)
    assert planned["by_status"] == {"new": 0, "succeeded": 6}
    assert batchgen("run", *same_place).returncode == 0
    request = urllib.request.Request(
        f"{url}/sandbox/ledger", headers={"Authorization": "Bearer sandbox"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["submits"] == 6
    elsewhere = json.loads(batchgen("plan", "picks.yaml", "--json").stdout)
    assert elsewhere["by_status"] == {"new": 6}


def test_picks_of_a_job_with_parameters_of_its_own_run_as_they_are(
    batchgen: Batchgen, browser: Browser, tmp_path: Path
) -> None:
    job = {
        "prompts": ["A fox"],
        "model_parameters": {
            "guidance_scale": {"maximum": 1000},
            "on": "boolean",
            "motion": {"choices": ["slow: 1", "fast", 3], "default": "fast"},
        },
        "defaults": {"on": True},
        "matrix": {"guidance_scale": [3, 500], "motion": ["slow: 1", 3]},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(job))
    ended = batchgen("run", "grid.yaml")
    assert ended.returncode == 0, ended.stderr
    save_all_as_picks(browser, tmp_path, videos=4)
    planned = batchgen("plan", "picks.yaml", "--output", "output/grid", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["by_status"] == {"new": 0, "succeeded": 4}
