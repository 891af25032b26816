"""A failed task with another seed is another task, the same one on any machine."""

from pathlib import Path

import pytest

from batchgen.errors import UsageError
from batchgen.expansion import expand
from batchgen.job import Job, Output, Prompt, ProviderSettings
from batchgen.reseeding import with_another_seed
from batchgen.task import task_id


def job(text: str = "a fox", **more: str) -> Job:
    return Job("j", (Prompt(text),), Output(Path("run")), defaults={"seed": 7}, **more)  # type: ignore[arg-type]


def test_only_the_seed_and_the_id_change() -> None:
    (failed,) = expand(job())
    made = with_another_seed(job(), failed, 1)
    assert made.params == {**failed.params, "seed": 213_672_231}
    assert made.task_id == task_id("sandbox", made.params, 1) != failed.task_id
    assert (made.index, made.repeat) == (failed.index, failed.repeat)


def test_each_try_each_task_and_each_salt_has_a_seed_of_its_own() -> None:
    (failed,) = expand(job())
    first = with_another_seed(job(), failed, 1)
    seeds = {
        failed.params["seed"],
        first.params["seed"],
        with_another_seed(job(), failed, 2).params["seed"],
        with_another_seed(job(), first, 1).params["seed"],
        with_another_seed(job(salt="s"), failed, 1).params["seed"],
    }
    assert len(seeds) == 5
    assert with_another_seed(job(), failed, 1) == first


def test_a_prompt_that_names_its_seed_names_the_new_one() -> None:
    named = job("take ${seed} of $${seed}")
    (failed,) = expand(named)
    made = with_another_seed(named, failed, 1)
    assert made.prompt == f"take {made.params['seed']} of ${{seed}}"


def test_a_task_without_a_seed_has_no_other() -> None:
    unseeded = Job(
        "j", (Prompt("a fox"),), Output(Path("run")), provider=ProviderSettings(model="unknown/m")
    )
    (failed,) = expand(unseeded)
    with pytest.raises(UsageError, match="sends no seed"):
        with_another_seed(unseeded, failed, 1)
