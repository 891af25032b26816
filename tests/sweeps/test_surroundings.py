"""Runs in poor surroundings: a small disk, few files, a directory that is moved or read-only."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.sweeps import books
from tests.sweeps.child import Order
from tests.sweeps.points import Plan
from tests.sweeps.runs import Runs, forking, server, taken

pytestmark = pytest.mark.anyio

TASKS: Final = 20
FACTOR: Final = 500.0
USAGE: Final = 2
MORE_FILES: Final = 18
"""Of some 22 that a run opens when nothing is in its way; idle connections hold theirs for 15 s."""
NEW_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
DISK: Final = 4 << 20
BALLAST: Final = 3 << 20
"""Bytes; what is left is less than the videos need, and more than a run needs to begin."""


async def test_a_run_with_few_open_files_does_less_at_once_and_fails_no_task(
    runs: Runs, folder: Path
) -> None:
    directory = folder / "run"
    async with server() as sandbox:
        poor = Order(directory, sandbox.url, factor=FACTOR, more_files=MORE_FILES)
        end = await runs.run(poor)
        assert end.counts == {"succeeded": TASKS}, end
        assert any("files and sockets open: it makes" in said for said in end.said), end.said
        assert {row["attempts"] for row in books.read(directory).tasks.values()} == {1}
        # The last report may not have been written either.
        await runs.run(Order(directory, sandbox.url))
        books.check_end(directory, await taken(sandbox), TASKS, set())


@pytest.mark.parametrize("harm", ["EMFILE", "EIO"])
async def test_a_file_that_cannot_be_read_after_a_crash_is_fetched_again(
    runs: Runs, folder: Path, harm: Any
) -> None:
    directory = folder / "run"
    async with server() as sandbox:
        named = Plan("kill", at=3, only=("replaced videos",))
        await runs.run(Order(directory, sandbox.url, named))
        unreadable = Plan(harm, at=1, only=("read videos",))
        end = await runs.run(Order(directory, sandbox.url, unreadable, factor=FACTOR))
        assert end.error == "", end.trace
        assert len(end.harmed) == 1
        assert any("fetching it again" in said for said in end.said)
        untaken = books.check_at_rest(directory, await taken(sandbox))
        books.check_end(directory, await taken(sandbox), TASKS, untaken)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Runs, Path]]:
    """Runs that see a disk of their own, of 4 MB, and where it is for them."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = f'mount -t tmpfs -o size={DISK} none "{place}" && exec "$@"'
    probe = subprocess.run([*NEW_NAMESPACE, "sh", "-c", mount, "sh", "true"], check=False)
    if probe.returncode != 0:
        pytest.skip("needs leave to mount a file system in a namespace of its own")
    with forking(*NEW_NAMESPACE, "sh", "-c", mount, "sh") as runs:
        while not Path(f"{runs.root}{place}").is_mount():
            time.sleep(0.01)
        yield runs, place


async def test_a_run_on_a_full_disk_waits_for_room_and_then_finishes(
    small_disk: tuple[Runs, Path], tmp_path: Path
) -> None:
    runs, disk = small_disk
    log = tmp_path / "said"
    log.touch()
    outside = Path(f"{runs.root}{disk}")
    ends = []
    async with server() as sandbox:
        with anyio.fail_after(60):
            ballast = outside / "ballast"
            ballast.write_bytes(b"\0" * BALLAST)

            async def run() -> None:
                order = Order(disk / "run", sandbox.url, factor=FACTOR, log=log)
                ends.append(await runs.run(order))

            async with anyio.create_task_group() as group:
                group.start_soon(run)
                while not any(word in log.read_text() for word in ("No space", "is full")):
                    assert not ends, ends
                    await anyio.sleep(0.01)
                ballast.unlink()
        assert ends[0].counts == {"succeeded": TASKS}, ends[0]
        books.check_end(outside / "run", await taken(sandbox), TASKS, set())


async def test_a_run_that_finds_no_room_for_its_ledger_says_so_and_loses_none(
    small_disk: tuple[Runs, Path],
) -> None:
    runs, disk = small_disk
    outside = Path(f"{runs.root}{disk}")
    with (outside / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4096)):
            pass
    async with server() as sandbox:
        end = await runs.run(Order(disk / "run", sandbox.url, factor=FACTOR))
        assert "the disk is full" in end.error, end
        assert "restore it from a copy" not in end.error, "there never was one"
        (outside / "ballast").unlink()
        assert (await runs.run(Order(disk / "run", sandbox.url, factor=FACTOR))).error == ""
        books.check_end(outside / "run", await taken(sandbox), TASKS, set())


async def test_a_run_that_is_killed_and_moved_goes_on_in_its_new_place(
    runs: Runs, folder: Path
) -> None:
    async with server() as sandbox:
        cut = Plan("kill", at=12, only=("answered",))
        await runs.run(Order(folder / "run", sandbox.url, cut))
        moved = (folder / "run").rename(folder / "elsewhere")
        end = await runs.run(Order(moved, sandbox.url, factor=FACTOR))
        assert end.error == ""
        untaken = books.check_at_rest(moved, await taken(sandbox))
        books.check_end(moved, await taken(sandbox), TASKS, untaken)
        assert not (folder / "run").exists()


def _without_privileges() -> list[str]:
    """Return a command that starts another one as someone whom file permissions bind."""
    if os.geteuid() != 0:
        return []
    # Still the owner of its files, but no superuser in there.
    wrapper = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*wrapper, "true"], check=False).returncode != 0:
        pytest.skip("runs as root, whom no permission binds, and may not make a namespace")
    return wrapper


async def test_a_read_only_run_directory_is_refused_in_a_sentence_and_left_as_it_was(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    wrapper = _without_privileges()
    directory = tmp_path / "run"
    async with server() as sandbox:
        job = tmp_path / "job.yaml"
        job.write_text(
            f"version: 1\nprompts: [a fox]\noutput: {{dir: {directory}}}\n"
            f"provider: {{kind: sandbox, base_url: '{sandbox.url}'}}\n"
        )
        command = [*wrapper, sys.executable, "-m", "batchgen", "run", str(job)]
        made = await anyio.run_process(command, env=environment, cwd=tmp_path, check=False)
        assert made.returncode == 0, made.stderr
        before = _contents(directory)
        with read_only(directory):
            refused = await anyio.run_process(command, env=environment, cwd=tmp_path, check=False)
        assert _contents(directory) == before
        assert refused.returncode == USAGE
        assert b"read-only" in refused.stderr
        assert b"Traceback" not in refused.stderr
        assert sandbox.account.requests["submit"] == 1


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Take away the right to write to a directory and all in it, and give it back."""
    places = [directory, *directory.rglob("*")]
    modes = {place: place.stat().st_mode for place in places}
    for place, mode in modes.items():
        place.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for place, mode in modes.items():
            place.chmod(mode)


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
