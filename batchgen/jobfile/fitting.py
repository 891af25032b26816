"""Does a value fit its parameter, and how would one that does be written?"""

from collections.abc import Mapping
from typing import Final

from batchgen import templates
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.values import number_range
from batchgen.jobfile.yaml12 import resolve
from batchgen.models import Parameter, Scalar

_WORDS: Final = {
    **dict.fromkeys(("yes", "y", "on", "1", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "0", "false"), "false"),
}
"""How people say true and false."""


def misfit(
    table: Mapping[str, Parameter] | None, name: str, value: object
) -> tuple[str, str] | None:
    """Say what is wrong with a parameter's value and how to mend it, or None where it fits.

    What the table does not know fits: it may be a variable, or the model has no table. What is no
    scalar is the schema's to object to.
    """
    if isinstance(value, list | dict) or value is None:
        return None
    parameter = table.get(name) if table is not None else None
    objection = parameter.objection(value) if parameter is not None else None
    if parameter is None or objection is None:
        return None
    return objection, _mend(parameter, value)


def in_quotes(value: Scalar) -> str:
    """Say how to write a value so that it is text."""
    return f'write it in quotes: "{templates.text(value)}"'


def _mend(parameter: Parameter, value: object) -> str:
    if parameter.type == "boolean" and (word := _WORDS.get(str(value).lower())) is not None:
        return f"write {word}"
    if isinstance(value, int | float):
        return in_quotes(value) if parameter.type == "string" else ""
    if parameter.choices:
        return did_you_mean(str(value), map(str, parameter.choices))
    if isinstance(value, str) and parameter.type != "string":
        if isinstance(resolve(value.strip()), int | float):
            return f"write it without quotes: {parameter.name}: {value.strip()}"
        if _is_range(value):
            return f"a range goes under matrix, without brackets: {parameter.name}: {value.strip()}"
    return ""


def _is_range(text: str) -> bool:
    try:
        return number_range(text) is not None
    except ValueError:
        return True
