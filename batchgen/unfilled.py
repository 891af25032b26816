"""Marks that somebody meant for variables and that nothing is filled into. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from batchgen import templates
from batchgen.job import Job
from batchgen.models import Scalar

SHOWN: Final = 3
"""Marks that are named; who reads of three looks for the rest."""


def unfilled_marks(job: Job) -> Iterator[str]:
    """Say which marks are sent as they stand: in prompts, and in values, which are no templates."""
    in_prompts = Counter(
        mark
        for template in prompt_texts(job)
        if "{" in template
        for mark in dict.fromkeys(templates.unread(template))
    )
    for mark, prompts in list(in_prompts.items())[:SHOWN]:
        name = "".join(sign for sign in mark if sign not in "${} ") or "name"
        where = "a prompt" if prompts == 1 else f"{prompts:,} prompts"
        yield f"{mark} in {where} stays as it stands: a variable is written ${{{name}}}"
    if (more := len(in_prompts) - SHOWN) > 0:
        yield f"{more:,} more marks of prompts are no variables as they are written"
    in_values = dict.fromkeys(
        (mark, name)
        for name, value in values(job)
        if isinstance(value, str) and "${" in value
        for mark in templates.names(value)
    )
    for mark, name in list(in_values)[:SHOWN]:
        yield f"${{{mark}}} in {name} stays as it stands: variables are filled into prompts alone"
    if (more := len(in_values) - SHOWN) > 0:
        yield f"{more:,} more variables stand in values, where they are not filled in"


def prompt_texts(job: Job) -> Iterator[str]:
    """Yield the text of every prompt, as it was written."""
    for prompt in job.prompts:
        yield prompt.template
    for row in job.include:
        yield str(row.get("prompt", ""))


def values(job: Job) -> Iterator[tuple[str, Scalar]]:
    """Yield every value that is written in a job, with the name of its parameter or variable."""
    yield from job.defaults.items()
    for axis in (*job.matrix, *job.zip):
        if isinstance(axis.values, tuple):
            yield from ((axis.name, value) for value in axis.values)
    for prompt in job.prompts:
        yield from prompt.own.items()
    for row in job.include:
        yield from ((name, value) for name, value in row.items() if name != "prompt")
