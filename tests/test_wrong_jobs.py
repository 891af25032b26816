"""What is printed for each wrong job of `tests/wrong_jobs`, to the letter.

Where a message was changed on purpose, `python -m tests.wrong_jobs` writes the new ones.
"""

from pathlib import Path

import pytest

from tests.wrong_jobs import FOLDER, JOBS, expected, printed


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_what_is_said_of_a_wrong_job_is_said_to_the_letter(job: Path) -> None:
    assert printed(job) == expected(job).read_text(encoding="utf-8")


def test_every_text_belongs_to_a_wrong_job() -> None:
    assert sorted(FOLDER.glob("*.txt")) == sorted(map(expected, JOBS))


def test_every_message_names_its_place_and_speaks_no_parser_s_language() -> None:
    for job in JOBS:
        said = expected(job).read_text(encoding="utf-8")
        assert said.startswith((f"{job.name}:", "lists/"))
        for foreign in (
            "pydantic",
            "did not find",
            "could not find",
            "token",
            "Expecting",
            "input",
        ):
            assert foreign not in said, job.name
