"""docs/job-file.md: every block is a job that makes what it says, and every key is there."""

import re
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pydantic
import pytest

from batchgen.expansion import count, expand
from batchgen.job import Job
from batchgen.jobfile import Overrides
from batchgen.jobfile.json_schema import job_schema
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.schema import JobDocument, ParameterPart, PromptEntry, PromptFile
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import read
from batchgen.models import TABLES

PAGE = (Path(__file__).parents[1] / "docs" / "job-file.md").read_text("utf-8")


class Block(NamedTuple):
    """A fenced block: its language, the file it shows if it shows one, its first line."""

    language: str
    file: str
    line: int
    text: str


def blocks() -> list[Block]:
    fences = re.finditer(r"^```(\w+) ?(\S*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [
        Block(found[1], found[2], PAGE[: found.start()].count("\n") + 2, found[3])
        for found in fences
    ]


JOBS = [block for block in blocks() if block.language == "yaml" and not block.file]
TABLED = [job for job in JOBS if re.search(r"file: \S+\.(csv|jsonl|yaml)", job.text)]


def load(block: Block, folder: Path) -> Job:
    for other in blocks():
        if other.file:
            (folder / other.file).write_text(other.text, "utf-8")
    return parse_job(Source("job-file.md", block.text), folder / "job.yaml", Overrides())


def expected(block: Block) -> int:
    said = re.search(r"# (\d+) tasks?\b", block.text)
    assert said is not None, "a block says how many tasks it makes"
    return int(said[1])


@pytest.mark.parametrize(
    "block", [job for job in JOBS if job not in TABLED], ids=lambda block: f"line {block.line}"
)
def test_a_block_makes_as_many_tasks_as_it_says(block: Block, tmp_path: Path) -> None:
    job = load(block, tmp_path)
    assert not job.warnings
    assert count(job) == len(list(expand(job))) == expected(block)


@pytest.mark.parametrize("block", JOBS, ids=lambda block: f"line {block.line}")
def test_an_editor_underlines_nothing_in_a_block(block: Block) -> None:
    jsonschema.validate(read(Source("job-file.md", block.text)).bare(), job_schema())


def keys(model: type[pydantic.BaseModel]) -> set[str]:
    found = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            found |= keys(field.annotation)
    return found


@pytest.mark.parametrize("model", [JobDocument, PromptEntry, PromptFile, ParameterPart])
def test_every_key_stands_in_an_example(model: type[pydantic.BaseModel]) -> None:
    shown = "\n".join(job.text for job in JOBS)
    for key in keys(model):
        assert re.search(rf"(^|[\s{{,]){key}:", shown), key


def test_every_known_model_and_each_of_its_parameters_is_named() -> None:
    for model, table in TABLES.items():
        assert f"`{model}`" in PAGE
        # An older name of another parameter is not advertised.
        for name in table.keys() - {"enhance_prompt"}:
            assert f"`{name}`" in PAGE, name


def test_every_section_is_reached_from_the_top() -> None:
    for title in re.findall(r"^## (.+)$", PAGE, re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        assert f"(#{anchor})" in PAGE, title
