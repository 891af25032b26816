"""A job may say what its model takes: values are checked by it, seeds derived, ids kept."""

from pathlib import Path

import anyio
import pytest

from batchgen.errors import JobFileError
from batchgen.expansion import expand
from batchgen.job import Job
from batchgen.jobfile import Overrides
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.source import Source
from batchgen.models import Parameter
from batchgen.session import run_job
from batchgen.task import Status

UNKNOWN = "prompts: [A fox]\nprovider: {model: somebody/else}\n"


def load(text: str, overrides: Overrides | None = None) -> Job:
    return parse_job(Source("job.yaml", text), Path("job.yaml"), overrides or Overrides())


def mistakes(text: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        load(text)
    return [f"{problem.place.line}: {problem.message}" for problem in caught.value.problems]


def test_a_table_is_read_in_its_short_and_its_long_form() -> None:
    job = load(
        UNKNOWN
        + """\
model_parameters:
  shift: number
  fps: {type: integer, choices: [24, 30], default: 24}
  strength: {type: number, minimum: 0, maximum: 1}
  style: {}
"""
    )
    assert job.model_parameters == (
        Parameter("shift", "number"),
        Parameter("fps", "integer", default=24, choices=(24, 30)),
        Parameter("strength", "number", minimum=0, maximum=1),
        Parameter("style", "any"),
    )
    assert job.parameters is not None
    assert [*job.parameters] == ["prompt", "shift", "fps", "strength", "style"]


def test_what_is_left_out_stays_as_the_built_in_table_has_it() -> None:
    job = load("prompts: [A fox]\nmodel_parameters: {guidance_scale: {maximum: 12}}")
    assert job.model_parameters == (
        Parameter("guidance_scale", "number", default=5, minimum=0, maximum=12),
    )
    job = load("prompts: [A fox]\nmodel_parameters: {sampler: {choices: [euler]}}")
    assert job.model_parameters == (Parameter("sampler", "string", choices=("euler",)),)


def test_a_name_that_is_not_declared_is_a_mistake() -> None:
    (found,) = mistakes(UNKNOWN + "model_parameters: {style: {}}\ndefaults: {stile: photo}")
    assert found.startswith('4: "stile" in defaults is no parameter of somebody/else')


def test_values_are_checked_by_it() -> None:
    found = mistakes(
        UNKNOWN
        + """\
model_parameters: {fps: {type: integer, maximum: 60}, style: {choices: [anime, photo]}}
defaults: {fps: 61}
matrix: {style: [anime, oil]}
"""
    )
    assert found == [
        "4: fps takes 60 or less, not the number 61",
        "5: style takes anime or photo, not the text 'oil'",
    ]


@pytest.mark.parametrize("section", ["matrix", "zip"])
def test_every_value_of_a_range_is_one_of_the_choices(section: str) -> None:
    declared = UNKNOWN + "model_parameters: {frames: {choices: [1, 2, 4]}}\n"
    (found,) = mistakes(declared + f"{section}: {{frames: 1-4}}")
    assert found == "4: frames takes 1 or 2 or 4, not the number 3"
    load(declared + f"{section}: {{frames: 1-2}}")


def test_true_is_not_the_choice_one() -> None:
    (found,) = mistakes(UNKNOWN + "model_parameters: {x: {choices: [0, 1]}}\ndefaults: {x: true}")
    assert found == "4: x takes 0 or 1, not true"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{type: integr}", "expected 'string', 'integer', 'number', 'boolean' or 'any'"),
        ("{min: 3}", '"min" is not known in model_parameters.shift'),
        ("{minimum: 3, maximum: 1}", "its minimum is above its maximum"),
        ("{type: string, minimum: 3}", "takes text, which has no minimum and no maximum"),
        ("{type: integer, choices: [1, x]}", "one of its choices cannot be"),
        ("{maximum: 4, default: 5}", "its default cannot be: shift takes 4 or less"),
        ("5", "expected a mapping"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_one_mistake_at_its_place(
    entry: str, message: str
) -> None:
    (found,) = mistakes(
        f"prompts: [A fox]\nmodel_parameters:\n  shift: {entry}\nmatrix: {{shift: [3, 4]}}"
    )
    assert found.startswith("3: ")
    assert message in found


@pytest.mark.parametrize("name", ["model", "prompt"])
def test_the_model_and_the_prompt_are_not_declared(name: str) -> None:
    assert mistakes(UNKNOWN + f"model_parameters: {{{name}: string}}") == [
        f"3: {name} is no parameter of its own"
    ]


def test_ids_do_not_depend_on_what_is_declared() -> None:
    plain = UNKNOWN + "defaults: {fps: 24, seed: 3}\n"
    declared = plain + "model_parameters: {fps: {type: integer, maximum: 60}, seed: integer}\n"
    assert [task.task_id for task in expand(load(plain))] == [
        task.task_id for task in expand(load(declared))
    ]


def test_a_seed_is_derived_when_the_model_is_said_to_take_one() -> None:
    (without,) = expand(load(UNKNOWN))
    (with_seed,) = expand(load(UNKNOWN + "model_parameters: {seed: integer}"))
    (known,) = expand(load("prompts: [A fox]"))
    assert "seed" not in without.params
    assert with_seed.params["seed"] == known.params["seed"]


def test_a_rehearsal_takes_what_the_job_declares(tmp_path: Path) -> None:
    text = """\
prompts: [A fox]
model_parameters: {fps: {type: integer, minimum: 1}, guidance_scale: {maximum: 300}}
defaults: {fps: 24, guidance_scale: 200}
"""
    summary = anyio.run(run_job, load(text, Overrides(output=tmp_path / "run")))
    assert summary.counts == {Status.SUCCEEDED: 1}
