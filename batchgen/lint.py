"""What a job may say and hardly means: warnings while nothing has been spent yet. Pure.

Most of them are about comparisons that would be none, because more than the compared value differs
between two videos. What is fair, and so passes without a word:

- a seed axis under `matrix`, derived or written: every cell is made at every seed;
- `per: prompt`: all cells of a prompt have the same seeds, and other prompts are other pictures;
- `repeat`, where no seed is written: the copies' seeds are the same for all cells;
- seeds that stand beside a prompt, in `include`, or together with a variable: somebody chose them
  for that very text.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from batchgen.grid import unmatched_rows, variable_names
from batchgen.job import Axis, Derived, Job, Prompt
from batchgen.models import TABLES, Scalar
from batchgen.other_syntax import other_syntax
from batchgen.templates import text
from batchgen.unfilled import unfilled_marks

_DIGITS: Final = re.compile("[0-9]+")


def warnings_of(job: Job) -> list[str]:
    """Say what is allowed but hardly meant, and what to do: a sentence each."""
    return [
        *_excludes_without_a_match(job),
        *_ignored_axes(job),
        *_copies_of_a_written_seed(job),
        *_rewritten_prompts(job),
        *_seeds_in_step(job),
        *_seeds_of_nobody(job),
        *_nearly_known_model(job),
        *unfilled_marks(job),
        *other_syntax(job),
    ]


def _excludes_without_a_match(job: Job) -> Iterator[str]:
    for number in unmatched_rows(job):
        yield f"exclude row {number} matches nothing"


def _ignored_axes(job: Job) -> Iterator[str]:
    """Find axes that would buy the same video several times."""
    table = job.parameters or {}
    for axis in _axes(job):
        if len(axis) > 1 and axis.name in table and table[axis.name].ignored:
            yield (
                f"{job.provider.model} ignores {axis.name}: its {len(axis)} values make no "
                "difference; take the axis away"
            )


def _copies_of_a_written_seed(job: Job) -> Iterator[str]:
    """Find copies that are the same request: a seed that was written is every copy's."""
    if job.repeat == 1 or "seed" in variable_names(job):
        return
    shared: tuple[Scalar, ...] = (job.defaults["seed"],) if "seed" in job.defaults else ()
    for axis in _axes(job):
        if axis.name == "seed":
            shared = axis.values if isinstance(axis.values, tuple) else ()
    seeds = [(prompt.own["seed"],) if "seed" in prompt.own else shared for prompt in job.prompts]
    if not any(seeds):
        return
    sent = "the copies of a cell whose seed is written all send that seed"
    if all(len(written) == 1 for written in seeds) and len(set(seeds)) == 1:
        sent = f"every copy sends seed {text(seeds[0][0])}"
    yield (
        f"repeat: {sent}, so the same request is paid for {job.repeat} times; take repeat away, or "
        "the seed: each copy then has its own"
    )


def _rewritten_prompts(job: Job) -> Iterator[str]:
    """Find seed grids whose prompts are rewritten: each seed would get another text."""
    rewriters = _rewriters(job)
    if any(axis.name in rewriters and len(axis) > 1 for axis in _axes(job)):
        return  # the rewriting itself is compared
    for prompt in job.prompts:
        if not _has_several_seeds(job, prompt):
            continue
        # An axis of one value; a derived one would be of numbers, which switch nothing on.
        fixed = {axis.name: axis.values[0] for axis in _axes(job) if isinstance(axis.values, tuple)}
        values = {**job.defaults, **fixed, **prompt.own}
        written = [name for name in rewriters if name in values]
        if any(values[name] is True for name in written):
            name = next(name for name in written if values[name] is True)
            yield (
                f"{name} rewrites the prompt for each video: seeds cannot be compared with it on; "
                "set it to false"
            )
            return
        if not written and (on := [name for name in rewriters if rewriters[name]]):
            yield (
                f"{job.provider.model} rewrites the prompt for each video unless told not to: "
                f"seeds cannot be compared; add {on[0]}: false under defaults"
            )
            return


def _rewriters(job: Job) -> dict[str, bool]:
    """Map the switches that let prompts be rewritten to whether they are on when left out."""
    table = job.parameters
    if table is None:
        # What other models call it says what is meant; not what happens when it is left out.
        parameters = [parameter for known in TABLES.values() for parameter in known.values()]
        return {parameter.name: False for parameter in parameters if parameter.rewrites_prompt}
    return {
        parameter.name: parameter.default is True
        for parameter in table.values()
        if parameter.rewrites_prompt
    }


def _has_several_seeds(job: Job, prompt: Prompt) -> bool:
    if "seed" in prompt.own:
        return False
    return job.repeat > 1 or any(axis.name == "seed" and len(axis) > 1 for axis in _axes(job))


def _seeds_in_step(job: Job) -> Iterator[str]:
    """Find seeds that change together with what is compared: nothing tells the two apart."""
    seeds = [axis for axis in job.zip if axis.name == "seed" and len(axis) > 1]
    if not seeds or all("seed" in prompt.own for prompt in job.prompts):
        return
    chosen = variable_names(job) if not isinstance(seeds[0].values, Derived) else frozenset()
    beside = [axis.name for axis in job.zip if axis.name != "seed" and axis.name not in chosen]
    if beside:
        yield (
            f"under zip, seed changes together with {' and '.join(beside)}: no two values are seen "
            "at the same seed; put seed under matrix"
        )


def _seeds_of_nobody(job: Job) -> Iterator[str]:
    """Find grids whose cells get a random seed each: we derive none for a model we do not know."""
    names = [axis.name for axis in _axes(job)]
    if job.parameters is not None or "seed" in {*job.defaults, *names}:
        return
    variables = variable_names(job)
    compared = [axis.name for axis in _axes(job) if len(axis) > 1 and axis.name not in variables]
    if compared and not all("seed" in prompt.own for prompt in job.prompts):
        yield (
            f"no seed is sent to {job.provider.model}: if it draws one for each video, "
            f"{' and '.join(compared)} cannot be compared; add a seed under defaults, or list what "
            "the model takes under model_parameters"
        )


def _nearly_known_model(job: Job) -> Iterator[str]:
    """Find a model's name with a slip of the finger: it would be taken for one without a table.

    Names that differ in a digit are other versions, and pass.
    """
    model = job.provider.model
    if job.parameters is not None:
        return
    close = difflib.get_close_matches(model.lower(), TABLES, n=1, cutoff=0.9)
    if close and _DIGITS.findall(close[0]) == _DIGITS.findall(model):
        yield (
            f"nothing is known of the model {model}, so no value is checked: did you mean "
            f"{close[0]}?"
        )


def _axes(job: Job) -> tuple[Axis, ...]:
    return (*job.matrix, *job.zip)
