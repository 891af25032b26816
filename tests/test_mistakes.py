"""A mistake is said once, and is the same mistake beside any other."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from batchgen.errors import JobFileError
from batchgen.jobfile import load_job

Row = Mapping[str, Any]
Files = dict[str, str]


def said(files: Files) -> frozenset[str]:
    """Return what is said of a job, places left out: they move with what stands before them."""
    with TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        try:
            load_job(Path(folder, "job.yaml"))
        except JobFileError as error:
            return frozenset(problem.message for problem in error.problems)
    return frozenset()


def listed(row: Row) -> Files:
    return {"job.yaml": f"prompts: [An owl, {json.dumps(row)}]"}


def jsonl(row: Row) -> Files:
    return {"job.yaml": "prompts: {file: p.jsonl}", "p.jsonl": f'"An owl"\n{json.dumps(row)}\n'}


def table(row: Row) -> Files:
    sheet = io.StringIO()
    lines = csv.writer(sheet)
    lines.writerow(row)
    lines.writerow(row.values())
    return {"job.yaml": "prompts: {file: p.csv}", "p.csv": sheet.getvalue()}


def included(row: Row) -> Files:
    return {"job.yaml": f"prompts: [An owl]\ninclude: [{json.dumps(row)}]"}


def defaults(row: Row) -> Files:
    values = {name: value for name, value in row.items() if name != "prompt"}
    return {"job.yaml": f"prompts: [An owl]\ndefaults: {json.dumps(values)}"}


def excluded(row: Row) -> Files:
    values = {name: value for name, value in row.items() if name != "prompt"}
    rows = json.dumps([{"seed": 2}, values])
    return {"job.yaml": f"prompts: [An owl]\nmatrix: {{seed: 1-3}}\nexclude: {rows}"}


VALUES: Final[list[tuple[str, Any]]] = [
    ("seed", 7.0),
    ("seed", "x"),
    ("seed", [1]),
    ("shift", 3.0),
    ("shift", float("inf")),
    ("negative_prompt", ["a"]),
    ("negative_prompt", 7.0),
    ("sampler", 1.0),
    ("inference_steps", 30.0),
    ("inference_steps", 20.5),
    ("aspect_ratio", "1:1"),
    ("enable_safety_checker", 1),
    ("id", 4),
    ("cfg", 5),
    ("nobody", [1]),
    ("prompt", ["a"]),
]


@pytest.mark.parametrize("write", [listed, jsonl, table, included, defaults, excluded])
def test_a_mistake_is_the_same_one_beside_any_other(write: Callable[[Row], Files]) -> None:
    @cache
    def alone(number: int) -> frozenset[str]:
        return said(write(dict([("prompt", "A fox"), VALUES[number]])))

    for first, second in combinations(range(len(VALUES)), 2):
        both = dict([("prompt", "A fox"), VALUES[first], VALUES[second]])
        assert said(write(both)) <= alone(first) | alone(second), both


@pytest.mark.parametrize(
    "job",
    [
        "defaults: {nobody: [1]}",
        "defaults: {prompt: [1]}",
        "defaults: {model: null}",
        "exclude: [{nobody: {a: 1}}]",
        "include: [{nobody: .nan}]",
        "matrix: {seed:1-4}",
        "matrix: {nobody: 1..4}",
        "zip: {nobody: [[1]]}",
        "defaults: {api_key: [1]}",
    ],
)
def test_a_name_that_is_refused_is_the_only_mistake_of_its_entry(job: str) -> None:
    assert len(said({"job.yaml": f"prompts: [A fox]\n{job}"})) == 1
