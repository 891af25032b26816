"""Comparisons that would be none are warned of; honest ones pass without a word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from batchgen.derived import axis_column, derived_seed
from batchgen.grid import cells
from batchgen.job import Axis, Derived, Job, Output, Prompt, ProviderSettings, Values
from batchgen.lint import warnings_of
from batchgen.models import WAN_1_3B, Parameter, Scalar
from tests.test_expansion import jobs

TURBO = "alibaba/wan2.1-t2v-turbo"
UNKNOWN = "somebody/else"
FOX = Prompt("A fox")
SEEDS = Axis("seed", (1, 2, 3))
TRAM = Prompt("A tram")
RANDOM = Axis("seed", Derived(3))
OF_EACH = Axis("seed", Derived(3, per_prompt=True))
GUIDANCE = Axis("guidance_scale", (3, 6, 9))


def warnings(
    *prompts: Prompt,
    model: str | None = None,
    defaults: Values | None = None,
    matrix: tuple[Axis, ...] = (),
    zip: tuple[Axis, ...] = (),  # noqa: A002  # as the job calls it
    exclude: tuple[Values, ...] = (),
    repeat: int = 1,
    salt: str = "",
    model_parameters: tuple[Parameter, ...] = (),
) -> list[str]:
    return warnings_of(
        Job(
            "j",
            prompts or (FOX,),
            Output(Path("o")),
            defaults=defaults or {},
            matrix=matrix,
            zip=zip,
            exclude=exclude,
            repeat=repeat,
            salt=salt,
            provider=ProviderSettings() if model is None else ProviderSettings(model=model),
            model_parameters=model_parameters,
        )
    )


@pytest.mark.parametrize(
    "job",
    [
        {"matrix": (SEEDS, GUIDANCE)},
        {"matrix": (Axis("seed", Derived(4)), GUIDANCE)},
        {"matrix": (Axis("seed", Derived(4, per_prompt=True)), GUIDANCE)},
        {"matrix": (GUIDANCE,), "repeat": 3},
        {"matrix": (SEEDS,), "zip": (GUIDANCE, Axis("shift", (3, 5, 8)))},
    ],
)
def test_cells_that_share_their_seeds_compare(job: dict[str, object]) -> None:
    assert warnings(**job) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [SEEDS, Axis("seed", Derived(3))])
def test_a_seed_that_changes_together_with_what_is_compared_is_warned_of(seeds: Axis) -> None:
    (warning,) = warnings(zip=(seeds, GUIDANCE))
    assert "seed changes together with guidance_scale" in warning
    assert warning.endswith("put seed under matrix")


def test_a_seed_chosen_for_a_text_is_no_comparison_and_a_drawn_one_is() -> None:
    prompt, animals = Prompt("${animal}"), Axis("animal", ("an owl", "a fox", "a hen"))
    assert warnings(prompt, zip=(animals, SEEDS)) == []
    assert "together with animal" in warnings(prompt, zip=(animals, Axis("seed", Derived(3))))[0]


def test_seeds_that_every_prompt_pins_change_with_nothing() -> None:
    assert warnings(Prompt("A fox", own={"seed": 7}), zip=(SEEDS, GUIDANCE)) == []


@pytest.mark.parametrize(
    ("defaults", "matrix", "repeat", "warned"),
    [
        ({}, (SEEDS,), 1, True),
        ({}, (), 2, True),
        ({}, (Axis("seed", (1,)),), 1, False),
        ({}, (Axis("resolution", ("480P", "720P")),), 1, False),
        ({"enable_prompt_expansion": False}, (SEEDS,), 1, False),
        ({"enhance_prompt": False}, (SEEDS,), 1, False),
        ({"enable_prompt_expansion": True}, (SEEDS,), 1, True),
        ({}, (SEEDS, Axis("enable_prompt_expansion", (True, False))), 1, False),
        ({}, (SEEDS, Axis("enable_prompt_expansion", (True,))), 1, True),
        ({}, (SEEDS, Axis("enable_prompt_expansion", (False,))), 1, False),
    ],
)
def test_prompts_that_are_rewritten_in_a_seed_grid_are_warned_of(
    defaults: dict[str, Scalar], matrix: tuple[Axis, ...], repeat: int, *, warned: bool
) -> None:
    found = warnings(model=TURBO, defaults=defaults, matrix=matrix, repeat=repeat)
    assert len(found) == warned
    assert all("seeds cannot be compared" in warning for warning in found)


def test_a_rewriting_that_nobody_switched_off_is_said_to_be_the_model_s_own() -> None:
    (warning,) = warnings(model=TURBO, matrix=(SEEDS,))
    assert warning.startswith(f"{TURBO} rewrites the prompt")
    assert warning.endswith("add enable_prompt_expansion: false under defaults")


def test_a_prompt_s_own_values_outweigh_the_defaults_in_a_warning_too() -> None:
    own = {"enable_prompt_expansion": False}
    assert warnings(Prompt("A fox", own=own), model=TURBO, matrix=(SEEDS,)) == []
    assert warnings(Prompt("A fox", own={"seed": 7}), model=TURBO, matrix=(SEEDS,)) == []
    assert len(warnings(Prompt("A fox", own={"enhance_prompt": True}), matrix=(SEEDS,))) == 0
    assert len(warnings(Prompt("A fox", own={"enable_prompt_expansion": True}), matrix=(SEEDS,)))


def test_a_model_without_a_table_is_warned_of_a_rewriting_that_is_switched_on() -> None:
    on = {"enable_prompt_expansion": True}
    assert len(warnings(model=UNKNOWN, defaults=on, matrix=(SEEDS,))) == 1
    assert warnings(model=UNKNOWN, matrix=(SEEDS,)) == []


@pytest.mark.parametrize(
    ("job", "warned"),
    [
        ({"matrix": (GUIDANCE,)}, True),
        ({"matrix": (GUIDANCE, Axis("seed", (1,)))}, False),
        ({"matrix": (GUIDANCE,), "defaults": {"seed": 1}}, False),
        ({"matrix": (Axis("guidance_scale", (3,)),)}, False),
        ({"matrix": (GUIDANCE,), "model_parameters": (Parameter("guidance_scale", "number"),)}, 0),
    ],
)
def test_a_grid_whose_cells_may_each_draw_a_seed_is_warned_of(
    job: dict[str, object], *, warned: bool
) -> None:
    found = warnings(model=UNKNOWN, **job)  # type: ignore[arg-type]
    assert len(found) == warned
    assert all("add a seed under defaults" in warning for warning in found)


def test_texts_that_differ_are_no_comparison_of_seeds() -> None:
    animals = Axis("animal", ("an owl", "a fox"))
    assert warnings(Prompt("${animal}"), model=UNKNOWN, matrix=(animals,)) == []


def test_an_axis_that_the_model_ignores_is_warned_of() -> None:
    ignored = (Parameter("quality", "integer", ignored=True),)
    qualities = Axis("quality", (1, 2))
    (warning,) = warnings(matrix=(qualities,), model_parameters=ignored)
    assert "ignores quality: its 2 values make no difference; take the axis away" in warning
    assert warnings(matrix=(Axis("quality", (1,)),), model_parameters=ignored) == []


@pytest.mark.parametrize(
    ("prompts", "job", "said"),
    [
        ((), {"defaults": {"seed": 42}}, "every copy sends seed 42, so"),
        ((), {"matrix": (Axis("seed", (42,)),)}, "every copy sends seed 42, so"),
        ((Prompt("A fox", own={"seed": 7}),), {}, "every copy sends seed 7, so"),
        ((), {"matrix": (SEEDS,)}, "whose seed is written all send that seed"),
        ((), {"zip": (SEEDS,)}, "whose seed is written all send that seed"),
        ((FOX, Prompt("A tram", own={"seed": 7})), {}, "whose seed is written all send that seed"),
        ((), {"defaults": {"seed": 1}, "matrix": (Axis("seed", Derived(2)),)}, None),
        ((Prompt("A fox, ${seed}"),), {"model": UNKNOWN, "defaults": {"seed": 1}}, None),
        ((), {}, None),
    ],
)
def test_copies_that_all_send_a_written_seed_are_warned_of(
    prompts: tuple[Prompt, ...], job: dict[str, Any], said: str | None
) -> None:
    assert warnings(*prompts, **job) == []
    found = warnings(*prompts, repeat=2, **job)
    assert len(found) == (said is not None)
    assert all(f"{said}" in warning for warning in found)
    assert all("same request is paid for 2 times" in warning for warning in found)


STEPS_20 = Prompt("A fox", own={"inference_steps": 20})
SHIFT_8 = Prompt("A tram", own={"shift": 8})
IN_STEP = (Axis("inference_steps", (20, 30)), Axis("shift", (3, 8)))
OF_FOX = axis_column("", Axis("seed", Derived(3)), "A fox")
SHARED = axis_column("", Axis("seed", Derived(3)))


@pytest.mark.parametrize(
    ("prompts", "job", "row", "matches"),
    [
        # The axes of zip meet row by row, those of matrix all together.
        ((), {"zip": IN_STEP}, {"inference_steps": 20, "shift": 8}, False),
        ((), {"zip": IN_STEP}, {"inference_steps": 30, "shift": 8}, True),
        ((), {"matrix": IN_STEP}, {"inference_steps": 20, "shift": 8}, True),
        # Own values belong to one prompt, and pin its axes.
        ((STEPS_20, SHIFT_8), {}, {"inference_steps": 20, "shift": 8}, False),
        (
            (STEPS_20, SHIFT_8),
            {"defaults": {"shift": 8}},
            {"inference_steps": 20, "shift": 8},
            True,
        ),
        ((SHIFT_8,), {"matrix": IN_STEP}, {"shift": 3}, False),
        ((SHIFT_8, FOX), {"matrix": IN_STEP}, {"shift": 3}, True),
        # Random seeds are known.
        ((), {"matrix": (Axis("seed", Derived(3)),)}, {"seed": 1}, False),
        ((), {"matrix": (Axis("seed", Derived(3)),)}, {"seed": SHARED[2]}, True),
        ((), {"matrix": (Axis("seed", Derived(2)),)}, {"seed": SHARED[2]}, False),
        ((TRAM, FOX), {"matrix": (OF_EACH,)}, {"seed": OF_FOX[1]}, True),
        ((TRAM,), {"matrix": (OF_EACH,)}, {"seed": OF_FOX[1]}, False),
        # Those of copies too.
        ((), {"matrix": (RANDOM,), "repeat": 2}, {"seed": derived_seed("", SHARED[1], 2)}, True),
        ((), {"matrix": (RANDOM,)}, {"seed": derived_seed("", SHARED[1], 2)}, False),
        # True is not 1.
        ((Prompt("${x}"),), {"matrix": (Axis("x", (1, 2)),)}, {"x": True}, False),
        ((Prompt("${x}"),), {"matrix": (Axis("x", (1, True)),)}, {"x": True}, True),
        ((), {}, {"shift": 3}, False),
    ],
)
def test_a_row_of_exclude_that_matches_no_cell_of_any_prompt_is_warned_of(
    prompts: tuple[Prompt, ...], job: dict[str, Any], row: Values, *, matches: bool
) -> None:
    found = warnings(*prompts, exclude=({"sampler": "dpm+"}, row), **job)
    said = [warning for warning in found if warning.startswith("exclude row 2")]
    assert said == ([] if matches else ["exclude row 2 matches nothing"])


@given(jobs())
@settings(max_examples=200, deadline=None)
def test_a_row_is_warned_of_exactly_where_taking_it_away_changes_nothing(job: Job) -> None:
    for number, row in enumerate(job.exclude, start=1):
        alone = replace(job, exclude=(row,))
        same = cells(alone) == cells(replace(job, exclude=()))
        assert (f"exclude row {number} matches nothing" in warnings_of(job)) == same


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("alibaba/wan2.1-t2v-turb", TURBO),
        ("Alibaba/Wan2.1-T2V-Turbo", TURBO),
        ("wan/v2.1/1.3b/text-to-vidoe", WAN_1_3B),
        ("alibaba/wan2.5-t2v-turbo", None),
        ("wan/v2.1/14b/text-to-video", None),
        (TURBO, None),
        (UNKNOWN, None),
    ],
)
def test_a_model_that_is_nearly_a_known_one_is_warned_of(model: str, meant: str | None) -> None:
    said = f"nothing is known of the model {model}, so no value is checked: did you mean {meant}?"
    assert warnings(model=model) == ([said] if meant else [])
    declared = (Parameter("seed", "integer"),)
    assert warnings(model=model, model_parameters=declared) == []


def test_marks_of_prompts_that_are_no_variables_are_warned_of() -> None:
    prompts = [Prompt("{{animal}} and ${place"), Prompt("{{animal}}"), Prompt("${{ x y }}")]
    assert warnings(*prompts) == [
        "{{animal}} in 2 prompts stays as it stands: a variable is written ${animal}",
        "${place in a prompt stays as it stands: a variable is written ${place}",
        "${{ x y }} in a prompt stays as it stands: a variable is written ${xy}",
    ]
    many = warnings(*(Prompt(f"{{{{a{number}}}}}") for number in range(1000)))
    assert len(many) == 4
    assert many[-1] == "997 more marks of prompts are no variables as they are written"
    harmless = "$${animal and {animal} and $animal and a {json: {}} and {{}} and ${seed}"
    assert warnings(Prompt(harmless)) == []


def test_variables_in_values_are_warned_of_for_they_are_not_filled_in() -> None:
    animals = Axis("animal", ("an ${owl}", "a $${fox}", "a ${", "5"))
    own = {"negative_prompt": "no ${animal}"}
    found = warnings(Prompt("${animal}", own=own), matrix=(animals,), defaults=own)
    assert found == [
        "${animal} in negative_prompt stays as it stands: variables are filled into prompts alone",
        "${owl} in animal stays as it stands: variables are filled into prompts alone",
    ]
