"""The faults of a night: every kind, a fifth of the requests of each phase."""

from typing import Any


def fault_plan(seed: int) -> dict[str, Any]:
    """Return the plan, in the form that `batchgen serve --faults` takes."""
    return {"seed": seed, "faults": []}
