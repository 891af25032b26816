"""Prompts that stand in a table: the starter, and the examples of docs/job-file.md."""

from pathlib import Path

import pytest

from batchgen.expansion import count, expand
from batchgen.jobfile import load_job
from tests.test_job_file_page import TABLED, Block, expected, load

STARTERS = Path(__file__).parents[1] / "batchgen" / "cli" / "starters"


def test_the_starter_with_a_table_makes_its_rows_at_two_shifts() -> None:
    job = load_job(STARTERS / "csv.yaml")
    assert not job.warnings
    tasks = list(expand(job))
    assert [task.prompt_id for task in tasks] == ["fox", "fox", "owl", "owl", "tram", "tram"]
    assert tasks[0].prompt == "a red fox trots through fresh snow, slow dolly-in"
    assert [task.params["aspect_ratio"] for task in tasks[::2]] == ["16:9", "9:16", "16:9"]
    assert [task.params["shift"] for task in tasks[:2]] == [3, 8]
    assert tasks[4].params["seed"] == 7
    assert tasks[0].params["seed"] == tasks[2].params["seed"]


@pytest.mark.parametrize("block", TABLED, ids=lambda block: f"line {block.line}")
def test_a_block_of_the_page_with_prompts_in_a_table_makes_what_it_says(
    block: Block, tmp_path: Path
) -> None:
    job = load(block, tmp_path)
    assert not job.warnings
    assert count(job) == len(list(expand(job))) == expected(block)
