"""The starter whose prompts stand in a table."""

from pathlib import Path

from batchgen.expansion import expand
from batchgen.jobfile import load_job

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
