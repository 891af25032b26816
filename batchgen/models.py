"""Parameter tables of the models, as data: adding a model is adding a table.

Pure. Knows nothing of job files, providers or the wire; it only says which parameters a model takes
and whether a value fits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

TypeName = Literal["string", "integer", "number", "boolean", "any"]
"""A parameter's type, as JSON Schema calls it; `any` of them where nobody says which."""

Scalar = str | int | float | bool
"""A parameter's value as JSON carries it."""

WAN_1_3B: Final = "wan/v2.1/1.3b/text-to-video"


def told_apart(value: Scalar) -> tuple[bool, Scalar]:
    """Return what tells a value from another: true is 1 to Python, but never to JSON."""
    return isinstance(value, bool), value


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a model, as the API documents it.

    Attributes:
        name: The key in the request body.
        type: JSON type; an integer is also a number.
        default: What the API takes when the parameter is not sent; None where it does not say.
        choices: The allowed values, empty when any value of the type will do.
        minimum: Smallest allowed number, inclusive.
        maximum: Largest allowed number, inclusive.
        ignored: Whether the model takes it and does the same whatever it is: no axis for a grid.
        rewrites_prompt: Whether, when true, another model rewrites the prompt, for each video anew:
            two seeds are then two texts.
    """

    name: str
    type: TypeName
    default: Scalar | None = None
    choices: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    ignored: bool = False
    rewrites_prompt: bool = False

    @property
    def _takes_booleans(self) -> bool:
        return self.type in ("boolean", "any")

    def objection(self, value: object) -> str | None:
        """Say in words what is wrong with `value`, or None when it fits."""
        # A bool is an int to Python, but never to JSON.
        kinds = _KINDS[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and not self._takes_booleans):
            return f"{self.name} takes {_ARTICLE[self.type]}, not {describe(value)}"
        if self.choices and told_apart(value) not in map(told_apart, self.choices):
            shown = " or ".join(map(str, self.choices))
            return f"{self.name} takes {shown}, not {describe(value)}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        if self.minimum is not None and value < self.minimum:
            return f"{self.name} takes {self.minimum:.15g} or more, not {describe(value)}"
        if self.maximum is not None and value > self.maximum:
            return f"{self.name} takes {self.maximum:.15g} or less, not {describe(value)}"
        return None

    def in_words(self) -> str:
        """Say what it takes: `a number, 0 to 100; 5 when left out`."""
        words = " or ".join(map(str, self.choices)) or _ARTICLE[self.type]
        match self.minimum, self.maximum:
            case None, None:
                pass
            case minimum, None:
                words += f", {minimum:.15g} or more"
            case None, maximum:
                words += f", {maximum:.15g} or less"
            case minimum, maximum:
                words += f", {minimum:.15g} to {maximum:.15g}"
        if self.default is None:
            return words
        shown = str(self.default).lower() if isinstance(self.default, bool) else self.default
        return f"{words}; {shown} when left out"

    def flaw(self) -> str | None:
        """Say in words what makes no sense in the parameter itself, or None when all does."""
        bounds = (self.minimum, self.maximum)
        if bounds != (None, None) and self.type in ("string", "boolean"):
            return f"{self.name} takes {_ARTICLE[self.type]}, which has no minimum and no maximum"
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            return f"{self.name}: its minimum is above its maximum"
        allowing_any = replace(self, choices=())
        for choice in self.choices:
            if objection := allowing_any.objection(choice):
                return f"one of its choices cannot be: {objection}"
        if self.default is not None and (objection := self.objection(self.default)):
            return f"its default cannot be: {objection}"
        return None


_KINDS: Final = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "any": str | int | float | bool,
}
_ARTICLE: Final = {
    "any": "text, a number, true or false",
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
        case int() if abs(value) >= 10**40:
            return "a number of more than 40 digits"
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


Table = Mapping[str, Parameter]
"""A model's parameters by name, `model` itself left out."""


def table(parameters: Iterable[Parameter]) -> Table:
    """Make a table; a later parameter takes the place of an earlier one of its name."""
    return MappingProxyType({parameter.name: parameter for parameter in parameters})


PROMPT: Final = Parameter("prompt", "string")
_NEGATIVE: Final = Parameter("negative_prompt", "string")
_SEED: Final = Parameter("seed", "integer", minimum=0, maximum=2**31 - 1)


def _alibaba(*resolutions: str) -> Table:
    """Lay out the table that Alibaba's own text-to-video models share.

    Args:
        resolutions: What the model draws, the default first.
    """
    ratios = ("16:9", "9:16", "1:1", "4:3", "3:4")
    return table(
        (
            PROMPT,
            Parameter("resolution", "string", default=resolutions[0], choices=resolutions),
            Parameter("aspect_ratio", "string", default="16:9", choices=ratios),
            _NEGATIVE,
            Parameter("watermark", "boolean", default=False),
            _SEED,
            Parameter("enable_prompt_expansion", "boolean", default=True, rewrites_prompt=True),
            # The name of the same switch on older pages of the documentation.
            Parameter("enhance_prompt", "boolean", default=True, rewrites_prompt=True),
        )
    )


TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {
        WAN_1_3B: table(
            (
                PROMPT,
                _NEGATIVE,
                _SEED,
                Parameter("aspect_ratio", "string", default="16:9", choices=("16:9", "9:16")),
                Parameter("inference_steps", "integer", default=30, minimum=1, maximum=1000),
                Parameter("guidance_scale", "number", default=5, minimum=0, maximum=100),
                Parameter("shift", "number", default=5, minimum=0, maximum=100),
                Parameter("sampler", "string", default="unipc", choices=("unipc", "dpm+")),
                Parameter("enable_safety_checker", "boolean"),
                Parameter("enable_prompt_expansion", "boolean", rewrites_prompt=True),
            )
        ),
        "alibaba/wan2.1-t2v-turbo": _alibaba("720P", "480P"),
        "alibaba/wan2.1-t2v-plus": _alibaba("720P"),
        "alibaba/wan2.2-t2v-plus": _alibaba("1080P", "480P"),
    }
)
"""Model name -> its table.

Names, types, choices and defaults: the request schemas that the API publishes with its
documentation (github.com/aimlapi/api-docs, `video-models/Alibaba-Cloud`, read in November 2026).
They state no bounds. That of the seed is what another host of these models documents, [0, 2^31)
(novita.ai, API reference of Wan 2.2 text to video, read in November 2026);
the others are ours and wide: a noise schedule has 1,000 steps to begin with, and a guidance or a
shift above 100 is a decimal point that was lost. A model that is not here takes any parameters.
"""


def parameters_of(model: str, more: Iterable[Parameter] = ()) -> Table | None:
    """Return a model's table, or None when it has none and takes anything.

    Args:
        model: The model's name.
        more: Parameters that are laid over the table, or make one for a model without.
    """
    known = TABLES.get(model)
    more = tuple(more)
    if not more:
        return known
    return table((*(known or {PROMPT.name: PROMPT}).values(), *more))
