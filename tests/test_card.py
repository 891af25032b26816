"""The dataset card: one split of all videos, and nobody else's README is touched."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchgen.report.card import write_card


def front_matter(folder: Path) -> dict[str, Any]:
    _, matter, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    read: dict[str, Any] = yaml.safe_load(matter)
    return read


def test_the_card_puts_metadata_and_all_videos_into_one_split(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    files = ["metadata.jsonl", "videos/0001_a-train.mp4", "videos/0002_a-test.mp4"]
    for name in (*files, "manifest.jsonl", "manifest.csv", "index.html"):
        (tmp_path / name).touch()
    write_card(tmp_path, "fox-grid")
    [config] = front_matter(tmp_path)["configs"]
    [split] = config["data_files"]
    found = {
        str(path.relative_to(tmp_path)) for one in split["path"] for path in tmp_path.glob(one)
    }
    assert found == set(files)
    assert (config["config_name"], split["split"]) == ("default", "train")


@pytest.mark.parametrize("name", ["fox", "a\n---\nb: c", "\ud800 \x1b[31m", "{name} ${x}"])
def test_no_name_of_a_job_gets_into_the_front_matter(tmp_path: Path, name: str) -> None:
    write_card(tmp_path, name)
    assert set(front_matter(tmp_path)) == {"task_categories", "configs"}
    assert "\x1b" not in (tmp_path / "README.md").read_text("utf-8")


def test_a_card_of_ours_follows_the_job_and_is_else_not_written_again(tmp_path: Path) -> None:
    write_card(tmp_path, "one")
    before = (tmp_path / "README.md").stat().st_ino
    write_card(tmp_path, "one")
    assert (tmp_path / "README.md").stat().st_ino == before
    write_card(tmp_path, "two")
    assert "# two" in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.parametrize("mine", [b"# My videos\n", b"", b"\xff\xfe latin"])
def test_a_readme_of_somebody_else_stays(tmp_path: Path, mine: bytes) -> None:
    (tmp_path / "README.md").write_bytes(mine)
    write_card(tmp_path, "fox")
    assert (tmp_path / "README.md").read_bytes() == mine


def test_a_card_without_our_line_is_the_user_s(tmp_path: Path) -> None:
    write_card(tmp_path, "fox")
    card = tmp_path / "README.md"
    lines = card.read_text().splitlines(keepends=True)
    own = "".join(line for line in lines if "writes this file anew" not in line) + "More.\n"
    card.write_text(own)
    write_card(tmp_path, "another name")
    assert card.read_text() == own


def test_a_link_a_folder_or_a_pipe_in_place_of_the_card_harms_nothing(tmp_path: Path) -> None:
    treasure, card = tmp_path / "treasure", tmp_path / "README.md"
    treasure.write_text("mine")
    card.symlink_to(treasure)
    write_card(tmp_path, "fox")
    assert treasure.read_text() == "mine"
    card.unlink()
    os.mkfifo(card)
    write_card(tmp_path, "fox")
    assert card.is_fifo()
    card.unlink()
    card.mkdir()
    write_card(tmp_path, "fox")
    assert card.is_dir()
    card.rmdir()
    card.symlink_to(tmp_path / "not there")
    write_card(tmp_path, "fox")
    assert not card.is_symlink()
    assert not (tmp_path / "not there").exists()
