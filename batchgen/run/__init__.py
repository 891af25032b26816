"""The run of a job: carries tasks through submit, wait and download."""

from batchgen.run.run import Run

__all__ = ["Run"]
