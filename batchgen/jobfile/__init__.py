"""From a YAML file to a Job, or to every mistake in it at once."""

from batchgen.jobfile.load import load_job
from batchgen.jobfile.overrides import Overrides

__all__ = ["Overrides", "load_job"]
