"""Pydantic's errors in our words, with their place in the file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pydantic
from pydantic_core import ErrorDetails

from batchgen.errors import Place, Problem
from batchgen.jobfile.fitting import in_quotes
from batchgen.jobfile.schema import (
    PARAMETER_SECTIONS,
    PROMPT_FILES,
    JobDocument,
    ParameterPart,
    PromptFile,
)
from batchgen.jobfile.secret_names import names_a_secret, surely_names_a_secret
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import ALIASES, CURLY_QUOTES, STRAIGHT_QUOTES, did_you_mean
from batchgen.jobfile.yaml12 import Node, resolve
from batchgen.models import TABLES, describe

_MESSAGES: Final[Mapping[str, str]] = {
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping (key: value)",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "list_type": "expected a list",
    "model_type": "expected a mapping (key: value)",
    "prompt_shape": "a prompt is text, or a mapping with the key prompt",
    "prompts_shape": "expected a list (put `- ` before each prompt) or {file: prompts.txt}",
    "string_pattern_mismatch": "expected letters, digits, spaces, dots, _ and -",
    "string_type": "expected text",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("gt", "expected more than {:g}"),
    "greater_than_equal": ("ge", "expected {:g} or more"),
    "less_than_equal": ("le", "expected {:g} or less"),
    "string_too_long": ("max_length", "expected at most {:g} characters"),
}


def explain(source: Source, root: Node, detail: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into ours, with its place in the file."""
    loc = _without_tags(detail["loc"])
    node, parent, path = _locate(root, loc)
    hiding = [part for part in loc if isinstance(part, str) and names_a_secret(part)]
    if hiding and parent is not None:
        return _hidden(source, loc, parent.keys.get(path[-1], node.place), hiding)
    kind = detail["type"]
    # An address to notify is a secret like a key, and may stand on a line with any part of it.
    secret = "api_key_env" in loc or loc[:1] == ["notify"]
    if loc[:1] == ["notify"] and "://" in str(detail["input"]):
        return address_problem(source, node.place if parent is None else parent.keys[path[-1]])
    if kind == "extra_forbidden" and parent is not None and path:
        key, owner = path[-1], ".".join(path[:-1])
        return source.problem(
            parent.keys.get(key, node.place),
            f'"{key}" is not known' + (f" in {owner}" if owner else ""),
            hint=_unknown_hint(key, loc[:-1]),
            width=len(key),
            secret=secret,
        )
    if kind == "missing":
        return source.problem(
            node.place, f'"{loc[-1]}" is missing here', hint=_unknown_hint("", loc[:-1])
        )
    name = ".".join(path)
    message = _message(detail)
    shown = f"{name}: {message}" if name and kind != "prompt_shape" else message
    curly = isinstance(node.value, str) and node.value.startswith(CURLY_QUOTES)
    hint = STRAIGHT_QUOTES if curly else _hint(source, node, loc, detail)
    return source.problem(node.place, shown, hint=hint, width=node.width, secret=secret)


def secret_problem(source: Source, place: Place) -> Problem:
    """Say that a key stands in the file, without saying the key."""
    return source.problem(
        place,
        "a key does not belong in a job file",
        hint="put it into an environment variable and name that: "
        "provider: {api_key_env: AIMLAPI_KEY}",
        secret=True,
    )


def address_problem(source: Source, place: Place) -> Problem:
    """Say that an address to notify stands in the file, without saying the address."""
    return source.problem(
        place,
        "the address to notify does not belong in a job file: it is a secret like a key",
        hint="put it into an environment variable and name that: "
        "notify: {url_env: BATCHGEN_NOTIFY_URL}",
        secret=True,
    )


def _hidden(
    source: Source, loc: Sequence[int | str], place: Place, names: Sequence[str]
) -> Problem:
    if loc[0] not in PARAMETER_SECTIONS or any(map(surely_names_a_secret, names)):
        return secret_problem(source, place)
    return source.problem(place, f"{loc[0]}: the value of {names[0]} cannot be taken", secret=True)


def _message(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "prompt_shape" and (value is None or isinstance(value, str)):
        return "this prompt is empty"
    match kind:
        case "value_error":
            return str(context.get("error", detail["msg"]))
        case "string_too_short":
            return "expected text, this is empty"
        case "literal_error":
            return f"expected {context['expected']}, not {describe(value)}"
        case _ if kind in _BOUNDS:
            name, words = _BOUNDS[kind]
            return f"{words.format(context[name])}, not {describe(value)}"
        case _ if kind in _MESSAGES:
            return f"{_MESSAGES[kind]}, not {describe(value)}"
        case _:
            return detail["msg"][:1].lower() + detail["msg"][1:]


def _hint(source: Source, node: Node, loc: Sequence[int | str], detail: ErrorDetails) -> str:
    """Say how to mend it, where the message alone does not."""
    kind, value = detail["type"], detail["input"]
    match kind, value:
        case "literal_error", int() | float() if tuple(loc) == ("version",):
            return "this batchgen reads version 1 of job files"
        case "value_error", _:
            return _value_hint(source, node, loc, value)
        case (("prompt_shape" | "prompts_shape"), _):
            return _prompts_hint(source, node, kind, value)
        case "literal_error", str():
            return _choice_hint(value, str(detail.get("ctx", {}).get("expected", "")))
        case "string_type", bool() | int() | float():
            return in_quotes(value)
        case (("int_type" | "float_type"), str()) if _is_number(value):
            return f"write it without quotes: {value}"
        case (("dict_type" | "model_type" | "list_type"), _):
            return _shape_hint(loc, kind, value)
        case "string_pattern_mismatch", _:
            return "the folder of the results is set under output: dir:"
        case _:
            return ""


def _shape_hint(loc: Sequence[int | str], kind: str, value: object) -> str:
    """Say how a mapping or a list is written that was meant."""
    match kind, value:
        case (("dict_type" | "model_type"), None):
            return "put something under it, or take the key away"
        case "dict_type", str() if loc[0] == "include":
            return "a prompt of its own is {prompt: ..., seed: 7}"
        case "dict_type", list() if loc[0] in PARAMETER_SECTIONS:
            return "write it without dashes and brackets: a name, a colon, and its values"
        case "model_type", _:
            return f"known there: {', '.join(_known_keys(loc))}"
        case "list_type", dict() if loc[0] in ("exclude", "include"):
            return "put brackets around it, or `- ` before it: it is a list of mappings"
        case _:
            return ""


def _value_hint(source: Source, node: Node, loc: Sequence[int | str], value: object) -> str:
    match value:
        case None:
            return "give it a value, or take the key away"
        case list() if loc[0] in ("defaults", "prompts"):
            return "several values go under matrix"
        case list() if loc[0] in ("exclude", "include"):
            return "write a row for each value"
        case {"random": count} if loc[0] in ("defaults", "prompts"):
            return f"it goes under matrix, one seed as well: {loc[-1]}: {{random: {count}}}"
        case str() if not value.isprintable() and "\\" in source.line(node.last):
            return "in double quotes a \\ starts an escape: use single quotes"
        case _:
            return ""


def _prompts_hint(source: Source, node: Node, kind: str, value: object) -> str:
    match kind, value:
        case "prompt_shape", bool() | int() | float():
            return in_quotes(value)
        case "prompt_shape", list():
            return "put the prompt in quotes: YAML reads [ ] as a list"
        case "prompt_shape", None if "#" in source.line(node.place.line):
            return "YAML took # for the start of a comment: put the prompt in quotes"
        case "prompts_shape", None:
            return "put a prompt below it: `- A fox trots through snow`"
        case "prompts_shape", str() if value.startswith("-"):
            return "put a space behind each dash" + ", an ordinary one" * value[1:2].isspace()
        case "prompts_shape", str() if value.lower().endswith(PROMPT_FILES):
            return f"write prompts: {{file: {value}}}"
        case _:
            return ""


def _is_number(text: str) -> bool:
    return isinstance(resolve(text), int | float)


def _choice_hint(value: str, expected: str) -> str:
    if expected == value:
        return f"write it without quotes: {value}"
    choices = [part.strip("' ") for part in expected.replace(" or ", ",").split(",")]
    close = did_you_mean(value, choices)
    return close if close.startswith("did") else ""


def _unknown_hint(key: str, loc: Sequence[int | str]) -> str:
    """Say what was meant by a key that is not known, or where it belongs."""
    known = _known_keys(loc)
    hint = did_you_mean(key, known)
    if hint.startswith("did"):
        return hint
    if tuple(loc) == ("prompts",):
        return "prompts is a list (put `- ` before each prompt), or {file: prompts.txt}"
    if not loc and (parameter := key if key in _PARAMETERS else ALIASES.get(key)) in _PARAMETERS:
        meant = "" if parameter == key else f'did you mean "{parameter}"? '
        return f"{meant}a parameter goes under defaults, or under matrix for several values"
    if not loc and key in _NOTES:
        return f"a note is a comment (# ...), or has a key that begins with x-: x-{key}"
    if key in _HOMES and _HOMES[key] != ".".join(map(str, loc)):
        return f"it goes under {_HOMES[key]}"
    return hint


def _without_tags(loc: Sequence[int | str]) -> list[int | str]:
    """Leave out the names of union members, which pydantic puts into the location."""
    parts = list(loc)
    if parts[:2] == ["prompts", "list"]:
        del parts[3:4]
    if parts[:1] == ["prompts"]:
        del parts[1:2]
    return parts


def _locate(root: Node, loc: Sequence[int | str]) -> tuple[Node, Node | None, list[str]]:
    """Follow a location through the nodes: the node, the mapping it is in, the keys on the way."""
    node, parent = root, None
    path: list[str] = []
    for part in loc:
        match node.value:
            case dict() as mapping if isinstance(part, str) and part in mapping:
                node, parent = mapping[part], node
                path.append(part)
            case list() as items if isinstance(part, int) and part < len(items):
                node = items[part]
            case _:
                break
    return node, parent, path


def _model_at(loc: Sequence[int | str]) -> type[pydantic.BaseModel] | None:
    """Return the model that stands at a location of the schema."""
    if tuple(loc) == ("prompts",):
        return PromptFile
    if len(loc) == 2 and loc[0] == "model_parameters":
        return ParameterPart
    model: type[pydantic.BaseModel] | None = JobDocument
    for part in loc:
        field = model.model_fields.get(str(part)) if model is not None else None
        annotation = field.annotation if field is not None else None
        model = (
            annotation
            if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)
            else None
        )
    return model


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    model = _model_at(loc)
    return [] if model is None else list(model.model_fields)


def _homes(model: type[pydantic.BaseModel], owner: str) -> dict[str, str]:
    """Map the keys of a model's parts to the part they belong to."""
    homes: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            path = f"{owner}.{name}" if owner else name
            homes = {**_homes(field.annotation, path), **homes}
            homes |= {key: path for key in field.annotation.model_fields if key not in homes}
    return homes


_HOMES: Final = _homes(JobDocument, "")
_NOTES: Final = (
    "about",
    "author",
    "comment",
    "comments",
    "date",
    "description",
    "note",
    "notes",
    "tags",
)
"""Keys that people write for people."""
_PARAMETERS: Final = frozenset(name for table in TABLES.values() for name in table)
