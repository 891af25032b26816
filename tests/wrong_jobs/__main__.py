"""`python -m tests.wrong_jobs`: write what is printed beside each wrong job."""

from tests.wrong_jobs import JOBS, expected, printed

for job in JOBS:
    expected(job).write_text(printed(job), encoding="utf-8")
