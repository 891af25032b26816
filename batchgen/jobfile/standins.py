r"""What YAML 1.2 reads and libyaml, a parser of YAML 1.1, does not: each is given a stand-in.

U+0085, U+2028 and U+2029 are ordinary characters in YAML 1.2 (section 5.4) and in JSON, but line
breaks in YAML 1.1. A character beyond 16 bits is escaped as two halves in JSON, `\ud83e\udd8a`,
which libyaml takes for two characters that do not exist. So the parser is given, one for one,
characters that the text does not hold: all lines and columns stay the same. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_BREAKS_OF_YAML_1_1: Final = "\x85\u2028\u2029"
_ESCAPE: Final = re.compile(
    r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
r"""The two halves of one character, or any other escape: in `\\ud83e` the second \ is text."""
_CODE: Final = re.compile(r"\\(?:u|U0000)(?P<digits>[0-9a-fA-F]{4})")
_PRIVATE_USE: Final = range(0xE000, 0xF900)


@dataclass(frozen=True, slots=True)
class StandIns:
    """A text for the parser, and how to undo in its values what was replaced.

    Attributes:
        text: What the parser is given, as long as the original.
        characters: Number of a stand-in -> number of the character it replaces.
        halves: Digits of a stand-in's escape -> the digits they replace.
    """

    text: str
    characters: Mapping[int, int] = field(default_factory=dict)
    halves: Mapping[str, str] = field(default_factory=dict)

    def undo(self, value: str, *, escapes: bool) -> str:
        """Return a scalar as it was written.

        Args:
            value: The scalar as the parser read it.
            escapes: Whether it stood in double quotes, where escapes are read.
        """
        if not self.characters:
            return value
        value = value.translate(self.characters)
        if escapes:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return _CODE.sub(lambda code: _with_digits(code[0], self.halves), value)


def with_stand_ins(text: str) -> StandIns:
    """Replace what the parser would misread.

    A text that holds all characters of private use is left as it is, for the parser to refuse.
    """
    breaks = {sign for sign in _BREAKS_OF_YAML_1_1 if sign in text}
    escapes = _ESCAPE.finditer(text) if "\\u" in text else ()
    halves = {half for escape in escapes if escape["high"] for half in escape.groups()}
    if not breaks and not halves:
        return StandIns(text)
    taken = {*text, *(chr(int(code["digits"], 16)) for code in _CODE.finditer(text))}
    free = [number for number in _PRIVATE_USE if chr(number) not in taken]
    if len(free) < len(breaks) + len(halves):
        return StandIns(text)
    given = dict(zip((*sorted(breaks), *sorted(halves)), free, strict=False))
    text = text.translate({ord(sign): given[sign] for sign in breaks})
    digits = {half: f"{given[half]:04x}" for half in halves}
    if halves:
        text = _ESCAPE.sub(
            lambda escape: _with_digits(escape[0], digits) if escape["high"] else escape[0], text
        )
    return StandIns(
        text,
        characters={
            number: ord(sign) if sign in breaks else int(sign, 16) for sign, number in given.items()
        },
        halves={stand_in: half for half, stand_in in digits.items()},
    )


def _with_digits(escapes: str, digits: Mapping[str, str]) -> str:
    r"""Exchange the digits of `\uXXXX`, one or two of them, where others are given for them."""
    parts = escapes.split("\\u")
    return "\\u".join(digits.get(part, part) for part in parts)
