"""Names of finished files: what cannot be given is found before anything is paid for."""

import errno
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchgen.errors import RunDirectoryError
from batchgen.naming import NameRefused, give_name, prepared
from batchgen.rundir import RunDirectory
from batchgen.session import run_job
from batchgen.task import Status
from tests.test_long_nights import TASKS, spend
from tests.test_run import job

LONGEST = "0000_a-fox_s1.mp4"
REPLACE = os.replace


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


def refusing(
    monkeypatch: pytest.MonkeyPatch, number: int, *names: str, apart: bool = False
) -> None:
    """Have names refused: these, or all, or (`apart`) those that come from another folder."""

    def replace(source: Any, target: Any, *, dst_dir_fd: int | None = None) -> None:
        from_state = "videos" not in Path(source).parts
        named = not names or any(name in str(target) for name in names)
        if dst_dir_fd is not None and named and (from_state or not apart):
            raise OSError(number, os.strerror(number))
        REPLACE(source, target, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", replace)


def left(directory: RunDirectory) -> list[str]:
    return [path.name for path in directory.path.rglob("*") if path.is_file()]


def test_where_names_can_be_given_nothing_is_left_of_the_trial(directory: RunDirectory) -> None:
    assert prepared(directory, LONGEST) == directory
    assert prepared(directory, "狐" * 40 + ".mp4") == directory
    assert left(directory) == []


def test_videos_on_another_file_system_are_fetched_beside_their_place(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EXDEV, apart=True)
    beside = prepared(directory, LONGEST)
    assert beside.parts.parent == directory.videos
    assert beside.parts.is_dir()
    assert beside.parts.name.startswith("."), "whoever reads the videos sees videos only"
    assert left(directory) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EPERM, errno.EACCES, errno.EXDEV])
def test_where_no_name_can_be_given_the_run_does_not_begin(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, number)
    with pytest.raises(RunDirectoryError, match=f"no file can be put .*{os.strerror(number)}"):
        prepared(directory, LONGEST)
    assert left(directory) == []


def test_a_name_that_is_too_long_for_the_file_system_is_named(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.ENAMETOOLONG, "a-fox")
    with pytest.raises(RunDirectoryError, match=f"no name as long as {LONGEST}"):
        prepared(directory, LONGEST)


def test_a_name_that_is_too_long_for_this_very_file_system_is_refused(
    directory: RunDirectory,
) -> None:
    with pytest.raises(RunDirectoryError, match="no name as long as"):
        prepared(directory, "x" * 300 + ".mp4")
    part = directory.parts / "a.part"
    part.touch()
    with pytest.raises(NameRefused):
        give_name(part, directory.videos / ("x" * 300 + ".mp4"))
    assert left(directory) == ["a.part"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_may_pass_is_left_to_the_run_which_waits_for_it(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, number)
    assert prepared(directory, LONGEST) == directory
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        give_name(directory.parts / "a.part", directory.videos / "a.mp4")
    assert not isinstance(raised.value, NameRefused)


def test_a_link_in_place_of_the_parts_is_not_followed(
    directory: RunDirectory, tmp_path: Path
) -> None:
    directory.parts.rmdir()
    directory.parts.symlink_to(tmp_path)
    with pytest.raises(RunDirectoryError, match="leads out of the run directory"):
        prepared(directory, LONGEST)
    assert not (tmp_path / "trial.part").exists()


def test_a_run_whose_videos_are_on_another_file_system_has_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EXDEV, apart=True)
    summary = anyio.run(lambda: run_job(job(tmp_path, 3)))
    assert summary.counts == {Status.SUCCEEDED: 3}
    assert len(list((tmp_path / "run/videos").glob("*.mp4"))) == 3
    assert list((tmp_path / "run/videos/.parts").iterdir()) == []


def test_one_name_that_cannot_be_given_fails_its_download_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EPERM, "0005_")
    morning = spend(tmp_path)
    assert morning.summary.counts == {Status.SUCCEEDED: TASKS - 1, Status.FAILED: 1}
    (failed,) = (record for record in morning.records if record.status == Status.FAILED)
    assert failed.file_name in (failed.error_message or "")
    assert failed.generation_id, "the next run asks for it again"
    assert morning.hours < 1


def test_when_no_name_can_be_given_any_more_the_run_waits_and_buys_one_wave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EROFS)
    morning = spend(tmp_path, give_up_after=7200.0)
    assert len(morning.provider.taken) == 4
    assert morning.summary.counts == {Status.PENDING: TASKS - 4, Status.COMPLETED: 4}
    assert "Read-only file system" in morning.summary.detail
