"""What a job file's parts must be to each other, and to the model's table of parameters.

Works on the nodes and not on the validated document, so that these mistakes are shown together with
the mistakes of shape.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from batchgen import templates
from batchgen.errors import Place, Problem
from batchgen.grid import names_its_prompt
from batchgen.job import Derived
from batchgen.jobfile.explain import address_problem, secret_problem
from batchgen.jobfile.fields import axis_values, scalar
from batchgen.jobfile.fitting import in_quotes, misfit
from batchgen.jobfile.mistakes import Mistakes
from batchgen.jobfile.prompts import PromptReader, WrittenPrompt
from batchgen.jobfile.prompts.traps import prompt_cut_short, value_cut_short
from batchgen.jobfile.prompts.written import OwnName
from batchgen.jobfile.schema import MAX_ID
from batchgen.jobfile.secret_names import names_a_secret, surely_names_a_secret
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import did_you_mean
from batchgen.jobfile.yaml12 import Node
from batchgen.models import Scalar, describe
from batchgen.task import spelled
from batchgen.urls import base_url_objection

FILE_NAMES: Final = ("index", "slug", "seed", "task_id", "prompt_id", "repeat", "job")
"""Names the template of a video's name knows besides parameters and variables."""
_NO_SCALAR: Final[Mapping[type, str]] = {
    dict: "put text that holds a colon in quotes",
    list: "put text that holds brackets in quotes",
    type(None): "give it a value, or take it away",
}
"""What to do about a value of an axis that YAML took for something else than a value."""


class Checker:
    """Collects what is wrong between the parts of one document.

    Attributes:
        problems: The mistakes found.
        moot: Where the values of refused names stand: whatever else is wrong with them follows.
    """

    def __init__(self, source: Source, root: Node, written: PromptReader, model: str) -> None:
        self.problems: list[Problem] = []
        self.moot: set[Place] = set()
        self._source = source
        self._sources = {source.name: source, **written.sources}
        self._root = root
        self._written = written
        self._model = model
        self._table = written.table
        used = {
            name
            for prompt in written.prompts
            if "$" in prompt.template
            for name in templates.names(prompt.template)
        }
        used |= variables_of_rows(root)
        self._variables = used if self._table is None else used - self._table.keys()

    def check(self) -> list[Problem]:
        """Return every mistake found."""
        self._values(self._mapping("defaults"), "defaults")
        for section in ("matrix", "zip"):
            self._axes(self._mapping(section), section)
        self._zip_rows()
        self._axes_twice()
        for section in ("exclude", "include"):
            for row in self._rows(section):
                if not row.value:
                    self._object(row, f"a row of {section} is empty", hint="")
                reserved = self._reserved(row, section)
                self._values(row, section, reserved)
                if "id" in reserved:
                    self._row_id(row)
        for row in self._rows("include"):
            self._row_prompt(row)
        for name, own in self._written.names.items():
            self._own_name(name, own)
        self._variables_have_values()
        self._provider()
        self._notify()
        self._file_name()
        return self.problems

    def _mapping(self, section: str) -> Node:
        node = _child(self._root, section)
        return node if node is not None and isinstance(node.value, dict) else _nothing(self._root)

    def _items(self, section: str) -> list[Node]:
        node = _child(self._root, section)
        return node.value if node is not None and isinstance(node.value, list) else []

    def _rows(self, section: str) -> Iterator[Node]:
        return (item for item in self._items(section) if isinstance(item.value, dict))

    def _reserved(self, row: Node, section: str) -> tuple[str, ...]:
        """Return the keys of a row that are no values of parameters or variables."""
        by_name = names_its_prompt(self._table, self._variables)
        if section == "exclude":
            elsewhere = (self._mapping(each) for each in ("defaults", "matrix", "zip"))
            return ("id",) if by_name and not any("id" in each.value for each in elsewhere) else ()
        return ("prompt", "id") if by_name and "prompt" in row.value else ("prompt",)

    def _row_id(self, row: Node) -> None:
        name = row.value.get("id")
        if name is None:
            return
        if not isinstance(name.value, str):
            hint = "" if isinstance(name.value, list | dict | None) else in_quotes(name.value)
            self._object(name, f"expected text, not {describe(name.value)}", hint)
        elif not 1 <= len(name.value) <= MAX_ID:
            self._object(name, f"expected 1 to {MAX_ID} characters, not {describe(name.value)}")

    def _row_prompt(self, row: Node) -> None:
        prompt = row.value.get("prompt")
        if prompt is None:
            return
        if not isinstance(prompt.value, str):
            hint = "" if isinstance(prompt.value, list | dict | None) else in_quotes(prompt.value)
            self._object(prompt, f"expected text, not {describe(prompt.value)}", hint)
        elif not prompt.value.strip():
            self._object(prompt, "this prompt is empty")
        elif (trap := prompt_cut_short(self._source_of(prompt.place), prompt)) is not None:
            self.problems.append(trap)

    def _object(self, node: Node, message: str, hint: str = "", *, secret: bool = False) -> None:
        self.problems.append(
            self._source_of(node.place).problem(
                node.place, message, hint=hint, width=node.width, secret=secret
            )
        )

    def _object_to_key(self, mapping: Node, key: str, message: str, hint: str = "") -> None:
        self.problems.append(
            self._source_of(mapping.keys[key]).problem(
                mapping.keys[key], message, hint=hint, width=len(key)
            )
        )

    def _source_of(self, place: Place) -> Source:
        return self._sources.get(place.file, self._source)

    def _own_name(self, name: str, own: OwnName) -> None:
        """Judge a name of prompts' own values; it is shown once, however often it stands there."""
        before = len(self.problems)
        self._known(own.first(), name, "prompts")
        if len(self.problems) == before:
            return
        last = self.problems.pop()
        if last.hint.startswith("known here") and last.place.file != self._source.name:
            aside = f"if it is for people alone: prompts: {{file: ..., ignore: [{name}]}}"
            last = replace(last, hint=f"{last.hint}; {aside}")
        if own.more:
            others = f"{own.more:,} other prompts" if own.more > 1 else "one other prompt"
            also = f"(the same in {others}, down to line {own.last_line})"
            last = replace(last, hint=f"{last.hint} {also}".lstrip())
        self.problems.append(last)

    def _values(self, mapping: Node, section: str, reserved: tuple[str, ...] = ()) -> None:
        for name, node in mapping.value.items():
            if name not in reserved and self._known(mapping, name, section):
                self._fits(name, node, node.value)

    def _known(self, mapping: Node, name: str, section: str) -> bool:
        before = len(self.problems)
        known = self._names_something(mapping, name, section)
        if len(self.problems) > before and name in mapping.value:
            self.moot.add(mapping.value[name].place)
        return known

    def _names_something(self, mapping: Node, name: str, section: str) -> bool:
        if name == "model":
            self._object_to_key(
                mapping, name, "the model is not a parameter", "set it under provider: model:"
            )
            return False
        if name == "prompt":
            self._object_to_key(mapping, name, f"{section} holds no prompt", "use prompts:")
            return False
        if name in self._variables:
            return True
        if surely_names_a_secret(name) or (self._table is not None and names_a_secret(name)):
            place = mapping.keys[name]
            self.problems.append(secret_problem(self._source_of(place), place))
            return False
        if self._table is None or name in self._table:
            return True
        taken = set() if section == "include" and "prompt" not in mapping.value else {"prompt"}
        hint = did_you_mean(name, [*self._table.keys() - taken, *self._variables])
        if ":" in name:
            hint = "put a space behind the colon"
        elif not hint.startswith("did"):
            hint = self._meant_otherwise(name, section) or hint
        if self._written.complete or hint.startswith("did"):
            self._object_to_key(
                mapping,
                name,
                f'"{name}" in {section} is no parameter of {self._model} '
                f"and no ${{{name}}} stands in a prompt",
                hint,
            )
        return False

    def _meant_otherwise(self, name: str, section: str) -> str:
        """Say what a name means that is near none: a section, a decimal comma, another mark."""
        if name in ("include", "exclude", "zip", "matrix", "repeat") and section != "prompts":
            return f"{name} stands beside {section}, with no more indentation than that"
        if name.isdigit():
            return "decimals have a point: 6.5"
        for mark in (
            f"{{{name}}}",
            f"${name}",
            f"<{name}>",
            f"[{name}]",
            f"%({name})s",
            f"%{name}%",
        ):
            if any(mark in prompt.template for prompt in self._written.prompts):
                return f"write ${{{name}}} in the prompt, not {mark}"
        return ""

    def _fits(self, name: str, node: Node, value: object) -> None:
        """Check one value; `node` is where to point."""
        if (wrong := misfit(self._table, name, value)) is not None:
            self._object(node, *wrong)
        elif isinstance(value, str):  # and no number of a range
            source = self._source_of(node.place)
            if (trap := value_cut_short(source, name, node, self._table)) is not None:
                self.problems.append(trap)

    def _axes(self, axes: Node, section: str) -> None:
        for name, node in axes.value.items():
            if not self._known(axes, name, section):
                continue
            if isinstance(node.value, list):
                sound = list(self._axis_list(name, node, section))
                if section == "matrix":
                    self._values_twice(sound)
                continue
            try:
                expanded = axis_values(node.bare())
            except ValueError:
                continue  # the schema says so already
            if isinstance(expanded, tuple):
                for value in self._telling(name, expanded):
                    before = len(self.problems)
                    self._fits(name, node, value)
                    if len(self.problems) > before:
                        break
            elif name != "seed" and name in (self._table or {}):
                self._object_to_key(
                    axes,
                    name,
                    f"random makes seeds, numbers up to 2^31, which {name} does not take",
                    f"write a list or a range: {name}: 3-9 [4]",
                )

    def _telling(self, name: str, values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        """Return the values of a range of which one does not fit if any does not."""
        parameter = (self._table or {}).get(name)
        if parameter is not None and parameter.choices:
            return values
        # Bounds are passed at an end, and a step that is no whole number shows in the second.
        return (values[0], values[-1], *values[1:2])

    def _axis_list(self, name: str, axis: Node, section: str) -> Iterator[tuple[Node, Scalar]]:
        """Check each value; return those an axis can have."""
        for item in axis.value:
            try:
                value = scalar(item.bare())
            except ValueError as error:
                self._object(
                    item,
                    f"{section}.{name}: {error}",
                    _NO_SCALAR.get(type(item.value), ""),
                    secret=names_a_secret(name),
                )
            else:
                self._fits(name, item, value)
                yield item, value

    def _values_twice(self, values: Iterable[tuple[Node, Scalar]]) -> None:
        seen: set[str] = set()
        for item, value in values:
            if (spelling := spelled(value)) in seen:
                self._object(item, f"{templates.text(value)} is in this list twice", "keep one")
            seen.add(spelling)

    def _zip_rows(self) -> None:
        """Hold the axes of zip against each other: they are read row by row."""
        axes = self._mapping("zip")
        values: dict[str, tuple[Scalar, ...] | Derived] = {}
        lengths: dict[str, int] = {}
        for name, node in axes.value.items():
            if isinstance(node.value, list) and node.value:
                lengths[name] = len(node.value)  # whatever is the matter with its values
            try:
                values[name] = axis_values(node.bare())
            except ValueError:
                continue  # said where it stands
            read = values[name]
            lengths[name] = len(read) if isinstance(read, tuple) else read.count
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            self._object_to_key(
                axes, next(iter(lengths)), f"the axes of zip differ in length: {shown}"
            )
            return
        written = [column for column in values.values() if isinstance(column, tuple)]
        if written and len(written) == len(axes.value):
            self._rows_twice(axes, list(zip(*written, strict=True)))

    def _rows_twice(self, axes: Node, rows: Sequence[tuple[Scalar, ...]]) -> None:
        name, axis = next(iter(axes.value.items()))
        seen: dict[tuple[str, ...], int] = {}
        for number, row in enumerate(rows, start=1):
            before = seen.setdefault(tuple(map(spelled, row)), number)
            if before == number:
                continue
            said = f"row {number} of zip is the same as row {before}"
            if isinstance(axis.value, list):
                self._object(axis.value[number - 1], said, "keep one")
            else:
                self._object_to_key(axes, name, said, "keep one")

    def _axes_twice(self) -> None:
        matrix, moved = self._mapping("matrix"), self._mapping("zip")
        for name in moved.value.keys() & matrix.value.keys():
            self._object_to_key(
                moved, name, f'"{name}" is an axis of matrix and of zip', "keep one"
            )

    def _variables_have_values(self) -> None:
        always = {*self._mapping("defaults").value, "model"}
        if self._table is not None and "seed" in self._table:
            always.add("seed")
        shared = {*always, *self._mapping("matrix").value, *self._mapping("zip").value}
        rows = [row for row in self._rows("include") if "prompt" not in row.value]
        missing = Mistakes()
        short: set[tuple[int, str]] = set()
        for prompt in self._written.prompts:
            if "$" not in prompt.template:
                continue
            wanted = set(templates.names(prompt.template))
            for name in sorted(wanted - shared - prompt.own.keys()):
                missing.add(
                    f"${{{name}}}",
                    prompt.place.line,
                    partial(self._no_value, prompt, name, {*shared, *prompt.own}),
                )
            fixed = {*always, *prompt.own}
            for number, row in enumerate(rows):
                short |= {(number, name) for name in wanted & shared - fixed - row.value.keys()}
        self.problems += missing.problems()
        for number, name in sorted(short):
            self._object(rows[number], f"this row gives no value for ${{{name}}}")
        for row in self._rows("include"):
            if "prompt" in row.value:
                for name in templates.names(str(row.value["prompt"].value)):
                    if name not in {*row.value, *always}:
                        self._object(row, f"${{{name}}} in this row's prompt has no value")

    def _no_value(self, prompt: WrittenPrompt, name: str, known: set[str]) -> Problem:
        source, mark = self._source_of(prompt.place), f"${{{name}}}"
        found = source.line(prompt.place.line).find(mark, max(0, prompt.place.column - 1))
        place = prompt.place if found < 0 else replace(prompt.place, column=found + 1)
        return source.problem(
            place,
            f"{mark} in this prompt has no value",
            hint=_value_hint(name, known),
            width=len(mark) if found >= 0 else 1,
        )

    def _provider(self) -> None:
        provider = self._mapping("provider")
        for name, node in provider.value.items():
            if names_a_secret(name):
                self.problems.append(secret_problem(self._source, provider.keys[name]))
            objection = base_url_objection(str(node.value)) if name == "base_url" else None
            if objection is not None:
                # It may hold a password.
                self._object(node, objection, secret=True)

    def _notify(self) -> None:
        notify = self._mapping("notify")
        for name, node in notify.value.items():
            # Under whatever key: who has the address can write to the channel behind it.
            if isinstance(node.value, str) and "://" in node.value:
                self.problems.append(address_problem(self._source, notify.keys[name]))

    def _file_name(self) -> None:
        output = self._mapping("output")
        name = output.value.get("name")
        if name is not None and isinstance(name.value, str):
            known = {*FILE_NAMES, *self._variables, *self._mapping("matrix").value}
            known |= {*self._mapping("zip").value, *self._mapping("defaults").value}
            known |= (self._table or {}).keys()
            for wanted in templates.names(name.value):
                if wanted not in known:
                    self._object(
                        name,
                        f"${{{wanted}}} is not known in a video's name",
                        did_you_mean(wanted, known),
                    )
        folder = output.value.get("dir")
        if folder is not None and isinstance(folder.value, str):
            for wanted in templates.names(folder.value):
                if wanted != "job":
                    self._object(folder, f"${{{wanted}}} is not known in output.dir", "use ${job}")


def variables_of_rows(root: Node) -> set[str]:
    """Return the names that prompts of `include` rows ask for."""
    rows = _child(root, "include")
    prompts = [
        row.value["prompt"].value
        for row in (rows.value if rows is not None and isinstance(rows.value, list) else [])
        if isinstance(row.value, dict) and "prompt" in row.value
    ]
    return {name for prompt in prompts for name in templates.names(str(prompt))}


def _child(node: Node, key: str) -> Node | None:
    return node.value.get(key) if isinstance(node.value, dict) else None


def _nothing(root: Node) -> Node:
    return Node({}, root.place)


def _value_hint(name: str, known: set[str]) -> str:
    close = did_you_mean(name, known - {"model"})
    meant = f"{close} Else " if close.startswith("did") else ""
    return f"{meant}add it under matrix or defaults; write $${{{name}}} for the text itself"
