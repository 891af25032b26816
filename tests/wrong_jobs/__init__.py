"""Wrong job files, each with the exact text that is printed for it in the .txt file of its name.

`python -m tests.wrong_jobs` writes these texts anew; whoever does reads the difference, as a person
who meets the message for the first time would.
"""

from contextlib import chdir
from pathlib import Path
from typing import Final

import pytest

from batchgen.errors import JobFileError
from batchgen.jobfile import load_job

FOLDER: Final = Path(__file__).parent
JOBS: Final = sorted(FOLDER.glob("*.yaml"))


def printed(job: Path) -> str:
    """Return what is said about a wrong job, loaded from its own folder."""
    with chdir(job.parent), pytest.raises(JobFileError) as caught:
        load_job(job.name)
    return f"{caught.value}\n"


def expected(job: Path) -> Path:
    """Return the file that holds what is to be said."""
    return job.with_suffix(".txt")
