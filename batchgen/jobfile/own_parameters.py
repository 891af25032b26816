"""`model_parameters`: what a job says of its model's parameters, laid over the built-in table.

Works on the nodes, like `check`, which needs the table to find the mistakes of the other sections.
"""

from collections.abc import Iterator
from dataclasses import replace

import pydantic

from batchgen.errors import Problem
from batchgen.jobfile.schema import OneParameter, ParameterPart
from batchgen.jobfile.yaml12 import Node, Source
from batchgen.models import Parameter, parameters_of

_ENTRY: pydantic.TypeAdapter[ParameterPart] = pydantic.TypeAdapter(OneParameter)


def own_parameters(root: Node, model: str) -> tuple[Parameter, ...]:
    """Return the parameters a job declares; one that cannot be read takes anything.

    What is wrong in it is said by the schema.
    """
    known = parameters_of(model) or {}
    return tuple(
        _laid_over(known.get(name, Parameter(name, "any")), entry)
        for name, entry in _entries(root)
        if name not in ("model", "prompt")
    )


def problems_of(source: Source, root: Node, parameters: tuple[Parameter, ...]) -> list[Problem]:
    """Say what is wrong in the parameters a job declares."""
    section = root.value.get("model_parameters")
    problems = [
        source.problem(section.keys[name], f"{name} is no parameter of its own", width=len(name))
        for name, _ in _entries(root)
        if name in ("model", "prompt")
    ]
    for parameter in parameters:
        if (flaw := parameter.flaw()) is not None:
            place = section.keys[parameter.name]
            problems.append(source.problem(place, flaw, width=len(parameter.name)))
    return problems


def _entries(root: Node) -> Iterator[tuple[str, Node]]:
    section = root.value.get("model_parameters")
    if section is not None and isinstance(section.value, dict):
        yield from section.value.items()


def _laid_over(known: Parameter, entry: Node) -> Parameter:
    try:
        part = _ENTRY.validate_python(entry.bare())
    except pydantic.ValidationError:
        return Parameter(known.name, "any")
    written = part.model_dump(exclude_none=True)
    if "choices" in written:
        written["choices"] = tuple(written["choices"])
    laid = replace(known, **written)
    if "default" not in written and laid.default is not None and laid.objection(laid.default):
        # The built-in default belongs to the built-in table.
        laid = replace(laid, default=None)
    return laid
