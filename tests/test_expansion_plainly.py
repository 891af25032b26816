"""Expansion as it is written down: merged values, one JSON text a task. Slow, and the same."""

import base64
import hashlib
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.derived import derived_seed
from batchgen.expansion import count, expand
from batchgen.grid import variable_names
from batchgen.idset import IdSet
from batchgen.job import Axis, Derived, Job, Output, Prompt, ProviderSettings, Values
from batchgen.models import WAN_1_3B, Scalar
from batchgen.task import canonical_json, spelled, task_id
from batchgen.templates import text

OUT = Output(Path("out"))


def plainly(job: Job) -> Iterator[dict[str, object]]:
    """What the contract says, in the order in which it says it."""
    seen = set()
    index = 0
    for number, cell, prompt, values, copy in places(job):
        variables = {name: values[name] for name in values if name in variable_names(job)}
        params: dict[str, Scalar] = {"model": job.provider.model}
        params |= {name: values[name] for name in values if name not in variables}
        if job.provider.model == WAN_1_3B and "seed" not in params:
            params["seed"] = derived_seed(job.salt, copy)
        words = {name: text(value) for name, value in {**params, **variables}.items()}
        params["prompt"] = Template(prompt.template).substitute(words)
        request = json.dumps(
            [job.provider.kind, params, copy], sort_keys=True, separators=(",", ":")
        )
        digest = hashlib.sha256(request.encode()).digest()
        task_id = base64.b32encode(digest)[:12].decode().lower()
        if task_id in seen:
            continue
        seen.add(task_id)
        yield {
            "task_id": task_id,
            "index": index,
            "params": list(params.items()),
            "variables": list(variables.items()),
            "template": prompt.template,
            "prompt_id": prompt.id,
            "repeat": copy,
            "prompt_number": number,
            "cell": cell,
        }
        index += 1


def places(job: Job) -> Iterator[tuple[int, int, Prompt, Values, int]]:
    for number, prompt in enumerate(job.prompts):
        for cell, (values, copy) in enumerate(cells(job, prompt)):
            yield number, cell, prompt, values, copy
    alone = [row for row in job.include if "prompt" in row]
    for number, row in enumerate(alone, len(job.prompts)):
        yield number, 0, Prompt(str(row["prompt"])), {**job.defaults, **row}, 1


def cells(job: Job, prompt: Prompt) -> Iterator[tuple[Values, int]]:
    def column(axis: Axis) -> list[tuple[str, Scalar]]:
        if not isinstance(axis.values, Derived):
            return [(axis.name, value) for value in axis.values]
        per = (prompt.template,) if axis.values.per_prompt else ()
        return [(axis.name, derived_seed(job.salt, axis.name, n, *per)) for n in range(len(axis))]

    axes = [axis for axis in job.matrix if axis.name not in prompt.own]
    zipped = [axis for axis in job.zip if axis.name not in prompt.own]
    rows = list(zip(*map(column, zipped), strict=True)) or [()]
    copies = range(1, job.repeat + 1)
    for across, row, copy in itertools.product(itertools.product(*map(column, axes)), rows, copies):
        values = {**job.defaults, **dict(across), **dict(row), **prompt.own}
        for axis in (*axes, *zipped):
            if copy > 1 and isinstance(axis.values, Derived):
                values[axis.name] = derived_seed(job.salt, values[axis.name], copy)
        told = values if prompt.id is None else {"id": prompt.id, **values}
        if not any(
            all(name in told and same(told[name], row[name]) for name in row) for row in job.exclude
        ):
            yield values, copy
    for added in job.include:
        if "prompt" not in added:
            yield {**job.defaults, **prompt.own, **added}, 1


def same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


NAMES = ("seed", "shift", "guidance_scale", "negative_prompt", "animal", "100%", "é")
scalars = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e300]),
    st.booleans(),
    st.sampled_from(["a fox", "100 %s", "café", '"', "${animal}", "𝄞"]),
)
rows_of_values = st.dictionaries(st.sampled_from(NAMES), scalars, max_size=3)
words = st.lists(
    st.sampled_from(["A fox", " 50% ", "$$", "é", "%s", "${animal}", "${shift}", "${seed}"]),
    min_size=1,
    max_size=4,
).map("".join)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    names = draw(st.permutations(NAMES))
    cut = draw(st.integers(0, 3))
    length = draw(st.integers(1, 3))
    # A template's names must have values; an axis or a prompt's own value may outweigh these.
    always: Values = {"seed": 5, "animal": "a fox", "shift": 3} if draw(st.booleans()) else {}

    def axis(name: str, size: int) -> Axis:
        if name == "seed" and draw(st.booleans()):
            return Axis(name, Derived(size, per_prompt=draw(st.booleans())))
        return Axis(name, tuple(draw(st.lists(scalars, min_size=size, max_size=size))))

    templates = words if always else st.sampled_from(["A fox", "50%", "a $$", "é ${model}"])
    prompt = st.builds(
        Prompt, templates, st.none() | st.just("one"), rows_of_values | st.just(dict[str, Scalar]())
    )
    include = st.lists(rows_of_values, max_size=2)
    alone = st.lists(st.builds(lambda row: {**row, "prompt": "An owl"}, rows_of_values), max_size=1)
    return Job(
        name="job",
        prompts=tuple(draw(st.lists(prompt, min_size=1, max_size=3))),
        output=OUT,
        defaults={**always, **draw(rows_of_values)},
        matrix=tuple(axis(name, draw(st.integers(1, 3))) for name in names[:cut]),
        zip=tuple(axis(name, length) for name in names[cut : cut + draw(st.integers(0, 2))]),
        exclude=tuple(draw(st.lists(rows_of_values | st.just({"id": "one"}), max_size=2))),
        include=(*draw(include), *draw(alone)),
        repeat=draw(st.integers(1, 3)),
        salt=draw(st.sampled_from(["", "x"])),
        provider=ProviderSettings(model=draw(st.sampled_from([WAN_1_3B, "some/other%model"]))),
    )


@given(jobs())
def test_every_job_expands_to_what_the_contract_says_in_the_same_order(job: Job) -> None:
    found = [
        {
            "task_id": task.task_id,
            "index": task.index,
            "params": list(task.params.items()),
            "variables": list(task.variables.items()),
            "template": task.prompt_template,
            "prompt_id": task.prompt_id,
            "repeat": task.repeat,
            "prompt_number": task.prompt_number,
            "cell": task.cell,
        }
        for task in expand(job)
    ]
    assert repr(found) == repr(list(plainly(job)))
    assert count(job) == len(found)


@given(scalars)
@example(10**400)
@example(1e-7)
def test_a_value_alone_is_spelled_as_it_is_inside_a_request(value: Scalar) -> None:
    assert spelled(value).encode() == canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused_wherever_it_moves(value: float) -> None:
    for job in (
        Job("job", (Prompt("A fox"),), OUT, matrix=(Axis("shift", (value,)),)),
        Job("job", (Prompt("A fox"),), OUT, defaults={"shift": value}),
    ):
        with pytest.raises(ValueError, match="not JSON compliant"):
            list(expand(job))


def peak_bytes(job: Job) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in expand(job)) == count(job)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def grid(side: int, template: str, *more: Axis) -> Job:
    axes = [Axis(name, tuple(range(side))) for name in ("seed", "shift", "guidance_scale")]
    return Job("grid", (Prompt(template),), OUT, matrix=(*more, *axes))


def test_a_grid_of_ten_times_as_many_tasks_needs_no_more_memory() -> None:
    small, large = (peak_bytes(grid(side, "A fox")) for side in (10, 22))
    assert large < small + 10_000


def test_many_prompts_that_differ_in_their_text_need_no_more_memory_for_ten_times_the_cells() -> (
    None
):
    owl = Prompt("An owl for $$5")
    small, large = (
        peak_bytes(replace(job, prompts=(*job.prompts, owl)))
        for job in (grid(side, "A fox for $5") for side in (7, 15))
    )
    assert large < small + 10_000


def test_where_tasks_may_repeat_each_holds_the_bytes_of_its_number() -> None:
    animals = Axis("animal", ("a fox", "an owl"))
    small, large = (peak_bytes(grid(side, "${animal}", animals)) for side in (5, 16))
    # A table of 8 bytes a slot, up to a third of them filled, and half of it while it grows.
    assert (large - small) / (2 * 16**3) < 40


def test_an_id_set_knows_every_id_it_has_taken_in_and_no_other() -> None:
    ids = [task_id("sandbox", {"seed": seed}, 1) for seed in range(5_000)]
    held = IdSet()
    assert all(held.add(one) for one in ids[:4_000])
    assert not any(held.add(one) for one in ids[:4_000])
    assert all(held.add(one) for one in ids[4_000:])
    assert len(held) == 5_000
