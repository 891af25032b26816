"""A run's settings come back as they were, without its prompts, wherever the directory lies now."""

from pathlib import Path

import pytest

from batchgen.errors import RunDirectoryError
from batchgen.job import (
    Axis,
    Budget,
    Derived,
    Job,
    NotifySettings,
    Occasion,
    OnAmbiguous,
    Order,
    Output,
    PollSettings,
    Prompt,
    ProviderSettings,
    RetrySettings,
    RunSettings,
    TimeoutSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.models import Parameter
from batchgen.rundir import RunDirectory
from batchgen.savedjob import save_job, saved_job


def full_job(path: Path) -> Job:
    return Job(
        name="füchse",
        prompts=(Prompt("a ${animal}", "p", {"seed": 7}),),
        output=Output(path, "${slug}"),
        defaults={"steps": 30, "shift": 5.0, "flag": True, "word": "5", "none": "no"},
        matrix=(Axis("seed", Derived(3, per_prompt=True)), Axis("shift", (1, 2.5, "x", False))),
        zip=(Axis("a", (1, 2)),),
        exclude=({"seed": 1},),
        include=({"prompt": "another", "seed": 2},),
        repeat=2,
        salt="s",
        provider=ProviderSettings("aimlapi", "m", "https://h/api", "MINE"),
        model_parameters=(
            Parameter("seed", "integer", default=5, minimum=0),
            Parameter("style", "string", choices=("a", "5"), ignored=True),
            Parameter("strength", "any", choices=(1, 1.5, "x"), maximum=2, rewrites_prompt=True),
        ),
        run=RunSettings(
            concurrency=3,
            rate_limit=0.5,
            order=Order.SHUFFLED,
            poll=PollSettings(1.0, None, 9.0),
            retry=RetrySettings(4, 2.0, 8.0),
            timeout=TimeoutSettings(1.0, 2.0, 3.0, 4.0),
            on_ambiguous=OnAmbiguous.RESUBMIT,
            stop_at=(7, 30),
            stop_if_failures=None,
        ),
        budget=Budget(5, 1.5, 0.06),
        notify=NotifySettings("NIGHT_CHANNEL", (Occasion.STOP,), asked=True),
        source="# as written\nprompts: [狐 🦊]\r\n",
        warnings=("careful",),
    )


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    Ledger.open(tmp_path / "run").close()
    return RunDirectory(tmp_path / "run")


def test_a_job_s_settings_come_back_as_they_were_but_for_the_prompts(
    directory: RunDirectory,
) -> None:
    job = full_job(directory.path)
    save_job(directory, job)
    found = saved_job(directory)
    assert found.prompts == ()
    assert (found.provider, found.run, found.budget) == (job.provider, job.run, job.budget)
    assert (found.matrix, found.zip, found.source) == (job.matrix, job.zip, job.source)
    assert (found.model_parameters, found.notify) == (job.model_parameters, job.notify)
    assert [type(choice) for choice in found.model_parameters[2].choices] == [int, float, str]
    assert found.output == job.output
    assert found.defaults == job.defaults
    kinds = {name: type(value) for name, value in found.defaults.items()}
    assert kinds == {"steps": int, "shift": float, "flag": bool, "word": str, "none": str}


def test_the_job_file_is_kept_byte_for_byte_as_it_ran(directory: RunDirectory) -> None:
    job = full_job(directory.path)
    save_job(directory, job)
    assert (directory.path / "job.yaml").read_bytes() == job.source.encode()


def test_a_job_built_in_code_leaves_no_job_file(directory: RunDirectory) -> None:
    save_job(directory, Job("j", (Prompt("a fox"),), Output(directory.path)))
    assert not (directory.path / "job.yaml").exists()
    assert saved_job(directory).name == "j"


def test_prompts_are_not_in_the_saved_settings(directory: RunDirectory) -> None:
    save_job(directory, Job("j", (Prompt("a secret fox"),), Output(directory.path)))
    assert "secret fox" not in directory.settings.read_text()


def test_a_directory_that_was_moved_is_written_to_where_it_lies_now(
    directory: RunDirectory, tmp_path: Path
) -> None:
    save_job(directory, full_job(directory.path))
    moved = RunDirectory(directory.path.rename(tmp_path / "moved"))
    assert saved_job(moved).output.dir == moved.path


def test_a_directory_without_a_ledger_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory"):
        saved_job(RunDirectory(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1}', "\xff", "[" * 100_000])
def test_settings_that_are_damaged_are_a_clear_error(directory: RunDirectory, text: str) -> None:
    directory.settings.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunDirectoryError, match="run the job file again"):
        saved_job(directory)


def test_settings_that_are_gone_are_a_clear_error(directory: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match="run the job file again"):
        saved_job(directory)
