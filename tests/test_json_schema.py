"""The schema that editors read refuses nothing that loads, and mistakes that a shape can show."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import JobFileError
from batchgen.jobfile import Overrides
from batchgen.jobfile.json_schema import job_schema
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.schema import JobDocument
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import read
from batchgen.models import TABLES
from tests.test_jobfile import (
    EVERYTHING_ELSE,
    GRID,
    OVERNIGHT,
    OWN_VALUES,
    QUICKSTART,
    VARIABLES,
)

REPO = Path(__file__).parents[1]
SCHEMA = job_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
JOBS = [*(REPO / "jobs").glob("*.yaml"), *(REPO / "batchgen/cli/starters").glob("*.yaml")]
WHOLE = """\
version: 1
name: Füchse 2
prompts:
- A fox
- {prompt: "A ${word}", id: owl, seed: 7, word: hen}
defaults: {aspect_ratio: 16:9, word: cat, shift: 2.5, enable_safety_checker: true}
matrix: {seed: {random: 3, per: prompt}, guidance_scale: 3-9 (+2), word: [cat, dog], fps: 24}
zip: {sampler: [unipc, dpm+], inference_steps: "10-20 [2]"}
exclude: [{seed: 3}]
include: [{prompt: A hare, id: hare, seed: 1}]
repeat: 2
salt: 7
model_parameters:
  fps: {type: integer, choices: [24, 30], default: 24}
  style: string
  quality: {type: number, minimum: 0, maximum: 1.5, ignored: true, rewrites_prompt: false}
notify: {url_env: NIGHT_CHANNEL, on: [stop]}
"""


MISTAKES = [
    "promts: [A fox]",
    "prompts: A fox",
    "prompts: [{prmpt: A fox}]",
    "prompts: {fil: prompts.txt}",
    "version: 2",
    "version: true",
    "repeat: 0",
    "repeat: twice",
    "name: a/b",
    "defaults: [seed]",
    "defaults: {seed: [1]}",
    "matrix: {sampler: unipc}",
    "matrix: {seed: []}",
    "matrix: {seed: {random: 0}}",
    "matrix: {seed: {random: 2, per: cell}}",
    "matrix: {seed: }",
    "exclude: {seed: 1}",
    "include: [seed]",
    "provider: aimlap",
    "provider: {kind: aimlap}",
    "provider: {modl: x}",
    "provider: {api_key_env: 5}",
    "run: {concurency: 8}",
    "run: {concurrency: 0}",
    "run: {concurrency: many}",
    "run: {rate_limit: fast}",
    "run: {order: random}",
    "run: {poll: {max: 30 sec}}",
    "run: {retry: {backoff: 1s}}",
    "run: {timeout: {request: -1}}",
    "run: {stop_at: 25:00}",
    "run: {stop_if_failures: some}",
    "run: {on_ambiguous: guess}",
    "budget: {max_usd: 0}",
    "budget: {max_tasks: all}",
    "budget: {max_eur: 5}",
    "output: {dir: 5}",
    "output: {folder: x}",
    "notify: {on: [never]}",
    "notify: {on: []}",
    "notify: {url: x}",
    "notify: always",
    "model_parameters: {shift: integr}",
    "model_parameters: {shift: {min: 3}}",
    "model_parameters: {shift: {choices: []}}",
]


def plain(text: str) -> Any:
    return read(Source("job.yaml", text)).bare()


def loads(document: Any) -> bool:
    # JSON is YAML.
    try:
        parse_job(Source("job.yaml", json.dumps(document)), Path("job.yaml"), Overrides())
    except JobFileError:
        return False
    return True


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_the_schema_is_one_of_the_draft_that_editors_read() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_job_that_comes_with_the_project_fits_the_schema(path: Path) -> None:
    VALIDATOR.validate(plain(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "text", [QUICKSTART, OVERNIGHT, GRID, VARIABLES, OWN_VALUES, EVERYTHING_ELSE, WHOLE]
)
def test_the_examples_of_the_contract_fit_the_schema(text: str) -> None:
    VALIDATOR.validate(plain(text))


def test_jobs_that_are_written_out_load() -> None:
    for text in (WHOLE, EVERYTHING_ELSE, OWN_VALUES):
        assert loads(plain(text))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_shape_is_refused_by_both(mistake: str) -> None:
    document = {"prompts": ["A fox"], **plain(mistake)}
    assert not loads(document)
    assert not VALIDATOR.is_valid(document)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([0.5, 1.0, 5e9, 10**20]),
    st.sampled_from(["none", "auto", "30s", "1m30s", "1s-60s", "5s-1s", "60/min", "5/s", "07:30"]),
    st.sampled_from(["1-4", "4-1", "3-9[4]", "10", "finish", "sandbox"]),
    st.sampled_from(["", " ", "3-9 (+2)", " 1 - 4 ", "10 in a row", "a b", "number", "${x}"]),
    st.sampled_from([[], {}, [1], ["a", True], {"random": 2}, {"prompt": "a"}, {"file": "b.txt"}]),
)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A job in which one to three places hold something else, or are gone, or have a neighbour."""
    text = draw(st.sampled_from([WHOLE, EVERYTHING_ELSE, OWN_VALUES]))
    document = copy.deepcopy(plain(text))
    for _ in range(draw(st.integers(1, 3))):
        holder = draw(st.sampled_from([document, *(node for node in nodes(document) if node)]))
        key = draw(st.sampled_from([*holder, "seed", "extra"]))
        if draw(st.booleans()) and key in holder:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(draw(ODD))
    return document


@settings(max_examples=200, deadline=None)
@given(documents())
def test_the_schema_refuses_nothing_that_loads(document: Any) -> None:
    if loads(document):
        VALIDATOR.validate(document)


def test_every_key_says_what_it_is() -> None:
    parts = [SCHEMA, *SCHEMA["definitions"].values()]
    for name, key in ((name, key) for part in parts for name, key in keys_of(part).items()):
        meant = SCHEMA["definitions"].get(key.get("$ref", "").rpartition("/")[2], key)
        assert key.get("description") or meant.get("description"), name


def keys_of(part: dict[str, Any]) -> dict[str, Any]:
    keys: dict[str, Any] = part.get("properties", {})
    return keys


def defaults_written(model: type[pydantic.BaseModel], part: dict[str, Any]) -> Iterator[str]:
    """Yield the keys that have a default in the schema, each found to be the loader's."""
    left_out = model.model_validate({})
    for name, field in model.model_fields.items():
        if "default" in (key := keys_of(part)[name]):
            written = model.model_validate({name: key["default"]})
            assert getattr(written, name) == getattr(left_out, name), name
            yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            inner = SCHEMA["definitions"][field.annotation.__name__]
            yield from defaults_written(field.annotation, inner)


def test_every_default_that_an_editor_writes_is_the_default() -> None:
    found = {*defaults_written(JobDocument, SCHEMA)}
    assert {"rate_limit", "stop_at", "backoff", "model", "max_usd", "url_env", "kind"} <= found


def test_the_parameters_of_all_known_models_are_offered_and_no_other_name_is_refused() -> None:
    names = {name for table in TABLES.values() for name in table} - {"prompt"}
    keys = SCHEMA["properties"]
    for section in ("defaults", "matrix", "zip", "model_parameters"):
        assert names <= keys[section]["properties"].keys()
    assert names <= SCHEMA["definitions"]["PromptEntry"]["properties"].keys()
    sampler = keys["defaults"]["properties"]["sampler"]
    assert sampler["description"] == (
        "unipc or dpm+; unipc when left out (wan/v2.1/1.3b/text-to-video)"
    )
    assert sampler["anyOf"][0] == {"enum": ["unipc", "dpm+"]}
    VALIDATOR.validate(plain("prompts: [A fox]\ndefaults: {sampler: of tomorrow, animal: owl}"))
