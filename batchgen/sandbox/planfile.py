"""A fault plan from a YAML or JSON file, or every mistake in it at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchgen.errors import JobFileError, Problem, UsageError
from batchgen.jobfile.source import Source, decode
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.yaml12 import Node, read
from batchgen.sandbox.faults import Fault, FaultPlan, Rule

_RULES: Final[dict[str, type[Fault]]] = {
    get_args(rule.model_fields["do"].annotation)[0]: rule for rule in get_args(get_args(Rule)[0])
}


def load_plan(path: Path) -> FaultPlan:
    """Read a plan; JSON is YAML, too.

    Raises:
        UsageError: It cannot be read, or holds mistakes: all of them, each with its place.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        source = decode(str(path), raw)
        root = read(source)
    except JobFileError as error:
        raise UsageError(str(error)) from None
    try:
        return FaultPlan.model_validate(root.bare())
    except ValidationError as error:
        problems = [_problem(source, root, detail) for detail in error.errors()]
        # Sorted and drawn as a job file's.
        raise UsageError(str(JobFileError(problems))) from None


def _problem(source: Source, root: Node, detail: ErrorDetails) -> Problem:
    # The third step names the kind of rule, which is no place in the file.
    path = [*detail["loc"][:2], *detail["loc"][3:]]
    if "key" in detail.get("ctx", {}):
        path.append(detail["ctx"]["key"])
    node = _node(root, path)
    match detail["type"]:
        case "extra_forbidden":
            owner, key = _node(root, path[:-1]), str(path[-1])
            return source.problem(
                owner.keys.get(key, owner.place),
                f"{key} is no key of {_owner(owner)}",
                hint=did_you_mean(key, _keys(owner, path)),
                width=len(key),
            )
        case "union_tag_invalid":
            do = node.value["do"]
            return source.problem(
                do.place,
                f"no fault is called {do.bare()}",
                hint=did_you_mean(str(do.bare()), _RULES),
                width=do.width,
            )
        case "union_tag_not_found":
            return source.problem(node.place, "do is missing: which fault?")
        case "missing":
            return source.problem(node.place, f"{path[-1]} is missing")
        case _:
            said = detail["msg"].removeprefix("Value error, ")
            return source.problem(node.place, said[:1].lower() + said[1:], width=node.width)


def _node(root: Node, path: Sequence[int | str]) -> Node:
    """Follow a path as far as the file goes."""
    node = root
    for step in path:
        match node.value, step:
            case list() as items, int() if step < len(items):
                node = items[step]
            case dict() as mapping, str() if step in mapping:
                node = mapping[step]
            case _:
                break
    return node


def _keys(node: Node, path: Sequence[int | str]) -> list[str]:
    if len(path) == 1:
        return list(FaultPlan.model_fields)
    rule = _RULES.get(_name(node), Fault)
    return [field.alias or name for name, field in rule.model_fields.items()]


def _owner(node: Node) -> str:
    return f"the fault {_name(node)}" if _name(node) else "a fault plan"


def _name(node: Node) -> str:
    do = node.value.get("do") if isinstance(node.value, dict) else None
    return str(do.bare()) if do is not None else ""
