"""A file's text, and problems drawn with the line of it they stand on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batchgen.errors import JobFileError, Place, Problem

MAX_BYTES: Final = 64 * 1024 * 1024

LINE_END: Final = re.compile(r"\r\n|[\r\n]")
"""What editors count, and YAML 1.2 (section 5.4)."""
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|[\r\n])|[^\r\n]+\Z")

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
        self.discreet = False
        """Whether no line may be shown: a column of the file holds secrets."""
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return a line, counted from 1, without its ending; empty where there is none."""
        if self._lines is None:
            self._lines = LINE_END.split(self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def each_line(self) -> Iterator[str]:
        """Yield the lines an editor counts, with their endings; none of them is held."""
        return (match[0] for match in _LINE.finditer(self.text))

    def problem(
        self, place: Place, message: str, *, hint: str = "", width: int = 1, secret: bool = False
    ) -> Problem:
        """Make a problem that shows its line, unless the line holds a secret."""
        shown = "" if secret or self.discreet or place.file != self.name else self.line(place.line)
        # A very long line would bury the message; the place is in front of it anyway.
        if len(shown) > MAX_SHOWN or _SECRET.search(shown):
            shown = ""
        return Problem(place=place, message=message, hint=hint, source=shown, width=width)


def read_bounded(path: Path) -> bytes:
    """Read a file, and no more of it than tells that it is too large.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def decode(
    name: str,
    raw: bytes,
    too_large: str = "put long lists of prompts into a .txt file: prompts: {file: prompts.txt}",
) -> Source:
    """Decode a text file as UTF-8, a byte order mark allowed.

    Args:
        name: How to name the file in messages.
        raw: What it holds.
        too_large: What to do where it is larger than MAX_BYTES.

    Raises:
        JobFileError: It is too large or is not UTF-8.
    """
    if len(raw) > MAX_BYTES:
        said = f"is larger than {MAX_BYTES // 2**20} MiB"
        raise JobFileError([Problem(Place(name), said, hint=too_large)])
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


_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What no YAML file may hold (YAML 1.2.2, section 5.1), and no other text of ours either."""


def first_unreadable(source: Source, where: str) -> Problem | None:
    """Name the first character that does not belong into a text, None where there is none.

    Args:
        source: The text.
        where: The kind of file, as it stands in the message.
    """
    found = _UNREADABLE.search(source.text)
    if found is None:
        return None
    lines = LINE_END.split(source.text[: found.start()])
    place = Place(source.name, len(lines), len(lines[-1]) + 1)
    # A file in UTF-16 is every second byte a NUL.
    hint = "save the file as UTF-8 in your editor" if found[0] == "\0" else "delete it"
    return Problem(
        place, f"the character U+{ord(found[0]):04X} is not allowed in {where}", hint=hint
    )
