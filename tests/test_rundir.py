"""The run directory: one holder, nothing outside it touched, files replaced whole or not at all."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batchgen.errors import RunDirectoryError, RunLocked
from batchgen.report.status import RunStatus, read_status, write_status
from batchgen.rundir import RunDirectory, replace_file, replacing, sync_directory
from batchgen.task import Status


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "deep" / "run")
    made.create()
    return made


def test_a_run_directory_is_made_with_all_its_places_and_a_second_time_as_well(
    directory: RunDirectory,
) -> None:
    directory.create()
    assert directory.videos.is_dir()
    assert directory.parts.is_dir()
    assert not directory.is_run()
    assert not directory.has_results()


@pytest.mark.parametrize("place", ["videos", ".batchgen", ".batchgen/parts"])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "run" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        RunDirectory(tmp_path / "run").create()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("place", ["", "videos", ".batchgen"])
def test_a_file_in_place_of_a_folder_is_a_clear_error(tmp_path: Path, place: str) -> None:
    blocked = tmp_path / "run" / place
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("mine")
    with pytest.raises(RunDirectoryError, match="in the way"):
        RunDirectory(tmp_path / "run").create()
    assert blocked.read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="another with --output"):
        RunDirectory(tmp_path / "file" / "below").create()
    with pytest.raises(RunDirectoryError, match="another with --output"):
        RunDirectory(tmp_path / ("x" * 300)).create()


def test_one_process_holds_a_directory_and_others_are_told_how_to_watch_it(
    directory: RunDirectory,
) -> None:
    assert not directory.is_held()
    with directory.lock():
        assert directory.is_held()
        with pytest.raises(RunLocked, match="batchgen status"), directory.lock():
            pytest.fail("held twice")
    assert not directory.is_held()


def test_the_hold_survives_a_new_name_of_the_directory(directory: RunDirectory) -> None:
    moved = RunDirectory(directory.path.with_name("moved"))
    with directory.lock():
        directory.path.rename(moved.path)
        assert moved.is_held()


def test_a_directory_that_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert not RunDirectory(tmp_path / "none").is_held()


def test_the_hold_ends_with_the_process_however_it_ends(directory: RunDirectory) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from batchgen.rundir import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).lock(): print('held', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert directory.is_held()
        holder.kill()
        holder.wait()
    assert not directory.is_held()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_a_lock_that_is_unavailable_names_its_path_and_the_fix(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def has_no_locks(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", has_no_locks)
    with pytest.raises(RunDirectoryError, match=r"run: .*local disk with --output") as told:
        directory.is_held()
    assert str(directory.path) in str(told.value)
    assert os.strerror(code) in str(told.value)


def test_only_parts_are_cleared_away_and_foreign_entries_stay(directory: RunDirectory) -> None:
    left = directory.parts / "abcdefghijkl-0123456789abcdef.part"
    left.write_bytes(b"half of a video")
    (directory.parts / "link.part").symlink_to(directory.path)
    foreign = {".DS_Store", "._x.part", ".nfs0000000000000001", "notes.txt"}
    for name in foreign:
        (directory.parts / name).write_text("mine")
    for name in ("folder", "folder.part"):
        (directory.parts / name).mkdir()
        (directory.parts / name / "inside").write_text("mine")
    directory.clear_parts()
    assert {entry.name for entry in directory.parts.iterdir()} == {
        *foreign,
        "folder",
        "folder.part",
    }


def fails_for_directories(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    fsync = os.fsync

    def fails(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_a_directory_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fails_for_directories(monkeypatch, code)
    replace_file(tmp_path / "a.txt", lambda file: print("new", file=file))
    assert (tmp_path / "a.txt").read_text() == "new\n"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_directory_whose_sync_failed_is_still_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fails_for_directories(monkeypatch, code)
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_directory(tmp_path)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as file:
        file.write("one\r\ntwo\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\r\ntwo\n"
    replace_file(path, lambda file: print("three 狐", file=file))
    assert path.read_text("utf-8") == "three 狐\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as file:  # noqa: PT012
        file.write("half of it")
        raise error
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_kill_left_of_a_file_is_in_nobody_s_way(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / ".a.txt.part").write_text("left by a kill, longer than the new text")
    replace_file(path, lambda file: print("new", file=file))
    assert path.read_text() == "new\n"


def test_links_in_place_of_a_file_are_replaced_and_what_they_lead_to_is_left(
    tmp_path: Path,
) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    path = tmp_path / "a.txt"
    path.symlink_to(treasure)
    (tmp_path / ".a.txt.part").symlink_to(treasure)
    replace_file(path, lambda file: print("new", file=file))
    assert treasure.read_text() == "mine"
    assert path.read_text() == "new\n"
    assert not path.is_symlink()


def test_readers_never_see_a_half_written_status(directory: RunDirectory) -> None:
    done = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not done.is_set():
            status = read_status(directory)
            if status is not None:
                assert len(status.detail) == status.total
                seen.add(status.total)
            elif directory.status.exists():
                seen.add(-1)

    def write(total: int) -> None:
        detail = "x" * total
        write_status(directory, RunStatus("running", {}, total, 0.0, 0.0, 1.0, 0, detail=detail))

    write(1)
    reader = threading.Thread(target=read)
    reader.start()
    for total in range(2, 150):
        write(total)
    done.set()
    reader.join()
    assert len(seen) > 3
    assert -1 not in seen


def test_a_status_comes_back_as_it_was_written_with_the_process_that_wrote_it(
    directory: RunDirectory,
) -> None:
    status = RunStatus(
        "running", {"succeeded": 12, "pending": 30}, 42, 5.0, 65.0, 60.0, 2, 0.6, "a “detail” \x1b"
    )
    write_status(directory, status)
    found = read_status(directory)
    assert found is not None
    assert found.pid > 0
    assert (found.counts, found.detail, found.cost_usd) == (status.counts, status.detail, 0.6)
    assert found.per_minute == 10.0
    assert found.seconds_left == 180.0


def test_a_pace_that_nobody_can_tell_is_none() -> None:
    status = RunStatus("running", {Status.SUCCEEDED: 2, Status.PENDING: 5}, 7, 0.0, 0.0, 0.0, 2)
    assert status.per_minute is None
    assert status.seconds_left is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"state": "x"}',
        '"text"',
        "\xff",
        "[" * 100_000,
        json.dumps({"state": 1, "of": "tomorrow"}),
    ],
)
def test_a_status_that_cannot_be_read_is_none(directory: RunDirectory, text: str) -> None:
    directory.status.write_bytes(text.encode("latin-1"))
    assert read_status(directory) is None


def test_where_no_run_has_been_there_is_no_status(tmp_path: Path) -> None:
    assert read_status(RunDirectory(tmp_path)) is None
