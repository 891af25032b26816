"""Prompts taken one by one, with the values that are their own: sound ones are kept, the rest said.

Places are worked out only where something is to be said: a sound prompt of a hundred thousand costs
no more than its values.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import pydantic
from pydantic_core import ErrorDetails

from batchgen.errors import Place, Problem
from batchgen.job import Values
from batchgen.jobfile.explain import explain
from batchgen.jobfile.fitting import misfit
from batchgen.jobfile.mistakes import Mistakes
from batchgen.jobfile.schema import PromptEntry, PromptItem
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import Node
from batchgen.models import Parameter

_ITEM: Final = pydantic.TypeAdapter[str | PromptEntry](PromptItem)
_NO_VALUES: Final[Values] = {}
"""One for all the prompts that have none."""


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt as somebody wrote it, with its place."""

    template: str
    place: Place
    id: str | None = None
    own: Values = field(default_factory=lambda: _NO_VALUES)


@dataclass(slots=True)
class OwnName:
    """A name of prompts' own values that is no parameter of the model.

    Attributes:
        first: Returns the prompt in which it stands first, as it was written.
        more: In how many others it stands.
        last_line: Line of the last of them, from 1.
        heads: Whether it heads a column, and so stands once for all prompts.
    """

    first: Callable[[], Node]
    more: int = 0
    last_line: int = 0
    heads: bool = False


class PromptReader:
    """Takes the prompts of a job.

    Attributes:
        prompts: The sound ones, in their order.
        mistakes: What is wrong with the others, and with values that do not fit their parameter.
        names: Names that are no parameters: variables, or mistakes, which only all prompts together
            can tell.
        complete: Whether every prompt was sound; if not, which variables they use is not known.
        warnings: What is allowed but hardly meant, a sentence each.
        sources: The texts in which the places of all of these are, by name.
        table: The model's parameters; None where it takes anything.
        ignored: Names that are for people alone.
        left_out: Those of them that were met.
    """

    def __init__(self, table: Mapping[str, Parameter] | None) -> None:
        self.prompts: list[WrittenPrompt] = []
        self.mistakes = Mistakes()
        self.names: dict[str, OwnName] = {}
        self.complete = True
        self.warnings: list[str] = []
        self.sources: dict[str, Source] = {}
        self.table = table
        self.ignored: AbstractSet[str] = frozenset()
        self.left_out: set[str] = set()

    def take(
        self,
        source: Source,
        place: Place,
        value: object,
        locate: Callable[[], Node],
        mend: Callable[[Node], str] | None = None,
    ) -> None:
        """Take a prompt.

        Args:
            source: The text it stands in.
            place: Where its text begins.
            value: Text, or a mapping with the key `prompt`, as it was read.
            locate: Returns the same with the places of its parts.
            mend: Says what to do about a text that does not fit, given with its place, where it
                tells nothing better itself.
        """
        if self.ignored and isinstance(value, dict):
            self.left_out |= self.ignored & value.keys()
            value = {name: given for name, given in value.items() if name not in self.ignored}
        try:
            entry = _ITEM.validate_python(value)
        except pydantic.ValidationError as error:
            self.complete = False
            self._refuse(source, place.line, error, locate())
            own: Mapping[str, object] = _own(value)
        else:
            if isinstance(entry, str):
                self.prompts.append(WrittenPrompt(entry, place))
                return
            own = values = entry.model_extra or _NO_VALUES
            self.prompts.append(WrittenPrompt(entry.prompt, place, entry.id, values))
        for name, given in own.items():
            if self.table is None or name not in self.table:
                self._name(name, place.line, locate)
            elif (wrong := misfit(self.table, name, given)) is not None:
                said, hint = wrong
                more = mend if isinstance(given, str) and not hint else None
                self.mistakes.add(name, place.line, _Misfit(source, locate, name, said, hint, more))

    def miss(self, kind: str, problem: Problem) -> None:
        """Note a prompt that cannot be taken."""
        self.complete = False
        self.mistakes.note(kind, problem)

    def header(self, names: Iterable[str], locate: Callable[[], Node]) -> None:
        """Note names that stand once for all prompts of a table."""
        for name in names:
            if self.table is None or name not in self.table:
                self.names.setdefault(name, OwnName(locate, heads=True))

    def _name(self, name: str, line: int, locate: Callable[[], Node]) -> None:
        known = self.names.get(name)
        if known is None:
            self.names[name] = OwnName(locate)
        elif not known.heads:
            known.more += 1
            known.last_line = line

    def _refuse(
        self, source: Source, line: int, error: pydantic.ValidationError, item: Node
    ) -> None:
        """Say what keeps a prompt from being one, as of the `prompts` of a job file."""
        root = Node({"prompts": Node([item], item.place)}, item.place)
        for detail in error.errors(include_url=False, include_input=True):
            placed: ErrorDetails = {**detail, "loc": ("prompts", "list", 0, *detail["loc"])}
            self.mistakes.add(self._kind(detail), line, _Explained(source, root, placed))

    def _kind(self, detail: ErrorDetails) -> str:
        # Names nobody knows must not make a kind of their own each.
        known = {"prompt", "id", *(self.table or ())}
        return next((str(part) for part in detail["loc"] if part in known), "prompts")


def _own(value: object) -> dict[str, object]:
    entries = value.items() if isinstance(value, dict) else ()
    return {name: given for name, given in entries if name not in ("prompt", "id")}


@dataclass(frozen=True, slots=True)
class _Misfit:
    """A value that does not fit its parameter."""

    source: Source
    locate: Callable[[], Node]
    name: str
    said: str
    hint: str
    mend: Callable[[Node], str] | None

    def __call__(self) -> Problem:
        node = self.locate().value[self.name]
        hint = self.hint if self.mend is None else self.mend(node)
        return self.source.problem(node.place, self.said, hint=hint, width=node.width)


@dataclass(frozen=True, slots=True)
class _Explained:
    """A mistake of shape, as pydantic found it."""

    source: Source
    root: Node
    detail: ErrorDetails

    def __call__(self) -> Problem:
        return explain(self.source, self.root, self.detail)
