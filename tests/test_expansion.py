"""A job's tasks: how many, in which order, with which values and ids."""

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.derived import axis_column, derived_seed
from batchgen.expansion import count, expand, order_key
from batchgen.grid import variable_names
from batchgen.job import Axis, Derived, Job, Order, Output, Prompt, ProviderSettings, Values
from batchgen.models import Scalar
from batchgen.task import Task

OUT = Output(Path("out"))
FOX = Prompt("A fox")
TRAM = Prompt("A tram")
ONE_TO_THREE = Axis("seed", (1, 2, 3))


def job(*prompts: Prompt, **parts: object) -> Job:
    return replace(Job(name="job", prompts=prompts or (FOX,), output=OUT), **parts)  # type: ignore[arg-type]


def ids(of: Job) -> list[str]:
    return [task.task_id for task in expand(of)]


def column(of: Job, *names: str) -> list[tuple[Scalar, ...]]:
    return [
        tuple({**task.params, **task.variables, "repeat": task.repeat}[name] for name in names)
        for task in expand(of)
    ]


def seeds(tasks: Iterable[Task]) -> list[Scalar]:
    return [task.params["seed"] for task in tasks]


def test_prompts_are_outermost_then_the_matrix_as_written_then_zip_then_repeat() -> None:
    of = job(
        FOX,
        TRAM,
        matrix=(Axis("shift", (3, 8)), Axis("guidance_scale", (1, 2))),
        zip=(Axis("seed", (5, 6)), Axis("sampler", ("unipc", "dpm+"))),
        repeat=2,
    )
    assert column(of, "prompt", "shift", "guidance_scale", "seed", "sampler", "repeat") == [
        (prompt, shift, guidance, *row, copy)
        for prompt in ("A fox", "A tram")
        for shift in (3, 8)
        for guidance in (1, 2)
        for row in ((5, "unipc"), (6, "dpm+"))
        for copy in (1, 2)
    ]
    assert [task.index for task in expand(of)] == list(range(32))


def test_another_order_of_the_matrix_is_another_order_of_the_same_tasks() -> None:
    one = job(matrix=(Axis("seed", (1, 2)), Axis("shift", (3, 8))))
    other = job(matrix=one.matrix[::-1])
    assert ids(one) != ids(other)
    assert set(ids(one)) == set(ids(other))


def test_rows_of_include_follow_their_prompt_s_grid_and_those_with_a_prompt_come_last() -> None:
    of = job(
        FOX,
        TRAM,
        matrix=(Axis("seed", (1, 2)),),
        include=({"seed": 42}, {"prompt": "An owl", "seed": 3}, {"seed": 43}),
    )
    assert column(of, "prompt", "seed") == [
        *(("A fox", seed) for seed in (1, 2, 42, 43)),
        *(("A tram", seed) for seed in (1, 2, 42, 43)),
        ("An owl", 3),
    ]
    assert [(task.prompt_number, task.cell) for task in expand(of)] == [
        *((number, cell) for number in (0, 1) for cell in range(4)),
        (2, 0),
    ]


def test_a_job_may_be_nothing_but_rows_with_a_prompt() -> None:
    of = replace(job(), prompts=(), include=({"prompt": "An owl"}, {"prompt": "A fox"}))
    assert column(of, "prompt") == [("An owl",), ("A fox",)]
    assert count(of) == 2


def test_defaults_yield_to_axes_and_axes_to_a_prompt_s_own_values() -> None:
    of = job(
        Prompt("A fox", own={"shift": 9}),
        TRAM,
        defaults={"shift": 1, "guidance_scale": 1, "inference_steps": 20},
        matrix=(Axis("shift", (3,)), Axis("guidance_scale", (4,))),
    )
    assert column(of, "shift", "guidance_scale", "inference_steps") == [(9, 4, 20), (3, 4, 20)]


def test_a_prompt_s_own_value_pins_its_axis_and_makes_no_duplicates() -> None:
    pinned = Prompt("A dancer", "portrait", {"seed": 7, "aspect_ratio": "9:16"})
    of = job(TRAM, pinned, matrix=(Axis("seed", (1, 2, 3)), Axis("shift", (3, 8))))
    assert column(of, "prompt", "seed", "shift") == [
        *(("A tram", seed, shift) for seed in (1, 2, 3) for shift in (3, 8)),
        ("A dancer", 7, 3),
        ("A dancer", 7, 8),
    ]
    assert len(set(ids(of))) == count(of) == 8


@pytest.mark.parametrize(
    ("parts", "tasks"),
    [
        # A value of the axis is one that the other prompt pins.
        ({"prompts": (FOX, Prompt("A fox", own={"seed": 1})), "matrix": (ONE_TO_THREE,)}, 3),
        ({"prompts": (Prompt("A fox", own={"seed": 1}), FOX), "matrix": (ONE_TO_THREE,)}, 3),
        # An own value is the default.
        ({"prompts": (FOX, Prompt("A fox", own={"shift": 3})), "defaults": {"shift": 3}}, 1),
        ({"prompts": (FOX, Prompt("A fox", own={"shift": 4})), "defaults": {"shift": 3}}, 2),
        # Two spellings of one text.
        ({"prompts": (Prompt("costs $5"), Prompt("costs $$5"))}, 1),
        ({"prompts": (Prompt("seed ${seed}"), Prompt("seed 2")), "matrix": (ONE_TO_THREE,)}, 5),
        ({"prompts": (FOX, TRAM), "matrix": (Axis("shift", (3, 3)),)}, 2),
        ({"prompts": (FOX,), "zip": (Axis("shift", (3, 3)), Axis("seed", (1, 1)))}, 1),
    ],
)
def test_what_is_asked_for_twice_is_one_task(parts: dict[str, Any], tasks: int) -> None:
    of = replace(job(), **parts)
    assert len(ids(of)) == len(set(ids(of))) == count(of) == tasks


def test_a_pinned_axis_of_zip_leaves_the_others_moving() -> None:
    of = job(
        Prompt("A fox", own={"shift": 5}),
        zip=(Axis("shift", (3, 8)), Axis("sampler", ("unipc", "dpm+"))),
    )
    assert column(of, "shift", "sampler") == [(5, "unipc"), (5, "dpm+")]


def test_a_prompt_that_pins_every_axis_is_one_task() -> None:
    own: Values = {"seed": 1, "shift": 2, "sampler": "unipc"}
    of = job(
        Prompt("A fox", own=own),
        matrix=(Axis("seed", (1, 2)),),
        zip=(Axis("shift", (1, 2)), Axis("sampler", ("unipc", "dpm+"))),
    )
    assert len(ids(of)) == count(of) == 1


def test_a_cell_is_left_out_when_it_matches_every_key_of_one_row() -> None:
    of = job(
        matrix=(Axis("shift", (1, 2)), Axis("sampler", ("unipc", "dpm+"))),
        exclude=({"shift": 1, "sampler": "dpm+"}, {"shift": 3}, {"steps": 1}),
    )
    assert column(of, "shift", "sampler") == [(1, "unipc"), (2, "unipc"), (2, "dpm+")]
    assert count(of) == 3


def test_true_in_a_row_of_exclude_is_not_the_number_one() -> None:
    truths = Axis("x", (True, 1, 0))
    of = job(Prompt("${x}"), matrix=(truths,), exclude=({"x": True}, {"x": False}))
    assert column(of, "prompt") == [("1",), ("0",)]
    of = job(Prompt("${x}", own={"x": 1}), exclude=({"x": True},))
    assert column(of, "prompt") == [("1",)]


def test_exclude_knows_a_prompt_by_its_id() -> None:
    hero, other = Prompt("A hero", id="hero"), Prompt("A fox", id="fox")
    seeds = Axis("seed", (1, 2, 3, 4))
    rows = ({"id": "hero", "seed": 2}, {"id": "fox"})
    of = job(hero, other, FOX, matrix=(seeds,), exclude=rows)
    assert [(task.prompt_id, task.params["seed"]) for task in expand(of)] == [
        *(("hero", seed) for seed in (1, 3, 4)),
        *((None, seed) for seed in (1, 2, 3, 4)),
    ]
    assert count(of) == 7


def test_an_id_that_is_a_variable_or_a_value_is_none_of_a_prompt_s_own() -> None:
    hero = Prompt("${id}", id="hero")
    of = job(hero, matrix=(Axis("id", ("hero", "fox")),), exclude=({"id": "fox"},))
    assert [task.prompt for task in expand(of)] == ["hero"]
    elsewhere = ProviderSettings(model="somebody/else")
    of = job(
        Prompt("A fox", id="hero"),
        provider=elsewhere,
        defaults={"id": "b"},
        exclude=({"id": "hero"},),
    )
    assert count(of) == 1


def test_exclude_sees_defaults_and_own_values_and_leaves_include_alone() -> None:
    of = job(
        Prompt("A fox", own={"shift": 9}),
        TRAM,
        defaults={"inference_steps": 20},
        exclude=({"shift": 9, "inference_steps": 20},),
        include=({"shift": 9},),
    )
    assert column(of, "prompt")[0] == ("A fox",)
    assert [task.cell for task in expand(of)] == [0, 0, 1]


def test_variables_fill_the_prompt_and_are_not_sent() -> None:
    of = job(
        Prompt("${animal} at $$5, shift ${shift}"),
        matrix=(Axis("animal", ("an owl", "a fox")), Axis("shift", (3,))),
    )
    assert variable_names(of) == {"animal"}
    for task, animal in zip(expand(of), ("an owl", "a fox"), strict=True):
        assert task.prompt == f"{animal} at $5, shift 3"
        assert task.variables == {"animal": animal}
        assert task.params.keys() == {"model", "prompt", "seed", "shift"}
        assert task.prompt_template == "${animal} at $$5, shift ${shift}"


def test_a_doubled_dollar_is_a_dollar_and_no_variable() -> None:
    (task,) = expand(job(Prompt("$${animal} for $$5")))
    assert task.prompt == "${animal} for $5"
    assert task.variables == {}


def test_every_task_carries_its_seed_even_where_nobody_wrote_one() -> None:
    (seed,) = set(seeds(expand(job(FOX, TRAM, matrix=(Axis("shift", (1, 2)),)))))
    assert isinstance(seed, int)
    assert 0 <= seed < 2**31


def test_copies_differ_in_their_seed_and_compare_across_prompts_and_cells() -> None:
    tasks = list(expand(job(FOX, TRAM, matrix=(Axis("shift", (1, 2)),), repeat=3)))
    by_copy = {
        copy: set(seeds(task for task in tasks if task.repeat == copy)) for copy in (1, 2, 3)
    }
    assert [len(of_copy) for of_copy in by_copy.values()] == [1, 1, 1]
    assert len(set.union(*by_copy.values())) == 3


@pytest.mark.parametrize("section", ["matrix", "zip"])
def test_copies_of_a_random_axis_have_seeds_of_their_own(section: str) -> None:
    of = job(repeat=3, **{section: (Axis("seed", Derived(4)),)})
    assert len(set(seeds(expand(of)))) == 12


@pytest.mark.parametrize("section", ["matrix", "zip"])
def test_a_first_copy_keeps_its_seed_when_more_are_asked_for(section: str) -> None:
    axes = {section: (Axis("seed", Derived(4)),)}
    assert set(ids(job(**axes))) < set(ids(job(repeat=3, **axes)))


def test_a_written_seed_is_kept_by_every_copy() -> None:
    assert seeds(expand(job(matrix=(Axis("seed", (5,)),), repeat=2))) == [5, 5]


@given(
    fewer=st.integers(1, 40),
    more=st.integers(1, 40),
    per_prompt=st.booleans(),
    salt=st.text(max_size=5),
)
def test_asking_for_more_random_values_keeps_the_first_ones(
    fewer: int, more: int, *, per_prompt: bool, salt: str
) -> None:
    fewer, more = sorted((fewer, more))
    short, long = (
        seeds(expand(job(matrix=(Axis("seed", Derived(n, per_prompt)),), salt=salt)))
        for n in (fewer, more)
    )
    assert long[:fewer] == short
    assert len(set(long)) == more


def test_random_values_are_all_different_however_many_and_keep_their_places() -> None:
    many = axis_column("", Axis("seed", Derived(100_000)))
    places = [derived_seed("", "seed", place) for place in range(100_000)]
    assert len(set(places)) < len(set(many)) == 100_000
    assert many[: len(set(places))] == tuple(dict.fromkeys(places))


def test_random_values_are_the_same_for_all_prompts_unless_per_prompt() -> None:
    shared = seeds(expand(job(FOX, TRAM, matrix=(Axis("seed", Derived(3)),))))
    own = seeds(expand(job(FOX, TRAM, matrix=(Axis("seed", Derived(3, per_prompt=True)),))))
    assert shared[:3] == shared[3:]
    assert not set(own[:3]) & set(own[3:])
    # A prompt's values come from its text: where it stands does not matter.
    turned = seeds(expand(job(TRAM, FOX, matrix=(Axis("seed", Derived(3, per_prompt=True)),))))
    assert turned == own[3:] + own[:3]


def test_a_salt_changes_every_derived_value() -> None:
    axes = (Axis("seed", Derived(5)),)
    assert not set(seeds(expand(job(matrix=axes)))) & set(seeds(expand(job(matrix=axes, salt="x"))))
    assert seeds(expand(job())) != seeds(expand(job(salt="x")))


def test_derived_seeds_never_change_between_versions() -> None:
    # Pinned: whoever changes this makes every video with a derived seed again.
    assert derived_seed("", 1) == 2089926209
    assert derived_seed("salt", "seed", 3, "A fox") == 483205637
    assert ids(job(matrix=(Axis("seed", Derived(1)),), repeat=2)) == [
        "wflr4pm7bcdb",
        "64pbmtyt3iqk",
    ]


@given(st.text(max_size=10), st.integers(0, 10**6))
def test_a_derived_seed_is_a_signed_32_bit_number(salt: str, place: int) -> None:
    assert 0 <= derived_seed(salt, "seed", place) < 2**31


def test_a_model_without_a_table_gets_what_was_written_and_nothing_else() -> None:
    of = job(defaults={"anything": 1}, provider=ProviderSettings(model="somebody/else"))
    (task,) = expand(of)
    assert task.params == {"model": "somebody/else", "prompt": "A fox", "anything": 1}


# What a generated job is made of: few names and values, so that they meet.

NAMES = ("seed", "guidance_scale", "shift", "inference_steps", "animal", "place")
NUMBERS = st.integers(1, 4)


@st.composite
def axes(draw: st.DrawFn, names: list[str], *, one_length: bool) -> tuple[Axis, ...]:
    length = draw(st.integers(1, 3))
    found = []
    for name in names:
        size = length if one_length else draw(st.integers(1, 3))
        if name == "seed" and draw(st.booleans()):
            found.append(Axis(name, Derived(size, draw(st.booleans()))))
        else:
            drawn = draw(st.lists(NUMBERS, min_size=size, max_size=size, unique=True))
            found.append(Axis(name, tuple(drawn)))
    return tuple(found)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    names = draw(st.permutations(NAMES))
    cut, end = sorted(draw(st.tuples(st.integers(0, 3), st.integers(0, 4))))
    some_values = st.dictionaries(st.sampled_from(NAMES), NUMBERS, max_size=2)
    values = st.dictionaries(st.sampled_from(NAMES), NUMBERS, min_size=1, max_size=2)
    ids = st.sampled_from([{}, {"id": "hero"}, {"id": "nobody"}])
    criteria = st.builds(lambda values, of: {**values, **of}, values, ids) | st.just({"id": "hero"})
    prompts = draw(
        st.lists(
            st.builds(
                Prompt,
                st.sampled_from(["A fox", "A tram", "${animal} in ${place}", "${seed}"]),
                st.sampled_from([None, "hero"]),
                some_values,
            ),
            min_size=1,
            max_size=4,
        )
    )
    rows: list[Values] = [*draw(st.lists(some_values, max_size=2))]
    rows += [{"prompt": "An owl", **row} for row in draw(st.lists(some_values, max_size=2))]
    return Job(
        name="job",
        prompts=tuple(prompts),
        output=OUT,
        defaults={"animal": 1, "place": 2, **draw(some_values)},
        matrix=draw(axes(list(names[:cut]), one_length=False)),
        zip=draw(axes(list(names[cut:end]), one_length=True)),
        exclude=tuple(draw(st.lists(criteria, max_size=2))),
        include=tuple(draw(st.permutations(rows))),
        repeat=draw(st.integers(1, 3)),
        salt=draw(st.sampled_from(["", "x"])),
    )


@given(jobs())
@settings(max_examples=200, deadline=None)
def test_the_count_is_the_number_of_tasks(of: Job) -> None:
    assert count(of) == len(list(expand(of)))
    without = replace(of, exclude=())
    assert count(without) == len(list(expand(without)))


@given(jobs())
@settings(max_examples=150, deadline=None)
def test_the_same_job_gives_the_same_tasks_and_indices_count_up(of: Job) -> None:
    tasks = list(expand(of))
    assert tasks == list(expand(of))
    assert len({task.task_id for task in tasks}) == len(tasks)
    assert [task.index for task in tasks] == list(range(len(tasks)))


@given(jobs())
@settings(max_examples=150, deadline=None)
def test_ids_depend_on_what_is_sent_and_the_copy_and_on_nothing_else(of: Job) -> None:
    tasks = list(expand(of))
    sent = {(task.body, task.repeat): task.task_id for task in tasks}
    assert len(sent) == len(set(sent.values())) == len(tasks)


@given(jobs(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_ids_survive_a_new_name_another_folder_and_another_order_of_prompts(
    of: Job, rng: random.Random
) -> None:
    prompts = list(of.prompts)
    rng.shuffle(prompts)
    other = replace(
        of,
        name="renamed",
        output=Output(Path("elsewhere"), "${index}"),
        prompts=tuple(prompts),
        source="# a comment",
        defaults=dict(list(of.defaults.items())[::-1]),
    )
    assert sorted(ids(other)) == sorted(ids(of))


@given(jobs(), NUMBERS)
@settings(max_examples=150, deadline=None)
def test_extending_a_grid_keeps_the_ids_that_were_paid_for(of: Job, value: int) -> None:
    longer = tuple(
        Axis(axis.name, Derived(axis.values.count + 1, axis.values.per_prompt))
        if isinstance(axis.values, Derived)
        else Axis(axis.name, (*axis.values, value + 10))
        for axis in of.matrix
    )
    extended = replace(
        of, matrix=longer, prompts=(*of.prompts, Prompt("A new one")), repeat=of.repeat + 1
    )
    assert set(ids(of)) <= set(ids(extended))


@given(jobs())
@settings(max_examples=100, deadline=None)
def test_every_order_is_a_permutation_and_sequential_is_the_expansion(of: Job) -> None:
    tasks = list(expand(of))
    prompts = len(of.prompts) + sum("prompt" in row for row in of.include)
    for order in Order:
        keys = [order_key(order, task, prompts) for task in tasks]
        assert all(0 <= key < 2**63 for key in keys)
        assert len(set(keys)) == len(keys)
    assert [order_key(Order.SEQUENTIAL, task, prompts) for task in tasks] == list(range(len(tasks)))


@given(jobs())
@settings(max_examples=100, deadline=None)
def test_interleaved_takes_a_cell_of_every_prompt_before_the_next_cell(of: Job) -> None:
    prompts = len(of.prompts) + sum("prompt" in row for row in of.include)
    tasks = sorted(expand(of), key=lambda task: order_key(Order.INTERLEAVED, task, prompts))
    assert [(task.cell, task.prompt_number) for task in tasks] == sorted(
        (task.cell, task.prompt_number) for task in tasks
    )


def test_shuffled_mixes_and_is_the_same_everywhere() -> None:
    tasks = list(expand(job(FOX, TRAM, matrix=(Axis("seed", tuple(range(50))),))))
    mixed = sorted(tasks, key=lambda task: order_key(Order.SHUFFLED, task, 2))
    assert mixed != tasks
    assert {task.prompt for task in mixed[:20]} == {"A fox", "A tram"}
    turned = tasks[::-1]
    again = sorted(turned, key=lambda task: order_key(Order.SHUFFLED, task, 2))
    assert again == mixed


def test_an_endless_grid_is_a_stream() -> None:
    huge = tuple(Axis(name, tuple(range(1000))) for name in ("seed", "shift", "guidance_scale"))
    of = job(matrix=huge)
    assert count(of) == 10**9
    assert [task.params["guidance_scale"] for task in itertools.islice(expand(of), 3)] == [0, 1, 2]
