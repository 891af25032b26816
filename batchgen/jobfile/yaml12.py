"""YAML 1.2 core, read with PyYAML's parser into nodes that know where they stand.

PyYAML's own resolvers are YAML 1.1: `16:9` is 969 to them, `no` is false and `010` is 8. So its
events are taken and the values are built here, one by one, with bounds on size, depth and aliases.
No tags, no objects: what comes out is text, numbers, booleans, nothing, lists and mappings. Of
YAML 1.1 the merge key `<<` is read as well, since people write it (yaml.org/type/merge.html).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from batchgen.errors import JobFileError, Place, Problem
from batchgen.jobfile.source import MAX_SHOWN, Source
from batchgen.jobfile.standins import with_stand_ins
from batchgen.jobfile.syntax import character_problem, syntax_problem
from batchgen.models import describe

MAX_DEPTH: Final = 64
MAX_ALIASED: Final = 100_000
"""Values that aliases may repeat, all together: a few bytes of aliases can stand for gigabytes."""


@dataclass(slots=True)
class Node:
    """A value and its place.

    Attributes:
        value: Scalar, list of nodes, or nodes by key.
        place: Where it begins.
        end: Column just behind a scalar on its last line, from 1; 0 for lists and mappings.
        last: That last line, from 1; 0 for lists and mappings.
        keys: Where each key of a mapping stands.
        plain: Whether a scalar was written without quotes.
        size: How many nodes it holds, itself included.
        height: How many levels it has, itself included.
    """

    value: Any
    place: Place
    end: int = 0
    last: int = 0
    keys: dict[str, Place] = field(default_factory=dict)
    plain: bool = False
    size: int = 1
    height: int = 1

    @property
    def width(self) -> int:
        """How many characters of its first line are meant; 1 where it has no end of its own."""
        if self.last > self.place.line:
            return MAX_SHOWN  # to the end of the line, where drawing stops
        return max(1, self.end - self.place.column)

    def bare(self) -> Any:
        """Return the value without its places."""
        match self.value:
            case list() as items:
                return [item.bare() for item in items]
            case dict() as mapping:
                return {key: node.bare() for key, node in mapping.items()}
            case scalar:
                return scalar


def read(source: Source) -> Node:
    """Read one document.

    Raises:
        JobFileError: The text is no YAML, or goes past the bounds; repeated keys and tags are
            found all at once.
    """
    builder = _Builder(source)
    for _ in _steps(builder, source):
        pass
    return builder.root or Node(None, Place(source.name, 1, 1))


def read_items(source: Source, hint: str) -> Iterator[Node]:
    """Read a document that is a list, item by item; none is held when the next is asked for.

    Args:
        source: The text.
        hint: What to do where the document is no list.

    Raises:
        JobFileError: As of `read`, after the last item that could be read; or it is no list.
    """
    builder = _Builder(source, hands_over=True)
    for _ in _steps(builder, source):
        yield from builder.handed_over
        builder.handed_over.clear()
    root = builder.root
    if root is not None and not isinstance(root.value, list | None):
        said = f"expected a list (put `- ` before each item), not {describe(root.bare())}"
        if isinstance(root.value, str) and root.value.startswith("-"):
            hint = "put a space behind each dash"
        raise JobFileError([source.problem(root.place, said, hint=hint)])


def _steps(builder: "_Builder", source: Source) -> Iterator[None]:
    """Let the builder take the text; pause wherever it has something to hand over."""
    try:
        loader = _LOADER(builder.stand_ins.text)
        while (event := loader.get_event()) is not None:
            builder.take(event)
            if builder.handed_over:
                yield
    except _Halt as halt:
        builder.problems.append(source.problem(halt.place, str(halt), hint=halt.hint))
    except yaml.MarkedYAMLError as error:
        builder.problems.append(syntax_problem(source, error, MAX_DEPTH))
    except (yaml.reader.ReaderError, UnicodeEncodeError):
        builder.problems.append(character_problem(source))
    if builder.problems:
        raise JobFileError(builder.problems)


# libyaml's parser where PyYAML was built with it: 5 to 10 times as fast.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE: Final = "tag:yaml.org,2002:"
"""What `!!` stands for."""
_INT: Final = re.compile(r"[-+]?[0-9]{1,100}\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_BASED: Final = re.compile(r"0(?:o[0-7]{1,100}|x[0-9a-fA-F]{1,100})\Z")
_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def resolve(text: str) -> str | int | float | bool | None:
    """Read an unquoted scalar by the core schema of YAML 1.2 (section 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    return float(text) if _FLOAT.match(text) else text


class _Halt(Exception):
    """Reading cannot go on."""

    def __init__(self, message: str, place: Place, hint: str) -> None:
        super().__init__(message)
        self.place = place
        self.hint = hint


_MERGE: Final = "<<"
_MERGES: Final = "the merge key << takes a mapping or a list of them"
_MERGE_HINT: Final = "give a mapping an anchor, `&base {...}`, and merge its alias: `<<: *base`"


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not whole yet.

    Attributes:
        node: What there is of it.
        anchor: Its anchor.
        key: A mapping's key that waits for its value, None between two entries; "" in a list.
        merge: Where a mapping's merge key stands.
        merging: Whether the key that waits is the merge key.
        inherited: Keys that were merged, and that keys of its own may still replace.
    """

    node: Node
    anchor: str | None
    key: str | None
    merge: Place | None = None
    merging: bool = False
    inherited: set[str] = field(default_factory=set)


class _Builder:
    """Takes parser events and builds nodes, with a stack instead of recursion.

    Attributes:
        problems: What is wrong although the parser took it.
        root: The document, when it is whole.
        stand_ins: The text as the parser is to read it.
        handed_over: Whole items of the outermost list, where they are not to be kept in it.
    """

    def __init__(self, source: Source, *, hands_over: bool = False) -> None:
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.handed_over: list[Node] = []
        self.stand_ins = with_stand_ins(source.text)
        self._hands_over = hands_over
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                if event.tag is not None:
                    self._tag(event, implicit=event.implicit[0] or event.implicit[1])
                self._scalar(event)
            case yaml.SequenceStartEvent():
                self._tag(event, implicit=event.implicit)
                self._open(Node([], self._place(event.start_mark)), event)
            case yaml.MappingStartEvent():
                self._tag(event, implicit=event.implicit)
                self._open(Node({}, self._place(event.start_mark)), event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                whole = self._stack.pop()
                self._place_value(whole.node, whole.anchor)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise self._halt(
                    event,
                    "a second document begins here; the file must be one document",
                    "delete the line, or make a file of each document",
                )
            case _:
                return

    def _place(self, mark: Any) -> Place:
        return Place(self._source.name, mark.line + 1, mark.column + 1)

    def _halt(self, event: Any, message: str, hint: str = "") -> _Halt:
        return _Halt(message, self._place(event.start_mark), hint)

    def _tag(self, event: Any, *, implicit: bool) -> None:
        if event.tag is not None and not implicit:
            self.problems.append(
                self._source.problem(
                    self._place(event.start_mark),
                    f"the tag {event.tag.replace(_CORE, '!!')} is not read",
                    hint="write the value without a tag; quote it to make it text",
                )
            )

    def _scalar(self, event: Any) -> None:
        begin, text = event.start_mark, self.stand_ins.undo(event.value, escapes=event.style == '"')
        place = Place(self._source.name, begin.line + 1, begin.column + 1)
        plain = not event.style
        if self._awaits_key():
            self._take_key(text, place, plain=plain)
            return
        end = event.end_mark
        value = resolve(text) if plain else text
        node = Node(value, place, end.column + 1, end.line + 1, plain=plain)
        self._place_value(node, event.anchor)

    def _open(self, node: Node, event: Any) -> None:
        if self._awaits_key():
            raise self._halt(event, "a list or mapping cannot be a key")
        if len(self._stack) >= MAX_DEPTH:
            raise self._halt(event, f"nested more than {MAX_DEPTH} deep")
        key = "" if isinstance(node.value, list) else None
        self._stack.append(_Open(node, event.anchor, key))

    def _awaits_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].key is None

    def _take_key(self, key: str, place: Place, *, plain: bool) -> None:
        into = self._stack[-1]
        into.key = key
        into.merging = plain and key == _MERGE
        if into.merging:
            if into.merge is not None:
                self._twice(key, into.merge, place, "write one, with a list: <<: [*a, *b]")
            into.merge = place
            return
        if key in into.inherited:
            into.inherited.remove(key)
        elif key in into.node.keys:
            self._twice(key, into.node.keys[key], place, "keep one of them")
        into.node.keys[key] = place

    def _twice(self, key: str, first: Place, place: Place, hint: str) -> None:
        said = f"{key!r} is written twice, first in line {first.line}"
        self.problems.append(self._source.problem(place, said, hint=hint, width=len(key)))

    def _place_value(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _alias(self, event: Any) -> None:
        if self._awaits_key():
            raise self._halt(event, "an alias cannot be a key")
        node = self._anchors.get(event.anchor)
        if node is None:
            said = f"the alias *{event.anchor} has no anchor before it"
            raise self._halt(event, said, "put the text in quotes if no alias is meant")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise self._halt(event, f"aliases repeat more than {MAX_ALIASED:,} values")
        if len(self._stack) + node.height > MAX_DEPTH:
            raise self._halt(event, f"nested more than {MAX_DEPTH} deep")
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        into = self._stack[-1]
        parent = into.node
        parent.size += node.size
        if into.merging:
            self._merge(into, node)
            return
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent.value, list):
            whole = self._hands_over and len(self._stack) == 1
            (self.handed_over if whole else parent.value).append(node)
        else:
            parent.value[into.key] = node
            into.key = None

    def _merge(self, into: _Open, merged: Node) -> None:
        """Take over what a mapping does not say itself; of several the first to say it counts."""
        into.key, into.merging = None, False
        mappings = merged.value if isinstance(merged.value, list) else [merged]
        if not all(isinstance(mapping.value, dict) for mapping in mappings):
            place = into.merge or merged.place
            problem = self._source.problem(place, _MERGES, hint=_MERGE_HINT, width=len(_MERGE))
            self.problems.append(problem)
            return
        own = into.node
        for mapping in mappings:
            own.height = max(own.height, mapping.height)
            for key, node in mapping.value.items():
                if key not in own.value:
                    own.value[key], own.keys[key] = node, mapping.keys[key]
                    into.inherited.add(key)
