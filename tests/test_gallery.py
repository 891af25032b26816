"""The gallery: everything shown as text, every cell in its place, in a page that needs nothing."""

import base64
import hashlib
import html
import itertools
import json
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from batchgen import templates
from batchgen.jobfile import load_job
from batchgen.report.gallery import Row, write_gallery
from batchgen.report.picks import Maker
from batchgen.sandbox.clips import ClipRequest, render

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
STATUSES = ("succeeded", "failed", "timed_out", "unresolved", "pending", "cancelled")
CANARIES = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "quotes ' \" ` & &amp; <!-- <b>",
    "{{ 7 * 7 }} {% raw %} ${x} $$ \\u003c",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "emoji \U0001f98a and \u72d0",
    "ansi \x1b[31mred\x1b[0m nul \x00 bell \x07 del \x7f nel \x85 ls \u2028",
    "__proto__",
)


def row(index: int, prompt: str = "a fox", status: str = "succeeded", **values: object) -> Row:
    name = f"videos/{index}.mp4" if status == "succeeded" else None
    columns: dict[str, object] = {
        "task_id": f"task{index:08}",
        "index": index,
        "status": status,
        "file_name": name,
        "prompt": prompt,
        "prompt_id": None,
        "prompt_template": prompt,
        "negative_prompt": None,
        "seed": 1,
        "guidance_scale": 5,
        "sampler": "unipc",
        "aspect_ratio": "16:9",
        "repeat": 1,
        "model": "wan/v2.1/1.3b/text-to-video",
        "video_url": "https://cdn.example/secret.mp4",
        "submitted_at": "2026-07-31T22:00:00Z",
        "completed_at": "2026-08-01T05:12:00Z",
        "error_code": None,
        "error_message": None,
        "cost_usd": 0.04,
        "cost_is_estimate": True,
    }
    return {**columns, **values}


def parameters(row: Row) -> dict[str, object]:
    names = ("seed", "guidance_scale", "sampler", "aspect_ratio", "negative_prompt", "prompt")
    return {name: row[name] for name in names if row[name] is not None}


class Scripts(HTMLParser):
    """Collects what a browser would take as scripts, styles and meta tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        last = len(self.tags) - 1
        if self.cdata_elem is not None:
            self.texts[last] = self.texts.get(last, "") + data

    def inside(self, tag: str, **attributes: str) -> list[str]:
        return [
            self.texts.get(number, "")
            for number, (name, values) in enumerate(self.tags)
            if name == tag and attributes.items() <= values.items()
        ]


def parsed(page: Path) -> Scripts:
    parser = Scripts()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def shown_rows(page: Path) -> list[dict[str, Any]]:
    """Put the page's data together as its script does."""
    found = []
    for text in parsed(page).inside("script", type="application/json", **{"class": "rows"}):
        part = json.loads(text)
        found += [
            part["common"] | dict(zip(part["columns"], values, strict=True))
            for values in part["rows"]
        ]
    return found


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: Row, axes: tuple[str, ...] = (), title: str = "night") -> Path:
        path = tmp_path / "index.html"
        write_gallery(path, rows, title=title, axes=axes)
        return path

    return write


@pytest.mark.parametrize("canary", CANARIES)
def test_a_prompt_reaches_the_page_as_data_only(page_of: Callable[..., Path], canary: str) -> None:
    plain = parsed(page_of(row(0)))
    path = page_of(row(0, prompt=canary, error_message=canary), title=canary)
    hostile = parsed(path)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert shown_rows(path)[0]["prompt"] == canary


def test_a_title_with_half_a_character_is_written(page_of: Callable[..., Path]) -> None:
    assert shown_rows(page_of(row(0, prompt="\ud83e"), title="\ud83e"))[0]["prompt"] == "\ud83e"


def test_every_row_is_in_the_page_whatever_its_status(page_of: Callable[..., Path]) -> None:
    rows = [
        row(0),
        *(row(n, status=s, error_code=f"code-{s}") for n, s in enumerate(STATUSES[1:], 1)),
    ]
    shown = shown_rows(page_of(*rows))
    assert [each["status"] for each in shown] == list(STATUSES)
    assert [each.get("error_code") for each in shown[1:]] == [f"code-{s}" for s in STATUSES[1:]]


@pytest.mark.parametrize(
    "name",
    ["videos/a b#1 100%?.mp4", "videos/\u72d0 \U0001f98a.mp4", "//host/x.mp4", "javascript:x.mp4"],
)
def test_file_names_become_relative_urls(page_of: Callable[..., Path], name: str) -> None:
    [shown] = shown_rows(page_of(row(0, file_name=name)))
    assert re.fullmatch(r"\./[A-Za-z0-9_.~/%-]+", shown["href"])
    assert unquote(shown["href"]) == "./" + name


def test_numbers_survive_javascript(page_of: Callable[..., Path]) -> None:
    [shown] = shown_rows(page_of(row(0, seed=2**63, guidance_scale=float("inf"), shift=2.5)))
    assert shown["seed"] == [str(2**63)]
    assert shown["guidance_scale"] == "inf"
    assert shown["shift"] == 2.5


def test_rows_with_columns_of_their_own_keep_them(page_of: Callable[..., Path]) -> None:
    first, second = shown_rows(page_of(row(0), row(1, var_animal="owl", seed=None)))
    assert first.get("var_animal") is None
    assert first["seed"] == 1
    assert second["var_animal"] == "owl"
    assert second["seed"] is None


def test_the_policy_allows_this_pages_script_and_no_network(page_of: Callable[..., Path]) -> None:
    path = page_of(row(0))
    page = parsed(path)
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    directives = {name: sources for name, *sources in map(str.split, policy.split(";"))}
    *_, script = page.inside("script")
    [style] = page.inside("style")
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[kind] == [f"'sha256-{digest}'"]
    assert directives["default-src"] == ["'none'"]
    assert directives["media-src"] == ["'self'", "file:"]
    assert "secret.mp4" not in path.read_text()
    assert not re.search(r"https?://", path.read_text())


def test_the_old_page_stays_when_the_rows_break_off(page_of: Callable[..., Path]) -> None:
    path = page_of(row(0))
    before = path.read_bytes()

    def breaking() -> Iterator[Row]:
        yield from (row(n) for n in range(1500))
        raise RuntimeError("the ledger went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_gallery(path, breaking(), title="night", axes=())
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["index.html"]


def test_no_rows_make_a_page(page_of: Callable[..., Path]) -> None:
    assert shown_rows(page_of()) == []


def test_many_rows_stream_through(tmp_path: Path) -> None:
    def rows(count: int) -> Iterator[Row]:
        return (row(n, prompt=f"prompt {n // 4}", seed=n % 4) for n in range(count))

    path = tmp_path / "index.html"
    write_gallery(path, rows(1), title="warm", axes=["seed"])
    started = time.perf_counter()
    write_gallery(path, rows(2_000), title="night", axes=["seed"])
    assert time.perf_counter() - started < 2
    assert len(shown_rows(path)) == 2_000
    peaks = []
    for count in (2_000, 8_000):
        tracemalloc.start()
        write_gallery(path, rows(count), title="night", axes=["seed"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_the_subtitle_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    write_gallery(path, [row(0)], title="night", axes=(), subtitle="<b>x</b>")
    assert html.escape("<b>x</b>") in path.read_text()


GRID = [
    row(index, "Paper boat: macro, ${rain} $$5 </script>", status, seed=seed, guidance_scale=scale,
        sampler=sampler, width=160, height=96)
    for index, ((seed, scale, sampler), status) in enumerate(
        zip(
            itertools.product((1, 2, 3), (3, 4.5), ("unipc", "dpm+")),
            ["succeeded"] * 6 + ["failed", "pending"] + ["succeeded"] * 4,
            strict=True,
        )
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a 3 x 2 x 2 grid with one failed and one pending task, its clips awkwardly named."""
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for each in GRID:
        changed = dict(each)
        if each["status"] == "succeeded":
            name = f"videos/{each['index']} #1 100%? \u72d0.mp4"
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            seed, scale = each["seed"], each["guidance_scale"]
            assert isinstance(seed, int)
            assert isinstance(scale, int | float)
            path.write_bytes(render(ClipRequest("boat", seed, scale, width=160, height=96)))
            changed["file_name"] = name
        elif each["status"] == "failed":
            changed |= {"error_code": "content_policy", "error_message": "refused <b>politely</b>"}
        rows.append(changed)
    write_gallery(
        folder / "index.html", rows, title="paper", axes=["seed", "guidance_scale", "sampler"]
    )
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=CHROMIUM_ARGS, timeout=30_000
        )
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(5_000)
    yield context
    context.close()


@pytest.fixture
def visit(context: BrowserContext) -> Iterator[Callable[[Path], Page]]:
    """Open pages, and hold against them every error and every request that leaves the disk."""
    complaints: list[str] = []

    def go(path: Path) -> Page:
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:"))
                else complaints.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        return page

    yield go
    assert complaints == []


def tile(page: Page, index: int) -> Locator:
    """Find a task's tile by its place in the grid: the page gives tiles no names."""
    each = GRID[index]
    line = page.locator(".group", has_text=f"sampler {each['sampler']}").locator("tbody tr")
    seeds = [1, 2, 3]
    return (
        line.nth([3, 4.5].index(each["guidance_scale"]))  # type: ignore[arg-type]
        .locator("td")
        .nth(seeds.index(each["seed"]))  # type: ignore[arg-type]
        .locator(".tile")
    )


def clock(video: Locator) -> float:
    return float(video.evaluate("video => video.currentTime"))


def until(condition: Callable[[], bool]) -> None:
    # The page's policy forbids eval, which is how playwright would wait for a function.
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited for 5 s")


@pytest.mark.browser
def test_cells_line_up_under_the_values_of_their_axes(
    visit: Callable[[Path], Page], run: Path
) -> None:
    page = visit(run / "index.html")
    expect(page.locator("h2")).to_have_text(str(GRID[0]["prompt"]))
    tables = page.locator("table").all()
    assert len(tables) == 2
    lefts = []
    for table in tables:
        assert table.locator("thead th").all_inner_texts() == ["seed 1", "seed 2", "seed 3"]
        heads = [head.bounding_box() for head in table.locator("thead th").all()]
        for line in table.locator("tbody tr").all():
            cells = [cell.bounding_box() for cell in line.locator(".tile").all()]
            assert [cell and cell["x"] for cell in cells] == [head and head["x"] for head in heads]
            assert len({cell and (cell["y"], cell["height"]) for cell in cells}) == 1
        lefts.append([head and head["x"] for head in heads])
    assert lefts[0] == lefts[1]
    label = tile(page, 9).locator(".open").get_attribute("aria-label")
    assert label is not None
    assert "seed 3, guidance scale 3, sampler dpm+" in label


@pytest.mark.browser
def test_what_has_no_video_says_why(visit: Callable[[Path], Page], run: Path) -> None:
    page = visit(run / "index.html")
    expect(tile(page, 6)).to_contain_text("refused <b>politely</b>")
    expect(tile(page, 6)).to_contain_text("content_policy")
    expect(tile(page, 7)).to_contain_text("pending")
    chips = page.locator(".chip").all_inner_texts()
    assert chips == [
        "\u2713 10 succeeded",
        "\u2715 1 failed",
        "\u2026 1 pending",
        "\u2605 0 picked",
    ]
    expect(page.locator(".facts")).to_contain_text("about $0.48")
    expect(page.locator(".facts")).to_contain_text("7 h 12 min")


@pytest.mark.browser
@pytest.mark.parametrize("by", ["hover", "focus"])
def test_a_video_plays_under_the_pointer_and_the_focus(
    visit: Callable[[Path], Page], run: Path, by: str
) -> None:
    page = visit(run / "index.html")
    video = tile(page, 4).locator("video")
    if by == "hover":
        tile(page, 4).hover()
    else:
        tile(page, 4).locator(".open").focus()
    until(lambda: clock(video) > 0.2)
    if by == "hover":
        page.mouse.move(5, 5)
    else:
        page.locator("#search").focus()
    until(lambda: bool(video.evaluate("video => video.paused")))


@pytest.mark.browser
def test_who_wants_less_motion_gets_none_unasked(browser: Browser, run: Path) -> None:
    with browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto((run / "index.html").as_uri())
        video = tile(page, 4).locator("video")
        tile(page, 4).hover()
        page.wait_for_timeout(400)
        assert clock(video) == 0
        page.locator("#play").click()
        until(lambda: clock(video) > 0)


@pytest.mark.browser
def test_all_in_view_play_in_step(visit: Callable[[Path], Page], run: Path) -> None:
    page = visit(run / "index.html")
    page.set_viewport_size({"width": 1000, "height": 1200})
    expect(page.locator(".tile video")).to_have_count(10)
    tile(page, 0).locator(".open").focus()
    page.keyboard.press("a")
    clocks = "all => all.filter(one => !one.paused).map(one => one.currentTime)"
    playing = page.locator(".tile video")
    until(lambda: min(playing.evaluate_all(clocks) or [0]) > 0.3)
    times = playing.evaluate_all(clocks)
    assert len(times) >= 8
    assert max(times) - min(times) < 0.15
    page.keyboard.press("a")
    assert playing.evaluate_all(clocks) == []


@pytest.mark.browser
def test_the_large_view_walks_the_grid_by_arrow_keys(
    visit: Callable[[Path], Page], run: Path
) -> None:
    page = visit(run / "index.html")
    tile(page, 0).locator(".open").click()
    where, parameter = page.locator(".where"), page.locator("#params")
    expect(where).to_have_text("1 / 12")
    expect(page.locator("#wording")).to_have_text(str(GRID[0]["prompt"]))
    until(lambda: clock(page.locator(".screen video")) > 0)
    page.keyboard.press("ArrowRight")
    expect(where).to_have_text("2 / 12")
    expect(parameter).to_contain_text(re.compile(r"seed2guidance_scale3"))
    page.keyboard.press("ArrowDown")
    expect(parameter).to_contain_text(re.compile(r"seed2guidance_scale4\.5"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    expect(where).to_have_text("1 / 12")
    href = page.locator("#file").evaluate("link => link.href")
    assert Path(unquote(href.removeprefix("file://"))) == run / "videos/0 #1 100%? \u72d0.mp4"
    page.keyboard.press("Escape")
    expect(page.locator("#large")).not_to_be_visible()
    expect(tile(page, 0).locator(".open")).to_be_focused()


@pytest.mark.browser
def test_picks_outlive_a_reload_and_read_back_as_include_rows(
    visit: Callable[[Path], Page], context: BrowserContext, run: Path
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit(run / "index.html")
    tile(page, 2).locator(".open").focus()
    page.keyboard.press("p")
    tile(page, 8).hover()
    tile(page, 8).locator(".star").click()
    page.reload()
    page.locator("#show-picks").click()
    page.locator("#copy-picks").click()
    expect(page.locator("#copy-picks")).to_contain_text("Copied")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text == page.locator("#yaml").input_value()
    picked = yaml.safe_load(text)["include"]
    for found in picked:
        found["prompt"] = templates.fill(found["prompt"], {})
    assert picked == [parameters(GRID[2]), parameters(GRID[8])]


@pytest.mark.browser
def test_picks_name_the_address_with_its_key_and_the_parameters_of_their_own_model(
    visit: Callable[[Path], Page], tmp_path: Path
) -> None:
    text = """
    version: 1
    provider: {kind: aimlapi, base_url: "https://api.example.com/", model: a, api_key_env: MINE}
    prompts: [A fox]
    model_parameters: {seed: integer, "a b": {choices: [1.5, x, 9007199254740993], ignored: true}}
    """
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(tmp_path / "job.yaml")
    path = tmp_path / "index.html"
    rows = [row(n, provider="aimlapi", model="ab"[n], status="pending") for n in range(2)]
    write_gallery(path, rows, title="own", axes=(), maker=Maker.of(job))
    page = visit(path)
    for number in range(2):
        page.locator(".tile .star").nth(number).dispatch_event("click")
    page.locator("#show-picks").click()
    picks, of_another_model = page.locator("#yaml").input_value().split("# Of another")
    picked = yaml.safe_load(picks)
    provider = {"base_url": "https://api.example.com", "api_key_env": "MINE"}
    assert picked["provider"] == {"kind": "aimlapi", "model": "a", **provider}
    assert picked["model_parameters"] == {
        "seed": {"type": "integer"},
        "a b": {"type": "any", "choices": [1.5, "x", 9007199254740993], "ignored": True},
    }
    assert "base_url" in of_another_model
    assert "model_parameters" not in of_another_model


@pytest.mark.browser
def test_any_value_reads_back_from_a_pick(visit: Callable[[Path], Page], tmp_path: Path) -> None:
    odd = "no \x00\x07\x1b\x7f\x85\u2028\ufeff \U0001f98a \u72d0 'a' \"b\" \\ # : - \n\ttwo"
    values: dict[str, object] = {
        "seed": 2**63, "guidance_scale": 1e21, "shift": 1.5e-7, "on": "on", "flag": True,
        "sampler": "010", "note: x": odd, "negative_prompt": "",
    }  # fmt: skip
    given = row(0, prompt=odd, status="pending", param_width=640, **values)
    path = tmp_path / "index.html"
    write_gallery(path, [given], title="odd", axes=())
    page = visit(path)
    page.locator(".open").focus()
    page.keyboard.press("p")
    page.locator("#show-picks").click()
    [picked] = yaml.safe_load(page.locator("#yaml").input_value())["include"]
    assert picked == {**parameters(given), **values, "width": 640, "prompt": odd}


@pytest.mark.browser
def test_prompts_are_shown_as_they_are_written_and_found(
    visit: Callable[[Path], Page], tmp_path: Path
) -> None:
    path = tmp_path / "index.html"
    rows = [row(n, prompt, "pending") for n, prompt in enumerate(CANARIES)]
    write_gallery(path, rows, title=CANARIES[0], axes=())
    page = visit(path)
    headings = page.locator("h2").all_text_contents()
    expected = [re.sub(r"\x7f", "\u2421", prompt) for prompt in CANARIES]
    pictures = {code: chr(0x2400 + code) for code in range(32)}
    assert headings == [prompt.translate(pictures) for prompt in expected]
    assert "owned" not in page.title().replace(CANARIES[0], "")
    page.locator("#search").fill("EMOJI \u72d0")
    expect(page.locator("section")).to_have_count(1)
    page.locator("#search").fill("nowhere")
    expect(page.locator(".nothing")).to_be_visible()


@pytest.mark.browser
def test_axes_change_places_filter_and_group(visit: Callable[[Path], Page], run: Path) -> None:
    page = visit(run / "index.html")
    heads = page.locator("table").first.locator("thead th")
    page.locator("#down").select_option("sampler")
    expect(page.locator("h3").first).to_have_text("guidance scale 3")
    page.locator("#across").select_option("sampler")
    expect(heads).to_have_text(["sampler unipc", "sampler dpm+"])
    page.get_by_label("only guidance scale").select_option("4.5")
    expect(page.locator("table")).to_have_count(1)
    expect(page.locator("#shown")).to_have_text("6 of 12 shown")
    page.locator(".chip.is-pending").click()
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".chip.is-pending").click()
    page.locator("#down").select_option("")
    expect(page.locator("table")).to_have_count(0)
    expect(page.locator(".wall .tile")).to_have_count(6)


@pytest.mark.browser
def test_variables_are_axes_and_what_moves_together_is_one(
    visit: Callable[[Path], Page], tmp_path: Path
) -> None:
    made = itertools.product(("an owl", "a fox"), (("paper", 3), ("clay", 8)))
    rows = [
        row(n, f"{animal} of {stuff}", "pending", prompt_template="${animal} of ${material}",
            var_animal=animal, var_material=stuff, shift=shift)
        for n, (animal, (stuff, shift)) in enumerate(made)
    ]  # fmt: skip
    path = tmp_path / "index.html"
    write_gallery(path, rows, title="zip", axes=["animal", "material", "shift"])
    page = visit(path)
    expect(page.locator("h2")).to_have_text("${animal} of ${material}")
    expect(page.locator("thead th")).to_have_text(["animal an owl", "animal a fox"])
    expect(page.locator("tbody th .clamp")).to_have_text(["paper \u00b7 3", "clay \u00b7 8"])


@pytest.mark.browser
def test_a_lone_added_row_stands_below_the_grid(
    visit: Callable[[Path], Page], tmp_path: Path
) -> None:
    cells = itertools.product((1, 2, 3), (3, 5, 7))
    rows = [row(n, status="pending", seed=s, guidance_scale=g) for n, (s, g) in enumerate(cells)]
    path = tmp_path / "index.html"
    added = row(9, status="pending", seed=42, guidance_scale=12)
    write_gallery(path, [*rows, added], title="added", axes=["seed", "guidance_scale"])
    page = visit(path)
    expect(page.locator("td .tile")).to_have_count(9)
    expect(page.locator(".blank")).to_have_count(0)
    expect(page.locator(".also .label")).to_have_text(re.compile("seed 42.*guidance scale 12"))


@pytest.mark.browser
def test_a_file_that_is_gone_is_said_to_be(context: BrowserContext, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    write_gallery(path, [row(0)], title="gone", axes=())
    page = context.new_page()
    page.goto(path.as_uri())
    expect(page.locator(".tile")).to_contain_text("missing or does not play: videos/0.mp4")


@pytest.mark.browser
def test_a_long_page_opens_a_piece_at_a_time(context: BrowserContext, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    rows = (row(n, f"prompt {n // 2}", seed=n % 2) for n in range(10_000))
    write_gallery(path, rows, title="long", axes=["seed"])
    page = context.new_page()
    started = time.perf_counter()
    page.goto(path.as_uri())
    expect(page.locator(".tile").first).to_be_visible()
    assert time.perf_counter() - started < 5
    assert 10 < page.locator(".tile").count() < 300
    before = page.locator(".tile").count()
    page.locator("main").evaluate("main => main.scrollTo(0, main.scrollHeight)")
    until(lambda: page.locator(".tile").count() > before)


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 2560])
def test_the_page_fits_its_window(visit: Callable[[Path], Page], run: Path, width: int) -> None:
    page = visit(run / "index.html")
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for control in ("#play", "#show-picks", "h1"):
        box = page.locator(control).bounding_box()
        assert box is not None
        assert box["width"] > 30
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
