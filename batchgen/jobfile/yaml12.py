"""YAML 1.2 core, read with PyYAML's parser into nodes that know where they stand.

PyYAML's own resolvers are YAML 1.1: `16:9` is 969 to them, `no` is false and `010` is 8. So its
events are taken and the values are built here, one by one, with bounds on size, depth and aliases.
No tags, no objects: what comes out is text, numbers, booleans, nothing, lists and mappings.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from batchgen.errors import JobFileError, Place, Problem

MAX_BYTES: Final = 64 * 1024 * 1024
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


MAX_SHOWN: Final = 160
"""Characters of a line that is shown."""

_SECRET: Final = re.compile(
    r"(?:^|[{,])[\s\"'-]*(?:[\w-]*(?:[_-]|(?<=[a-z])(?=[A-Z])))?"
    r"(?i:api ?key|key|token|secret|pass|password|passwd|auth|authorization|bearer|credentials?)"
    r"[\"']?\s*:"
    r"|\bapi_key_env[\"']?\s*:(?!\s*[\"']?[A-Z_][A-Z0-9_]*[\"']?\s*(?:[,}#]|$))"
    r"|\b(?i:bearer)\s|\bsk-|\b[0-9a-fA-F]{24}|://[^/\s]*@"
)
"""What a line may hold that must not be shown, whatever the mistake on it."""


class Source:
    """A file's text, which draws problems with the line they stand on."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return a line, counted from 1, without its ending; empty where there is none."""
        if self._lines is None:
            self._lines = self.text.splitlines()
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def problem(
        self, place: Place, message: str, *, hint: str = "", width: int = 1, secret: bool = False
    ) -> Problem:
        """Make a problem that shows its line, unless the line holds a secret."""
        shown = "" if secret or place.file != self.name else self.line(place.line)
        # A very long line would bury the message; the place is in front of it anyway.
        if len(shown) > MAX_SHOWN or _SECRET.search(shown):
            shown = ""
        return Problem(place=place, message=message, hint=hint, source=shown, width=width)


def decode(name: str, raw: bytes) -> Source:
    """Decode a text file as UTF-8, a byte order mark allowed.

    Raises:
        JobFileError: It is too large or is not UTF-8.
    """
    if len(raw) > MAX_BYTES:
        raise JobFileError(
            [
                Problem(
                    Place(name),
                    f"is larger than {MAX_BYTES // 2**20} MiB",
                    hint="put long lists of prompts into a .txt file: prompts: {file: prompts.txt}",
                )
            ]
        )
    try:
        return Source(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise JobFileError(
            [
                Problem(
                    Place(name, line),
                    "is not UTF-8 text here",
                    hint="save the file as UTF-8 in your editor",
                )
            ]
        ) from None


def read(source: Source) -> Node:
    """Read one document.

    Raises:
        JobFileError: The text is no YAML, or goes past the bounds; repeated keys and tags are
            found all at once.
    """
    builder = _Builder(source)
    try:
        for event in yaml.parse(source.text, Loader=_LOADER):
            builder.take(event)
    except _Halt as halt:
        builder.problems.append(source.problem(halt.place, str(halt)))
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax_problem(source, error))
    except (yaml.reader.ReaderError, UnicodeEncodeError):
        builder.problems.append(_character_problem(source))
    if builder.problems:
        raise JobFileError(builder.problems)
    return builder.root or Node(None, Place(source.name, 1, 1))


# libyaml's parser where PyYAML was built with it: 5 to 10 times as fast.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


class _Builder:
    """Takes parser events and builds nodes, with a stack instead of recursion."""

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._source = source
        self._stack: list[tuple[Node, str | None]] = []  # open collection, its anchor
        self._key: list[str | None] = []  # the key that waits for its value, a collection each
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._tag(event, implicit=event.implicit[0] or event.implicit[1])
                self._scalar(event)
            case yaml.SequenceStartEvent():
                self._tag(event, implicit=event.implicit)
                self._open(Node([], self._place(event.start_mark)), event)
            case yaml.MappingStartEvent():
                self._tag(event, implicit=event.implicit)
                self._open(Node({}, self._place(event.start_mark)), event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                node, anchor = self._stack.pop()
                self._key.pop()
                self._place_value(node, anchor)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise self._halt(event, "a second document begins here; a job file is one document")
            case _:
                return

    def _place(self, mark: Any) -> Place:
        return Place(self._source.name, mark.line + 1, mark.column + 1)

    def _halt(self, event: Any, message: str) -> _Halt:
        return _Halt(message, self._place(event.start_mark))

    def _tag(self, event: Any, *, implicit: bool) -> None:
        if event.tag is not None and not implicit:
            self.problems.append(
                self._source.problem(
                    self._place(event.start_mark),
                    f"the tag {event.tag} is not read",
                    hint="write the value without a tag; quote it to make it text",
                )
            )

    def _scalar(self, event: Any) -> None:
        plain = event.style is None or event.style == ""
        awaiting_key = self._awaits_key()
        value = resolve(event.value) if plain and not awaiting_key else event.value
        end = event.end_mark
        node = Node(value, self._place(event.start_mark), end.column + 1, end.line + 1, plain=plain)
        if awaiting_key:
            self._take_key(node)
        else:
            self._place_value(node, event.anchor)

    def _open(self, node: Node, event: Any) -> None:
        if self._awaits_key():
            raise self._halt(event, "a list or mapping cannot be a key")
        if len(self._stack) >= MAX_DEPTH:
            raise self._halt(event, f"nested more than {MAX_DEPTH} deep")
        self._stack.append((node, event.anchor))
        self._key.append(None)

    def _awaits_key(self) -> bool:
        return (
            bool(self._stack)
            and isinstance(self._stack[-1][0].value, dict)
            and self._key[-1] is None
        )

    def _take_key(self, node: Node) -> None:
        mapping, _ = self._stack[-1]
        key = node.value
        if key in mapping.value:
            self.problems.append(
                self._source.problem(
                    node.place,
                    f"{key!r} is written twice, first in line {mapping.keys[key].line}",
                    hint="keep one of them",
                    width=len(key),
                )
            )
        mapping.keys[key] = node.place
        self._key[-1] = key

    def _place_value(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _alias(self, event: Any) -> None:
        if self._awaits_key():
            raise self._halt(event, "an alias cannot be a key")
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._halt(event, f"the alias *{event.anchor} has no anchor before it")
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
        parent, _ = self._stack[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent.value, list):
            parent.value.append(node)
        else:
            parent.value[self._key[-1]] = node
            self._key[-1] = None


_TABS: Final = "YAML allows no tabs for indentation: use spaces"
_QUOTE: Final = "put the text in quotes"
_OPEN: Final = "a [ or { above is not closed, or text after it needs quotes"
_HINTS: Final = (
    ("found a tab character", _TABS),
    (
        "found character that cannot start any token",
        f"{_QUOTE}: YAML keeps @, ` and % at its start",
    ),
    ("mapping values are not allowed", f'{_QUOTE}: a ": " in it starts a mapping'),
    (
        "did not find expected key",
        "check the indentation; text that goes on after ] } or a quote needs quotes around it all",
    ),
    ("did not find expected ',' or", _OPEN),
    ("did not find expected <document start>", "text after a quote or bracket: quote the whole"),
    ("did not find expected alphabetic or numeric", f"{_QUOTE}: YAML keeps * and & at its start"),
    ("found unexpected end of stream", "a quote above is not closed"),
    ("could not find expected ':'", "a key needs a colon and a space behind it"),
    ("did not find expected node content", "a value is missing here, or a sign needs quotes"),
    ("found undefined tag handle", f"{_QUOTE}: YAML keeps ! at its start"),
    ("did not find expected comment or line break", f"{_QUOTE}: YAML keeps | and > at its start"),
    ("found unknown escape character", "in double quotes a \\ starts an escape: write \\\\"),
)
_UNQUOTED_VARIABLE: Final = "put text with ${...} in quotes inside [ ] or { }"


def _syntax_problem(source: Source, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(source.name, mark.line + 1, mark.column + 1) if mark else Place(source.name)
    said = error.problem or "this is no YAML"
    if said == "exceeded maximum nesting depth":
        # Newer libyaml has a bound of its own, and may reach it before it gives us an event.
        return source.problem(place, f"nested more than {MAX_DEPTH} deep")
    before = source.line(place.line)[: place.column]
    hint = next((hint for start, hint in _HINTS if said.startswith(start)), "")
    if before.endswith("\t") and not before.strip():
        hint = _TABS
    elif hint == _OPEN and before.endswith("${"):
        hint = _UNQUOTED_VARIABLE
    if said.startswith("found unexpected end of stream") and (opened := error.context_mark):
        # The end of the file says little; where the quote was opened says all.
        place = Place(source.name, opened.line + 1, opened.column + 1)
        said, hint = "this quote is not closed", "close it; within '...' write ' twice"
    return source.problem(place, f"this is no YAML: {said}", hint=hint)


_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What no YAML file may hold (YAML 1.2.2, section 5.1)."""


def _character_problem(source: Source) -> Problem:
    found = _UNREADABLE.search(source.text)
    if found is None:
        return Problem(Place(source.name), "holds a character that YAML does not allow")
    before = source.text[: found.start()]
    place = Place(source.name, before.count("\n") + 1, found.start() - (before.rfind("\n") + 1) + 1)
    # A file in UTF-16 is every second byte a NUL.
    hint = "save the file as UTF-8 in your editor" if found[0] == "\0" else "delete it"
    return Problem(place, f"the character U+{ord(found[0]):04X} is not allowed in YAML", hint=hint)
