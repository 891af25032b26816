"""Parameter tables of the models, as data: adding a model is adding a table.

Pure. Knows nothing of job files, providers or the wire; it only says which parameters a model takes
and whether a value fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

TypeName = Literal["string", "integer", "number", "boolean"]

Scalar = str | int | float | bool
"""A parameter's value as JSON carries it."""

WAN_1_3B: Final = "wan/v2.1/1.3b/text-to-video"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a model, as the API documents it.

    Attributes:
        name: The key in the request body.
        type: JSON type; an integer is also a number.
        default: What the API takes when the parameter is not sent; None where it does not say.
        choices: The allowed values, empty when any value of the type will do.
        minimum: Smallest allowed number, inclusive.
    """

    name: str
    type: TypeName
    default: Scalar | None = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None

    def objection(self, value: object) -> str | None:
        """Say in words what is wrong with `value`, or None when it fits."""
        # A bool is an int to Python, but never to JSON.
        kinds = _KINDS[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            return f"{self.name} takes {_ARTICLE[self.type]}, not {describe(value)}"
        if self.choices and value not in self.choices:
            return f"{self.name} takes {' or '.join(self.choices)}, not {describe(value)}"
        if self.minimum is not None and isinstance(value, int | float) and value < self.minimum:
            return f"{self.name} takes {self.minimum:g} or more, not {describe(value)}"
        return None


_KINDS: Final = {"string": str, "integer": int, "number": int | float, "boolean": bool}
_ARTICLE: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def describe(value: object) -> str:
    """Name a value for an error message, with its kind where that is the mistake."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            shown = value if len(value) <= 40 else value[:39] + "…"
            return f"the text {shown!r}"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return type(value).__name__


def _table(*parameters: Parameter) -> Mapping[str, Parameter]:
    return MappingProxyType({parameter.name: parameter for parameter in parameters})


_PROMPT = Parameter("prompt", "string")
_NEGATIVE = Parameter("negative_prompt", "string")
_SEED = Parameter("seed", "integer", minimum=0)
_WAN_PRO: Final = _table(
    _PROMPT,
    Parameter("resolution", "string"),
    Parameter("aspect_ratio", "string"),
    _NEGATIVE,
    Parameter("watermark", "boolean"),
    _SEED,
    Parameter("enhance_prompt", "boolean", default=True),
)

TABLES: Final[Mapping[str, Mapping[str, Parameter]]] = MappingProxyType(
    {
        WAN_1_3B: _table(
            _PROMPT,
            _NEGATIVE,
            _SEED,
            Parameter("aspect_ratio", "string", default="16:9", choices=("16:9", "9:16")),
            Parameter("inference_steps", "integer", default=30, minimum=1),
            Parameter("guidance_scale", "number", default=5, minimum=0),
            Parameter("shift", "number", default=5, minimum=0),
            Parameter("sampler", "string", default="unipc", choices=("unipc", "dpm+")),
            Parameter("enable_safety_checker", "boolean"),
            Parameter("enable_prompt_expansion", "boolean"),
        ),
        "alibaba/wan2.1-t2v-turbo": _WAN_PRO,
        "alibaba/wan2.1-t2v-plus": _WAN_PRO,
    }
)
"""Model name -> parameter name -> parameter, `model` itself left out.

Figures: the API's documentation of August 2026. A model that is not here takes any parameters.
"""


def parameters_of(model: str) -> Mapping[str, Parameter] | None:
    """Return the model's table, or None when it has none and takes anything."""
    return TABLES.get(model)
