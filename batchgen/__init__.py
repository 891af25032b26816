"""Batches of text-to-video generations from a YAML file: every video on disk, each paid for once.

The whole tool as a library:

    import anyio, batchgen

    job = batchgen.load_job("job.yaml")
    for task in batchgen.expand(job):
        print(task.index, task.task_id, task.params)

    async def night() -> None:
        async with batchgen.watch_job(job) as events:
            async for event in events:
                print(event)
        print(events.summary)

    anyio.run(night)
"""

from typing import TYPE_CHECKING, Any

from batchgen._version import __version__

if TYPE_CHECKING:
    from batchgen.again import Again
    from batchgen.errors import (
        BatchgenError,
        ExitCode,
        JobFileError,
        LedgerError,
        Place,
        Problem,
        ProviderRefused,
        RunDirectoryError,
        RunLocked,
        UsageError,
    )
    from batchgen.events import Counted, Event, Level, Notice, Reason, Summary, TaskMoved
    from batchgen.expansion import count, expand
    from batchgen.job import (
        Axis,
        Budget,
        Derived,
        Job,
        Order,
        Output,
        Prompt,
        ProviderSettings,
        RunSettings,
    )
    from batchgen.jobfile import Overrides, load_job
    from batchgen.providers.base import Provider
    from batchgen.session import Events, run_job, watch_job
    from batchgen.task import Status, Task

_HOME = {
    "batchgen.again": ("Again",),
    "batchgen.errors": (
        "BatchgenError", "ExitCode", "JobFileError", "LedgerError", "Place", "Problem",
        "ProviderRefused", "RunDirectoryError", "RunLocked", "UsageError",
    ),
    "batchgen.events": (
        "Counted", "Event", "Level", "Notice", "Reason", "Summary", "TaskMoved",
    ),
    "batchgen.expansion": ("count", "expand"),
    "batchgen.job": (
        "Axis", "Budget", "Derived", "Job", "Order", "Output", "Prompt", "ProviderSettings",
        "RunSettings",
    ),
    "batchgen.jobfile": ("Overrides", "load_job"),
    "batchgen.providers.base": ("Provider",),
    "batchgen.session": ("Events", "run_job", "watch_job"),
    "batchgen.task": ("Status", "Task"),
}  # fmt: skip

__all__ = [
    "Again",
    "Axis",
    "BatchgenError",
    "Budget",
    "Counted",
    "Derived",
    "Event",
    "Events",
    "ExitCode",
    "Job",
    "JobFileError",
    "LedgerError",
    "Level",
    "Notice",
    "Order",
    "Output",
    "Overrides",
    "Place",
    "Problem",
    "Prompt",
    "Provider",
    "ProviderRefused",
    "ProviderSettings",
    "Reason",
    "RunDirectoryError",
    "RunLocked",
    "RunSettings",
    "Status",
    "Summary",
    "Task",
    "TaskMoved",
    "UsageError",
    "__version__",
    "count",
    "expand",
    "load_job",
    "run_job",
    "watch_job",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `batchgen --help` needs none of them."""
    import importlib  # noqa: PLC0415

    for module, its_names in _HOME.items():
        if name in its_names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
