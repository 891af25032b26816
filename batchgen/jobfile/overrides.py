"""What the command line or a program changes in a job file, and whether that changes anything."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from batchgen.errors import JobFileError, Place, UsageError
from batchgen.job import Job
from batchgen.jobfile.schema import MAX_CONCURRENCY, ProviderPart
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.yaml12 import Node, read, resolve
from batchgen.urls import base_url_objection

COMMAND_LINE: Final = "--set"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line or a program changes in a job; None leaves the file's word.

    Attributes:
        provider: Kind of the provider.
        base_url: Root of the provider's API.
        output: The run directory.
        concurrency: Generations in flight, at most.
        defaults: `key=value` texts, laid over the file's `defaults`.
    """

    provider: str | None = None
    base_url: str | None = None
    output: Path | None = None
    concurrency: int | None = None
    defaults: tuple[str, ...] = ()


def check_overrides(overrides: Overrides) -> None:
    """Refuse what the schema would refuse in a file."""
    kinds = get_args(ProviderPart.model_fields["kind"].annotation)
    if overrides.provider is not None and overrides.provider not in kinds:
        hint = did_you_mean(overrides.provider, kinds)
        raise UsageError(f"there is no provider {overrides.provider!r}; {hint}")
    if overrides.concurrency is not None and not 1 <= overrides.concurrency <= MAX_CONCURRENCY:
        raise UsageError(f"concurrency is 1 to {MAX_CONCURRENCY}, not {overrides.concurrency}")
    if overrides.base_url and (objection := base_url_objection(overrides.base_url)):
        raise UsageError(objection.replace("base_url", "--base-url", 1))


def lay_over(root: Node, overrides: Overrides) -> None:
    """Lay `--set key=value` over `defaults`."""
    for text in overrides.defaults:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{COMMAND_LINE} takes key=value, and one of them has no key or no =")
        defaults = root.value.get("defaults")
        if defaults is None or defaults.value is None:
            defaults = Node({}, Place(COMMAND_LINE))
        if isinstance(defaults.value, dict):
            # The value is left out: somebody may have put a key there.
            place = Place(f"{COMMAND_LINE} {name.strip()}")
            # A new node: an alias may have put the old one in other places too.
            root.value["defaults"] = replace(
                defaults,
                value={**defaults.value, name.strip(): Node(_typed(value.strip()), place)},
                keys={**defaults.keys, name.strip(): place},
            )


def _typed(text: str) -> object:
    """Read the value of `--set` as YAML reads a scalar, quoted or not."""
    if text[:1] not in ("'", '"'):
        return resolve(text)
    try:
        value = read(Source(COMMAND_LINE, text)).value
    except JobFileError:
        value = None
    if not isinstance(value, str):
        raise UsageError(f"{COMMAND_LINE}: the quotes do not enclose the whole value")
    return value


def without_effect(job: Job, overrides: Overrides) -> Iterator[str]:
    """Say which of the values laid over `defaults` no video has: something stronger gives its own.

    Args:
        job: The job, with the values laid over.
        overrides: Where they come from.
    """
    axes = {axis.name for axis in (*job.matrix, *job.zip)}
    joined = [row for row in job.include if "prompt" not in row]
    alone = [row for row in job.include if "prompt" in row]
    for name in dict.fromkeys(text.partition("=")[0].strip() for text in overrides.defaults):
        open_prompts = any(name not in prompt.own for prompt in job.prompts)
        if open_prompts and (name not in axes or any(name not in row for row in joined)):
            continue
        if any(name not in row for row in alone):
            continue
        stronger = f"{name} is an axis" if name in axes else "every prompt has a value of its own"
        yield f"{COMMAND_LINE} {name} changes nothing: {stronger}, which is stronger than defaults"
