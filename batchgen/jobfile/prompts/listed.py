"""Prompts as a list in YAML: `prompts:` of a job file, or a file that is such a list."""

from collections.abc import Iterable, Iterator
from functools import partial

from batchgen.errors import Problem
from batchgen.jobfile.prompts.traps import became_a_mapping, prompt_cut_short, value_cut_short
from batchgen.jobfile.prompts.written import PromptReader
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import Node, read_items


def read_list(source: Source, items: Iterable[Node], into: PromptReader) -> None:
    """Take each item as a prompt: text, or a mapping with the key `prompt`."""
    into.sources[source.name] = source
    for item in items:
        if (trap := became_a_mapping(source, item)) is not None:
            into.miss("became a mapping", trap)
            continue
        text = item.value.get("prompt", item) if isinstance(item.value, dict) else item
        if (trap := prompt_cut_short(source, text)) is not None:
            into.mistakes.note("was cut", trap)
        for trap in _cut_values(source, item, into):
            into.mistakes.note("was cut", trap)
        into.take(source, text.place, item.bare(), partial(_itself, item))


def _cut_values(source: Source, item: Node, into: PromptReader) -> Iterator[Problem]:
    """Find values of a prompt's own whose end is missing."""
    for name, value in item.value.items() if isinstance(item.value, dict) else ():
        if name != "prompt" and isinstance(value.value, str):
            trap = value_cut_short(source, name, value, into.table)
            if trap is not None:
                yield trap


def _itself(item: Node) -> Node:
    return item


def read_yaml(source: Source, into: PromptReader) -> None:
    """Take the prompts of a file that is a list.

    Raises:
        JobFileError: It is no YAML, or no list.
    """
    hint = "the file is the list itself, without `prompts:` above it"
    read_list(source, read_items(source, hint), into)
