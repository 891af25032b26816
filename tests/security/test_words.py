"""What others wrote is shown as text: it moves no cursor, breaks no line and runs nowhere."""

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from batchgen.cli.app import main
from batchgen.display import LiveDisplay, PlainDisplay
from batchgen.errors import JobFileError, Place, Problem, UsageError
from batchgen.events import Level, Notice, TaskMoved
from batchgen.jobfile import load_job
from batchgen.report.gallery import Row, write_gallery
from batchgen.report.log import RunLog
from batchgen.report.manifest import csv_cell
from batchgen.task import Status
from batchgen.terminal import json_line, visible
from tests.security.conftest import Night, written
from tests.security.hostile import TEXTS

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
NO_NAME = {"nul", "parents", "absolute", "long", "long chinese", "long emoji", "marks"}
each_name = pytest.mark.parametrize(
    "text", [text for name, text in TEXTS.items() if name not in NO_NAME and "/" not in text]
)
FORMULA = re.compile("[=+\\-@\t\r\n\0\N{FULLWIDTH EQUALS SIGN}]")


def is_visible(screen: str) -> bool:
    """Tell whether a screen holds lines of visible signs and nothing else."""
    return screen.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "command", ["run", "status", "plan", "plan --tasks", "validate", "gallery", "resolve"]
)
def test_no_command_prints_what_moves_a_cursor(night: Night, command: str) -> None:
    screen = night.screens[command].decode()
    assert len(screen) > 20
    assert is_visible(screen)


def test_a_prompt_forges_no_line_of_the_screen_or_the_log(night: Night) -> None:
    screen = night.screens["run"].decode().split("\n")
    log = (night.folder / "run.log").read_text().split("\n")
    for line in (*screen, *log):
        assert not line.startswith(("batchgen: all done", "2026-08-01T00:00:00"))
    # A line for each step of each task, and nothing that came of a line break in between.
    assert all(
        re.match(r" *\d+  |\d+ of \d+ |\d+ failed|look at|provider: |$", line) for line in screen
    )
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ \S+ |$", line) for line in log)
    assert len(log) > 3 * len(TEXTS)


def test_the_log_holds_visible_signs_only(night: Night) -> None:
    assert is_visible((night.folder / "run.log").read_text())


@each_text
def test_a_prompt_s_rows_in_the_manifest_are_exact_and_on_one_line_of_visible_signs(
    night: Night, text: str
) -> None:
    raw = (night.folder / "manifest.jsonl").read_text()
    assert is_visible(raw)
    assert [night.row(text, seed)["prompt"] for seed in (1, 2, 3, 4)] == [text] * 4


@each_text
def test_a_prompt_is_no_formula_in_the_table_and_comes_back_exactly(
    night: Night, text: str
) -> None:
    with (night.folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    wanted = {row["task_id"]: row for row in night.rows() if row["prompt"] == text}
    found = [row for row in rows if row["task_id"] in wanted]
    assert len(found) == 4
    for row in found:
        assert row["prompt"].removeprefix("'") == text
        for name in ("prompt", "negative_prompt", "prompt_template", "error_message", "error_code"):
            assert not FORMULA.match(row[name])
            assert row[name].removeprefix("'") == (wanted[row["task_id"]][name] or "")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-1, "-1"),
        (-1.5, "-1.5"),
        (+7, "7"),
        (1e-9, "1e-09"),
        (True, "true"),
        (None, ""),
        ("", ""),
        ("-1", "'-1"),
        ("+7", "'+7"),
        ("a=1", "a=1"),
        (" =1", " =1"),
        ("'", "''"),
        ("''=1", "'''=1"),
        ("=1", "'=1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\nx", "'\nx"),
        ("\0=1", "'\0=1"),
        ("\N{FULLWIDTH PLUS SIGN}1", "'\N{FULLWIDTH PLUS SIGN}1"),
        ("\N{FULLWIDTH COMMERCIAL AT}1", "'\N{FULLWIDTH COMMERCIAL AT}1"),
        ("\N{FULLWIDTH HYPHEN-MINUS}1", "'\N{FULLWIDTH HYPHEN-MINUS}1"),
    ],
)
def test_a_cell_is_a_number_or_a_text_and_never_a_formula(value: Any, cell: str) -> None:
    assert csv_cell(value) == cell


class Page(HTMLParser):
    """Counts a page's tags, and collects what its data blocks say."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.blocks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and ("class", "rows") in self.tags[-1][1]:
            self.blocks.append(data)


def page_of(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@each_text
def test_a_text_adds_no_tag_and_no_attribute_to_the_page(tmp_path: Path, text: str) -> None:
    def write(said: str) -> Page:
        row: dict[str, object] = {
            "task_id": "t",
            "status": "failed",
            "prompt": said,
            "error_message": said,
            said: said,
        }
        path = tmp_path / "index.html"
        write_gallery(path, [row], title=said, axes=[said], subtitle=said)
        return page_of(path)

    plain, hostile = write("plain"), write(text)
    shape = [(tag, [name for name, _ in attributes]) for tag, attributes in hostile.tags]
    assert shape == [(tag, [name for name, _ in attributes]) for tag, attributes in plain.tags]
    (block,) = hostile.blocks
    assert json.loads(block)["common"]["prompt"] == text


def test_the_night_s_page_holds_every_prompt_as_data(night: Night) -> None:
    shown = set()
    for block in page_of(night.folder / "index.html").blocks:
        part = json.loads(block)
        rows = [
            part["common"] | dict(zip(part["columns"], row, strict=True)) for row in part["rows"]
        ]
        shown |= {row["prompt"] for row in rows}
    assert shown == set(TEXTS.values())


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://evil.example/x.mp4", "//evil"])
def test_a_parameter_called_href_is_no_address_of_the_page(tmp_path: Path, address: str) -> None:
    rows: list[Row] = [
        {"task_id": "a", "status": "succeeded", "file_name": "videos/a.mp4", "href": address},
        {"task_id": "b", "status": "pending", "file_name": None, "href": address},
    ]
    write_gallery(tmp_path / "index.html", rows, title="night", axes=())
    (block,) = page_of(tmp_path / "index.html").blocks
    part = json.loads(block)
    assert part["common"]["param_href"] == address
    assert [row[part["columns"].index("href")] for row in part["rows"]] == ["./videos/a.mp4", None]


def moved(text: str) -> TaskMoved:
    return TaskMoved("abcdefghijkl", 3, Status.FAILED, prompt=text, message=text)


@each_text
def test_the_plain_display_prints_a_line_an_event(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with PlainDisplay(verbose=True) as display:
        display(moved(text))
        display(Notice(text, Level.WARNING))
    screen = capsys.readouterr().err
    assert is_visible(screen)
    assert screen.count("\n") == 2


@each_text
def test_the_live_display_adds_nothing_of_a_text_but_its_words(text: str) -> None:
    def drawn(said: str) -> list[str]:
        console = Console(file=io.StringIO(), force_terminal=True, width=500, color_system=None)
        with LiveDisplay(verbose=True, console=console) as display:
            display(moved(said))
            display(Notice(said, Level.WARNING))
        assert isinstance(console.file, io.StringIO)
        return re.findall(
            r"[^\x20-\x7e\xa1-\U0010ffff]+[\[\]()A-Za-z0-9;?]{0,9}", console.file.getvalue()
        )

    controls = [re.sub(r"[A-Za-z0-9].*", "", found) for found in drawn(text)]
    assert set(controls) <= {re.sub(r"[A-Za-z0-9].*", "", found) for found in drawn("words")}


@each_text
def test_the_log_writes_a_line_an_event(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.log"
    with RunLog(path, lambda: 0.0) as log:
        log(moved(text))
        log(Notice(text))
    written_lines = path.read_text().split("\n")
    assert len(written_lines) == 3
    assert all(line.isprintable() for line in written_lines)
    assert visible(text) in written_lines[1]


@each_text
def test_a_line_of_json_is_visible_and_exact(text: str) -> None:
    line = json_line({text: [text, 1.5, None]})
    assert line.isprintable()
    assert json.loads(line) == {text: [text, 1.5, None]}


WHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "an unknown key": lambda text: {text: 1},
    "an unknown parameter": lambda text: {"defaults": {text: 1}},
    "a key in a part": lambda text: {"run": {text: 1}},
    "a choice": lambda text: {"provider": {"kind": text}},
    "an address": lambda text: {"provider": {"base_url": text}},
    "a place of a key": lambda text: {"provider": {"api_key_env": text}},
    "a number": lambda text: {"defaults": {"guidance_scale": text}},
    "a duration": lambda text: {"run": {"give_up_after": text}},
    "an axis": lambda text: {"matrix": {"seed": [text]}},
    "a range": lambda text: {"matrix": {"seed": f"1-{text}"}},
    "a name": lambda text: {"name": f"!{text}"},
    "a prompt file": lambda text: {"prompts": {"file": f"{text}.yaml"}},
    "a missing prompt file": lambda text: {"prompts": {"file": f"{text}.txt"}},
    "a prompt's variable": lambda text: {"prompts": ["a ${x" + text.replace("}", "") + "}"]},
}


@pytest.mark.parametrize("where", WHERE)
def test_no_mistake_in_a_job_file_is_shown_with_what_moves_a_cursor(
    tmp_path: Path, where: str
) -> None:
    path, mistakes = tmp_path / "job.yaml", 0
    for name, text in TEXTS.items():
        path.write_text(yaml.safe_dump({"prompts": ["a fox"], **WHERE[where](text)}, width=10**9))
        shown = mistakes_of(path)
        mistakes += bool(shown)
        assert is_visible(shown), name
    # Some of these texts are right in some of these places.
    assert mistakes > len(TEXTS) // 2


def mistakes_of(path: Path) -> str:
    """Return what is shown of a job file's mistakes; nothing where it has none."""
    try:
        load_job(path)
    except (JobFileError, UsageError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "sign", ["\u202e", "\u2066", "\u200b", "\u061c", "\ufeff", "\x85", "\u2028"]
)
def test_the_line_of_a_mistake_is_shown_with_signs_that_show(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"prompts: [fox]\nsed: 'a{sign}b' # {sign}\n")
    with pytest.raises(JobFileError) as caught:
        load_job(path)
    assert is_visible(str(caught.value))


def test_a_mistake_in_a_file_of_a_hostile_name_is_shown_visibly() -> None:
    problem = Problem(Place("\x1b[2J\u202ejob.yaml", 1, 3), "wrong", source="\x1b]52;c;x\x07\tx: 1")
    assert is_visible(str(problem).replace("\t", ""))
    assert "\x1b" not in str(problem)


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out + captured.err


@each_name
def test_a_job_file_of_a_hostile_name_is_shown_visibly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Path(f"./{text}.yaml")
    job.write_text("prompts: [a fox, a fox]\n")
    for verb, code in (("validate", 0), ("plan", 0)):
        assert command(capsys, verb, "--", job)[0] == code
        assert is_visible(command(capsys, verb, "--", job)[1])
    job.write_text("prompts: [a fox]\nsed: 1\n")
    code, screen = command(capsys, "validate", "--", job)
    assert (code, is_visible(screen)) == (3, True)
    job.write_text("prompts: {file: none.txt}\n")
    assert is_visible(command(capsys, "plan", "--", job)[1])


@each_text
def test_a_plan_shows_every_part_of_a_job_visibly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    job = {
        "provider": {"kind": "aimlapi", "model": text[:200], "base_url": "https://a.example/x y"},
        "prompts": [written(text)],
        "defaults": {f"a {text}": text},
        "matrix": {f"b {text}": [text, f"c {text}"]},
        "output": {"dir": "out " + re.sub(r"[\x00-\x1f\x7f]", "", text)[:40]},
    }
    Path("job.yaml").write_text(yaml.safe_dump(job, width=10**9))
    code, screen = command(capsys, "plan", "job.yaml")
    assert code == 0, screen
    assert is_visible(screen)
    assert "a.example" in screen
    code, screen = command(capsys, "plan", "--tasks", "job.yaml")
    assert is_visible(screen)
    assert [json.loads(line)["params"][f"a {text}"] for line in screen.splitlines()] == [text] * 2


@pytest.mark.parametrize("sign", ["\0", "\x1b", "\n", "\r", "\t", "\x7f"])
@pytest.mark.parametrize("place", ["dir", "file"])
def test_a_path_with_a_control_character_is_a_mistake(
    tmp_path: Path, sign: str, place: str
) -> None:
    parts: dict[str, Any] = {
        "dir": {"prompts": ["a fox"], "output": {"dir": f"a{sign}b"}},
        "file": {"prompts": {"file": f"a{sign}b.txt"}},
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(parts[place]))
    with pytest.raises(JobFileError) as caught:
        load_job(path)
    assert is_visible(str(caught.value))


@each_text
def test_a_status_somebody_forged_is_shown_visibly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "run" / ".batchgen"
    state.mkdir(parents=True)
    content = {
        "state": text, "counts": {text: 1}, "total": 1, "started_at": 0.0, "updated_at": 0.0,
        "seconds": 1.0, "done_before": 0, "detail": text,
    }  # fmt: skip
    (state / "status.json").write_text(json.dumps(content))
    code, screen = command(capsys, "status", "run")
    assert (code, is_visible(screen)) == (0, True)
    code, screen = command(capsys, "status", "--json", "run")
    assert is_visible(screen)
    assert json.loads(screen)["detail"] == text
