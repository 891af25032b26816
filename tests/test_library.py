"""The library: the same power without the command line."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import batchgen
from batchgen import Job, Output, Prompt, Reason, Status, TaskMoved

pytestmark = pytest.mark.anyio


def job(folder: Path, *texts: str) -> Job:
    return Job(
        name="made-in-code",
        prompts=tuple(Prompt(text) for text in texts),
        output=Output(folder / "run"),
    )


async def test_a_job_made_in_code_runs_and_its_events_can_be_iterated_over(tmp_path: Path) -> None:
    made = job(tmp_path, "A lake", "A hill")
    async with batchgen.watch_job(made) as events:
        moves = [
            (event.index, event.status) async for event in events if isinstance(event, TaskMoved)
        ]
    for index in (0, 1):
        steps = [status for place, status in moves if place == index]
        assert steps == [Status.IN_FLIGHT, Status.COMPLETED, Status.SUCCEEDED]
    assert events.summary is not None
    assert events.summary.reason is Reason.DONE
    assert events.summary.counts == {Status.SUCCEEDED: 2}
    assert len(list((tmp_path / "run" / "videos").iterdir())) == 2


async def test_leaving_the_iteration_early_loses_nothing(tmp_path: Path) -> None:
    made = job(tmp_path, "A lake", "A hill")
    async with batchgen.watch_job(made) as events:
        async for event in events:
            if isinstance(event, TaskMoved):
                break
    summary = await batchgen.run_job(made)
    assert summary.counts == {Status.SUCCEEDED: 2}
    assert summary.submitted + 1 <= 3, "what had been taken was not submitted again"


async def test_an_error_comes_out_as_itself_and_not_in_a_group(tmp_path: Path) -> None:
    made = job(tmp_path, "A lake")
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(batchgen.RunDirectoryError):
        await batchgen.run_job(made)

    async def watch() -> list[batchgen.Event]:
        async with batchgen.watch_job(made) as events:
            return [event async for event in events]

    with pytest.raises(batchgen.RunDirectoryError):
        await watch()


def test_every_public_name_is_there_and_documented() -> None:
    for name in batchgen.__all__:
        value = getattr(batchgen, name)
        assert value is not None
        if callable(value):
            assert value.__doc__, name
    assert not hasattr(batchgen, "no_such_name")


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = "import batchgen, sys; print({'aiohttp', 'pydantic', 'av'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(importlib.import_module("batchgen").__file__ or "").parent / "py.typed").exists()
