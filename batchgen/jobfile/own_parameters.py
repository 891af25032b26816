"""`model_parameters`: what a job says of its model's parameters, laid over the built-in table.

Works on the nodes, like `check`, which needs the table to find the mistakes of the other sections.
"""

from collections.abc import Iterator
from dataclasses import replace

import pydantic

from batchgen.errors import Place, Problem
from batchgen.jobfile.schema import ParameterPart, type_only
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import Node
from batchgen.models import Parameter, parameters_of


def own_parameters(
    source: Source, root: Node, model: str
) -> tuple[tuple[Parameter, ...], list[Problem]]:
    """Return the parameters a job declares, and what makes no sense in them.

    One with a mistake takes anything, so that its values are not blamed for it. Mistakes of shape
    are said by the schema.
    """
    known = parameters_of(model) or {}
    parameters: list[Parameter] = []
    problems: list[Problem] = []
    for name, place, entry in _entries(root):
        if name in ("model", "prompt"):
            said = f"{name} is no parameter of its own"
            problems.append(source.problem(place, said, width=len(name)))
            continue
        parameter = _laid_over(known.get(name, Parameter(name, "any")), entry)
        if (flaw := parameter.flaw()) is not None:
            problems.append(source.problem(place, flaw, width=len(name)))
            parameter = Parameter(name, "any")
        parameters.append(parameter)
    return tuple(parameters), problems


def _entries(root: Node) -> Iterator[tuple[str, Place, Node]]:
    section = root.value.get("model_parameters")
    if section is not None and isinstance(section.value, dict):
        for name, entry in section.value.items():
            yield name, section.keys[name], entry


def _laid_over(known: Parameter, entry: Node) -> Parameter:
    try:
        part = ParameterPart.model_validate(type_only(entry.bare()))
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
