"""The thread for short work on files: groups, errors, names that are durable, cancellation."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from batchgen.disk import Disk
from batchgen.errors import RunDirectoryError

pytestmark = pytest.mark.anyio


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was forced to disk, by the name of what the descriptor leads to."""
    names: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return names


async def in_one_group(disk: Disk, *works: Callable[[], object], folder: Path) -> list[object]:
    """Ask for work while the thread is held up, so that it meets all of it at once."""
    going = threading.Event()
    outcomes: list[object] = [None] * len(works)

    async def ask(place: int) -> None:
        try:
            outcomes[place] = await disk.do(works[place], names_in=folder)
        except Exception as error:  # noqa: BLE001  # what it was is what is tested
            outcomes[place] = error

    async with anyio.create_task_group() as asking:
        asking.start_soon(disk.do, going.wait)
        await anyio.wait_all_tasks_blocked()
        for place in range(len(works)):
            asking.start_soon(ask, place)
        await anyio.wait_all_tasks_blocked()
        going.set()
    return outcomes


async def test_names_given_together_share_the_fsync_of_their_folder(
    tmp_path: Path, synced: list[str]
) -> None:
    with Disk() as disk:
        works = [(tmp_path / str(number)).touch for number in range(5)]
        assert await in_one_group(disk, *works, folder=tmp_path) == [None] * 5
    assert synced == [tmp_path.name]
    assert all((tmp_path / str(number)).exists() for number in range(5))


async def test_what_fails_is_told_to_who_asked_for_it_and_to_no_other(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with Disk() as disk:
        first, error, last = await in_one_group(disk, lambda: 1, full, lambda: 3, folder=tmp_path)
    assert (first, last) == (1, 3)
    assert isinstance(error, OSError)
    assert error.errno == 28


async def test_names_are_given_where_a_folder_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    with Disk() as disk:
        assert await in_one_group(disk, lambda: 1, lambda: 2, folder=tmp_path) == [1, 2]


async def test_names_that_are_not_durable_are_given_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with Disk() as disk:
        outcomes = await in_one_group(disk, lambda: 1, lambda: 2, folder=tmp_path)
    assert [getattr(outcome, "errno", None) for outcome in outcomes] == [5, 5]


async def test_a_link_in_place_of_the_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.symlink_to(tmp_path)
    with Disk() as disk, pytest.raises(RunDirectoryError, match="leads out"):
        await disk.do(lambda: None, names_in=folder)


async def test_cancelling_waits_until_the_work_is_done() -> None:
    going, done = threading.Event(), threading.Event()

    def work() -> None:
        going.wait()
        done.set()

    async def ask(disk: Disk, scope: anyio.CancelScope) -> None:
        with scope:
            await disk.do(work)

    scope = anyio.CancelScope()
    with Disk() as disk:
        async with anyio.create_task_group() as asking:
            asking.start_soon(ask, disk, scope)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not done.is_set()
            going.set()
        assert done.is_set()


async def test_once_it_is_closed_no_work_is_taken(tmp_path: Path) -> None:
    with Disk() as disk:
        await disk.do((tmp_path / "a").touch)
    with pytest.raises(RuntimeError):
        await disk.do((tmp_path / "b").touch)
    assert not (tmp_path / "b").exists()
