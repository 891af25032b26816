"""From a YAML file to a Job, or to every mistake in it at once."""

from batchgen.jobfile.load import Overrides, load_job

__all__ = ["Overrides", "load_job"]
