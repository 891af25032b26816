"""Nothing outside of the run directory is made or changed, whatever names and links say."""

import asyncio
import re
import shutil
import unicodedata
from pathlib import Path, PureWindowsPath

import pytest

from batchgen.errors import BatchgenError
from batchgen.job import Job, Output, PollSettings, Prompt, ProviderSettings, RunSettings
from batchgen.models import WAN_1_3B
from batchgen.report.log import RunLog
from batchgen.sandbox import SandboxSettings, running
from batchgen.session import run_job
from tests.security.conftest import Night, listing
from tests.security.hostile import TEXTS, clip

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


def test_a_hostile_night_changes_nothing_around_its_run_directory(night: Night) -> None:
    assert night.before
    assert listing(night.base, without=night.folder) == night.before
    assert not Path("/tmp/evil").exists()
    assert not Path("/tmp/evil.mp4").exists()


def test_a_hostile_night_leaves_its_own_files_and_no_link(night: Night) -> None:
    left = {path.name for path in night.folder.iterdir()}
    assert left == {
        ".batchgen",
        "README.md",
        "index.html",
        "job.yaml",
        "manifest.csv",
        "manifest.jsonl",
        "metadata.jsonl",
        "run.log",
        "videos",
    }
    assert not [path for path in night.folder.rglob("*") if path.is_symlink()]
    videos = {f"videos/{path.name}" for path in (night.folder / "videos").iterdir()}
    assert videos == {row["file_name"] for row in night.rows() if row["file_name"]}
    assert list((night.folder / ".batchgen" / "parts").iterdir()) == []


@each_text
def test_a_prompt_becomes_one_plain_name_that_every_system_takes(night: Night, text: str) -> None:
    row = night.row(text, 1)
    folder, name = row["file_name"].split("/")
    assert folder == "videos"
    assert name.endswith(".mp4")
    assert PureWindowsPath(name).name == name
    assert not PureWindowsPath(name).is_reserved()
    assert not set(name) & set('<>:"/\\|?*\0')
    assert name.isprintable()
    assert not name.startswith(("-", ".", " "))
    assert len(name.encode()) <= 150 + len("_abcdefghijkl.mp4")
    assert (night.folder / row["file_name"]).read_bytes() == clip()


def test_no_two_videos_share_a_name_where_case_means_nothing(night: Night) -> None:
    names = [row["file_name"] for row in night.rows() if row["file_name"]]
    assert len(names) == len(TEXTS)
    folded = {unicodedata.normalize("NFC", name).casefold() for name in names}
    assert len(folded) == len(names)


def test_the_server_s_names_of_files_are_used_nowhere(night: Night) -> None:
    names = " ".join(path.name for path in night.base.rglob("*"))
    assert "passwd" not in names
    assert not re.search(r"evil\.mp4[^ ]", names)


def job(folder: Path, url: str | None) -> Job:
    return Job(
        "night",
        (Prompt("a fox"), Prompt("an owl")),
        Output(folder, "${prompt}"),
        defaults={"seed": 1},
        provider=ProviderSettings("sandbox", WAN_1_3B, base_url=url),
        run=RunSettings(poll=PollSettings(first=0.01, every=0.01)),
        source="prompts: [a fox, an owl]\n",
    )


def link(place: Path, target: Path) -> None:
    """Put a link in a place, whatever was there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


REPLACED = [
    "manifest.csv",
    "metadata.jsonl",
    "index.html",
    "job.yaml",
    ".README.md.part",
    ".manifest.jsonl.part",
    ".manifest.csv.part",
    ".metadata.jsonl.part",
    ".index.html.part",
    ".job.yaml.part",
    ".batchgen/job.json",
    ".batchgen/.job.json.part",
    ".batchgen/status.json",
    ".batchgen/.status.json.part",
    ".batchgen/parts/x.part",
]
"""What is written anew and then put in its place."""
RESULTS = ["manifest.jsonl", "videos/a fox.mp4", "videos/an owl.mp4"]
"""What is written in the same way, and keeps a run without a ledger from beginning anew."""
REFUSED = [
    "run.log",
    "videos",
    ".batchgen",
    ".batchgen/parts",
    ".batchgen/ledger.sqlite",
    ".batchgen/rescued-ids",
    ".batchgen/sandbox.jsonl",
]
"""What is written to where it lies."""
TARGETS = ["file", "nowhere", "folder"]


async def ran(folder: Path, account: Path | None = None) -> bool:
    """Run a job of two videos; tell whether it was allowed to.

    Args:
        folder: The run directory.
        account: Where the provider remembers what it has made.
    """
    settings = SandboxSettings(queue_s=0.0, generate_s=0.0, journal=account)
    async with running(settings, render=lambda _: clip()) as sandbox:
        try:
            summary = await run_job(job(folder, sandbox.url))
        except BatchgenError:
            return False
    assert sum(summary.counts.values()) == 2
    return True


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Something outside of the run directory that must stay as it is."""
    folder = tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_text("mine" * 1_000)
    (folder / "folder" / "x").write_text("mine")
    return folder


@pytest.mark.anyio
@pytest.mark.parametrize("target", TARGETS)
async def test_links_in_place_of_files_are_replaced_and_nothing_goes_through_them(
    tmp_path: Path, outside: Path, target: str
) -> None:
    folder = tmp_path / "run"
    for place in REPLACED:
        link(folder / place, outside / target)
    before = listing(tmp_path, without=folder)
    assert await ran(folder)
    assert listing(tmp_path, without=folder) == before
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    assert (folder / "videos" / "a fox.mp4").read_bytes() == clip()


@pytest.mark.anyio
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", REFUSED)
async def test_a_link_in_place_of_what_is_written_to_is_refused(
    tmp_path: Path, outside: Path, place: str, target: str
) -> None:
    folder = tmp_path / "run"
    link(folder / place, outside / target)
    before = listing(tmp_path, without=folder)
    assert not await ran(folder)
    assert listing(tmp_path, without=folder) == before
    assert (folder / place).is_symlink()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "run"
    assert asyncio.run(ran(folder, folder.with_name("account")))
    return folder


@pytest.mark.anyio
@pytest.mark.parametrize("place", REFUSED)
async def test_a_link_to_a_copy_is_refused_as_well(tmp_path: Path, done: Path, place: str) -> None:
    folder, copy = tmp_path / "run", tmp_path / "copy"
    shutil.copytree(done, folder)
    if (folder / place).is_dir():
        shutil.copytree(folder / place, copy)
    elif (folder / place).exists():
        shutil.copy(folder / place, copy)
    link(folder / place, copy)
    before = listing(tmp_path, without=folder)
    assert not await ran(folder)
    assert listing(tmp_path, without=folder) == before


@pytest.mark.anyio
@pytest.mark.parametrize("target", TARGETS)
async def test_links_put_into_a_finished_run_lead_nowhere(
    tmp_path: Path, outside: Path, done: Path, target: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(done, folder)
    for place in (*REPLACED, *RESULTS):
        link(folder / place, outside / target)
    before = listing(tmp_path, without=folder)
    assert await ran(folder, done.with_name("account"))
    assert listing(tmp_path, without=folder) == before


@pytest.mark.anyio
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "place", ["ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-journal"]
)
async def test_a_link_beside_the_ledger_is_never_followed(
    tmp_path: Path, outside: Path, done: Path, place: str, target: str
) -> None:
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            shutil.copytree(done, folder)
        link(folder / ".batchgen" / place, outside / target)
        before = listing(tmp_path, without=folder)
        await ran(folder)
        assert listing(tmp_path, without=folder) == before


def test_a_log_that_became_a_link_since_it_was_checked_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("mine")
    (tmp_path / "run.log").symlink_to(tmp_path / "treasure")
    with pytest.raises(OSError, match="symbolic links"):
        RunLog(tmp_path / "run.log", lambda: 0.0)
    assert (tmp_path / "treasure").read_text() == "mine"
