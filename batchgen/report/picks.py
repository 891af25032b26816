"""What a job of picked videos needs beside their rows: the page writes it above them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from batchgen.job import Job
from batchgen.models import Parameter, Scalar, parameters_of

Entry = Mapping[str, Scalar | tuple[Scalar, ...]]
"""A parameter as `model_parameters` says it."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a run's videos, as far as no row tells it.

    Attributes:
        model: The model of which `parameters` are.
        provider: Keys of the job file's `provider` beside kind and model. The address comes with
            the name of its key: another's key must not be sent to it.
        parameters: The job file's `model_parameters`, without which its rows would not fit.
    """

    model: str = ""
    provider: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job) -> Self:
        """Take it from the job."""
        settings = job.provider
        known = {"base_url": settings.base_url, "api_key_env": settings.api_key_env}
        table = parameters_of(settings.model) or {}
        return cls(
            model=settings.model,
            provider={name: value for name, value in known.items() if value is not None},
            parameters={
                parameter.name: _entry(parameter, table.get(parameter.name))
                for parameter in job.model_parameters
            },
        )


def _entry(parameter: Parameter, known: Parameter | None) -> Entry:
    """Write a parameter so that, laid over the built-in one, it is itself again."""
    known = known or Parameter(parameter.name, "any")
    said = {
        name: getattr(parameter, name)
        for name in ("choices", "minimum", "maximum", "default", "ignored", "rewrites_prompt")
        if getattr(parameter, name) != getattr(known, name)
    }
    return {
        "type": parameter.type,
        **{name: value for name, value in said.items() if value not in (None, ())},
    }
