"""Does a value fit its parameter, and how would one that does be written?"""

from collections.abc import Mapping
from typing import Final

from batchgen import templates
from batchgen.jobfile.fields import scalar
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.values import meant_range, number_range
from batchgen.jobfile.yaml12 import resolve
from batchgen.models import Parameter, Scalar

_WORDS: Final = {
    **dict.fromkeys(("yes", "y", "on", "1", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "0", "false"), "false"),
}
"""How people say true and false."""
_ANY_SEED: Final = ("-1", "auto", "none", "rand", "random")
"""How other tools ask for any seed."""


def misfit(
    table: Mapping[str, Parameter] | None, name: str, value: object
) -> tuple[str, str] | None:
    """Say what is wrong with a parameter's value and how to mend it, or None where it fits.

    The value is judged as the schema reads it. What the table does not know fits: it may be a
    variable, or the model has no table. What is no scalar is the schema's to object to.
    """
    try:
        value = scalar(value)
    except ValueError:
        return None
    parameter = table.get(name) if table is not None else None
    objection = parameter.objection(value) if parameter is not None else None
    if parameter is None or objection is None:
        return None
    return objection, _mend(parameter, value)


def in_quotes(value: Scalar) -> str:
    """Say how to write a value so that it is text."""
    return f'write it in quotes: "{templates.text(value)}"'


def _mend(parameter: Parameter, value: Scalar) -> str:
    if parameter.type == "boolean" and (word := _WORDS.get(str(value).lower())) is not None:
        return f"write {word}"
    if parameter.name == "seed" and str(value).lower() in _ANY_SEED:
        return "leave it out, and one is derived; for several: matrix: {seed: {random: 4}}"
    if parameter.name == "seed" and _is_above(value, parameter.maximum):
        return f"if your model takes it: model_parameters: {{seed: {{maximum: {value}}}}}"
    if isinstance(value, int | float) and parameter.type != "string":
        return ""
    if "\N{FULLWIDTH COMMA}" in str(value):
        return "the comma between two values is , and no \N{FULLWIDTH COMMA}"
    if parameter.choices and templates.text(value) not in parameter.choices:
        return did_you_mean(str(value), map(str, parameter.choices))
    if isinstance(value, int | float):
        return in_quotes(value)
    if parameter.type != "string":
        if isinstance(resolve(value.strip()), int | float):
            return f"write it without quotes: {parameter.name}: {value.strip()}"
        if (written := _range_meant(value)) is not None:
            return f"a range goes under matrix, without brackets: {parameter.name}: {written}"
    return ""


def _is_above(value: Scalar, maximum: float | None) -> bool:
    """Tell whether it is a whole number that is too large; one of very many digits is a slip."""
    return type(value) is int and maximum is not None and maximum < value < 2**64


def _range_meant(text: str) -> str | None:
    try:
        return text.strip() if number_range(text) is not None else meant_range(text)
    except ValueError:
        return text.strip()  # a range, if one that makes no sense
