"""Prompts that YAML read as something else than the text that was meant."""

from collections.abc import Mapping
from dataclasses import replace

from batchgen.errors import Problem
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import CURLY_QUOTES, STRAIGHT_QUOTES, meant_as
from batchgen.jobfile.yaml12 import Node
from batchgen.models import Parameter


def became_a_mapping(source: Source, item: Node) -> Problem | None:
    """Point out a prompt with a colon that YAML took for a key and its value."""
    if not isinstance(item.value, dict) or "prompt" in item.value or not item.keys:
        return None
    first = next(iter(item.keys))
    typo = meant_as("prompt", item.keys)
    mend = "a prompt with values of its own is {prompt: ..., seed: 7}"
    if first.startswith(CURLY_QUOTES):
        mend = STRAIGHT_QUOTES
    elif first == "file":
        mend = (
            "prompts of a file are named without a dash or brackets: prompts: {file: prompts.txt}"
        )
    elif typo is None:
        mend = f"put the prompt in quotes; {mend}"
    else:
        mend = f'did you mean "prompt"? {mend}'
    return source.problem(
        item.place,
        "this prompt became a mapping"
        + (f': YAML took "{first}" for a key' if len(first) < 60 else ""),
        hint=mend,
    )


def prompt_cut_short(source: Source, prompt: Node) -> Problem | None:
    """Point out a prompt whose end YAML took for a comment."""
    return _cut_short(source, prompt, "this prompt", "the prompt")


def value_cut_short(
    source: Source, name: str, value: Node, table: Mapping[str, Parameter] | None
) -> Problem | None:
    """Point out a value of free text whose end YAML took for a comment.

    A text that is one of a parameter's choices is whole, whatever follows it.
    """
    parameter = table.get(name) if table is not None else None
    if parameter is not None and (parameter.choices or parameter.type not in ("string", "any")):
        return None
    return _cut_short(source, value, f"the text of {name}", "the text")


def _cut_short(source: Source, text: Node, what: str, short: str) -> Problem | None:
    if (
        not text.plain
        or not isinstance(text.value, str)
        or not _cut_at(source.line(text.last), text.end)
    ):
        return None
    return source.problem(
        replace(text.place, line=text.last, column=text.end),
        f'{what} was cut: YAML took " #" for the start of a comment',
        hint=f"put {short} in quotes",
    )


def _cut_at(line: str, end: int) -> bool:
    rest = line[end - 1 :]
    # "# note" with its space is a comment somebody meant; "#5" or "#fox" hardly is.
    return rest.startswith(" #") and not rest.startswith(" # ") and rest.strip() != "#"
