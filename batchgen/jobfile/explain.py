"""Pydantic's errors in our words, with their place in the file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pydantic
from pydantic_core import ErrorDetails

from batchgen.errors import Problem
from batchgen.jobfile.schema import SECRET_KEYS, JobDocument
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.yaml12 import Node, Source
from batchgen.models import describe

_MESSAGES: Final[Mapping[str, str]] = {
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping (key: value)",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "list_type": "expected a list",
    "model_type": "expected a mapping (key: value)",
    "string_type": "expected text",
}


def explain(source: Source, root: Node, detail: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into ours, with its place in the file."""
    node, parent, key = _locate(root, detail["loc"])
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden" and parent is not None and key in parent.keys:
        owner = ".".join(str(part) for part in detail["loc"][:-1])
        secret = key.lower() in SECRET_KEYS
        return source.problem(
            parent.keys[key],
            f'"{key}" is not known' + (f" in {owner}" if owner else ""),
            hint=did_you_mean(key, _known_keys(detail["loc"][:-1])),
            width=len(key),
            secret=secret,
        )
    if kind == "missing":
        return source.problem(node.place, f'"{detail["loc"][-1]}" is missing here')
    match kind:
        case "value_error":
            message = str(context.get("error", detail["msg"]))
        case "literal_error":
            message = f"expected {context['expected']}, not {describe(detail['input'])}"
        case _ if kind in _MESSAGES:
            message = f"{_MESSAGES[kind]}, not {describe(detail['input'])}"
        case _:
            message = detail["msg"][:1].lower() + detail["msg"][1:]
    name = ".".join(str(part) for part in detail["loc"] if isinstance(part, str) and part in _NAMES)
    width = node.end - node.place.column if node.end > node.place.column else 1
    secret = "api_key_env" in detail["loc"]
    shown = f"{name}: {message}" if name else message
    return source.problem(node.place, shown, hint=_choice_hint(detail), width=width, secret=secret)


def _choice_hint(detail: ErrorDetails) -> str:
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    choices = [
        part.strip("' ") for part in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")
    ]
    close = did_you_mean(detail["input"], choices)
    return close if close.startswith("did") else ""


def _locate(root: Node, loc: Sequence[int | str]) -> tuple[Node, Node | None, str]:
    """Follow pydantic's location through the nodes, past the union tags it puts in between."""
    node, parent, key = root, None, ""
    for part in loc:
        match node.value:
            case dict() as mapping if isinstance(part, str) and part in mapping:
                node, parent, key = mapping[part], node, part
            case list() as items if isinstance(part, int) and part < len(items):
                node, parent, key = items[part], node, ""
            case _:
                continue
    return node, parent, key


def _model_at(loc: Sequence[int | str]) -> type[pydantic.BaseModel] | None:
    """Return the model that stands at a location of the schema."""
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


def _field_names(model: type[pydantic.BaseModel]) -> set[str]:
    names = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            names |= _field_names(field.annotation)
    return names


_NAMES: Final = _field_names(JobDocument)
