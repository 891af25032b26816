"""Prompt syntax of other programs, which is sent as the text it is. Pure.

Alternatives and wildcards of Dynamic Prompts, weights and LoRAs of Stable Diffusion's interfaces,
flags of Midjourney: people bring such prompts along. Each pattern is narrower than the syntax it
finds, so that prose passes: a scale of (1:50), a time code [00:05-00:10], dashes --like these--.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from batchgen.job import Job
from batchgen.unfilled import prompt_texts, values

SHOWN: Final = 60
"""Characters of what was found that are shown."""
_VARIABLE: Final = "write ${name} instead, and its values under matrix: {name: [a, b]}"
_NO_FILES: Final = "nothing is loaded by it; take it out"
_NO_WEIGHTS: Final = "it is text to the model; say in words what matters"
_FLAGS: Final = {
    **dict.fromkeys(("ar", "aspect"), "aspect_ratio"),
    **dict.fromkeys(("no", "neg", "negative"), "negative_prompt"),
    **dict.fromkeys(("cfg", "guidance"), "guidance_scale"),
    "seed": "seed",
    "steps": "inference_steps",
}
"""Flag of other programs -> the parameter that says the same."""


@dataclass(frozen=True, slots=True)
class _Syntax:
    """One notation.

    Attributes:
        hint: What stands in every text that has it: a test that costs next to nothing.
        pattern: What it looks like. A literal at its start is found many times as fast.
        advice: Says of what was found how batchgen says the same.
    """

    hint: str
    pattern: re.Pattern[str]
    advice: Callable[[re.Match[str]], str]


def _always(advice: str) -> Callable[[re.Match[str]], str]:
    return lambda _: advice


def _wildcard(found: re.Match[str]) -> str:
    name = re.sub(r"\W+", "_", found["name"]).strip("_") or "name"
    return f"write ${{{name}}} instead, and its values under matrix or in a column of a .csv file"


def _flag(found: re.Match[str]) -> str:
    parameter = _FLAGS.get(found["flag"])
    if parameter is None:
        return "no flag is read in a prompt; take it out"
    return f"write {parameter}: {found['value']} under defaults, or beside the prompt"


def _syntax(hint: str, pattern: str, advice: Callable[[re.Match[str]], str]) -> _Syntax:
    return _Syntax(hint, re.compile(pattern), advice)


_SYNTAXES: Final = (
    # {red|blue}, {2$$a|b}; {red, blue}, but no JSON
    _syntax("|", r'\{(?<!\$\{)[^{}\n"|]*\|[^{}\n"]*\}', _always(_VARIABLE)),
    _syntax("{", r'\{(?<![${]\{)[^{}\n:"|,]+,[^{}\n:"|]+\}(?!\})', _always(_VARIABLE)),
    # __color__, __colors/warm-*__
    _syntax("__", r"__(?<!\w__)(?P<name>[^\W_][\w/*.-]*?)__(?!\w)", _wildcard),
    _syntax("<", r"<(?:random|wildcard|alternate)(?:\[[^\]\n]*\])?:[^<>\n]+>", _always(_VARIABLE)),
    _syntax("<", r"<(?:[Ll]o[Rr][Aa]|lyco|hypernet|embed|embedding):[^<>\n]+>", _always(_NO_FILES)),
    # --ar 16:9, --seed 5: flags whose value is a number
    _syntax(
        "--",
        r"--(?<!\S--)(?P<flag>ar|aspect|seed|v|version|niji|s|stylize|c|chaos|q|quality|iw|w|weird|"
        r"stop|fps|steps|cfg|guidance|dur|duration|rs|resolution|motion)"
        r"[ =](?P<value>\d[\d.:xp]*)(?!\S)",
        _flag,
    ),
    # --no text, people: words up to the end or the next flag, where a sentence has its full stop
    _syntax(
        "--",
        r"--(?<!\S--)(?P<flag>no|neg|negative|style|sref|cref|motion) "
        r"(?P<value>[^\s.!?;-][^.!?;\n-]*?)(?=\s--[a-z]|\s?\Z)",
        _flag,
    ),
    # what Stable Diffusion's interfaces keep beside a picture
    _syntax(
        "egative",
        r"[Nn]egative [Pp]rompt: ?[^\n]*",
        _always("write it as negative_prompt under defaults, or beside the prompt"),
    ),
    _syntax(
        "Steps:",
        r"Steps: \d+, [A-Z][^\n]*",
        _always("write inference_steps and the like under defaults, or beside the prompt"),
    ),
    # (word:1.3), word::2, ((word)), [from:to:0.5], [one|other]
    _syntax(":", r"\([^()\n]*[^()\s\d]:-?\d?\.\d+\)", _always(_NO_WEIGHTS)),
    _syntax("::", r"(?<!\w)\w+::-?\d+(?:\.\d+)?\b", _always(_NO_WEIGHTS)),
    _syntax("((", r"\(\([^()\n]+\)\)", _always(_NO_WEIGHTS)),
    _syntax(
        ":",
        r"\[(?=[^\[\]\n]*[^\W\d])[^\[\]\n:]*:(?:[^\[\]\n:]*:)?\d*\.\d+\]",
        _always(_NO_WEIGHTS),
    ),
    _syntax("|", r"\[[^\[\]\n|]*[^\s\[\]|]\|[^\s\[\]|][^\[\]\n]*\]", _always(_VARIABLE)),
    _syntax(
        "BREAK",
        r"BREAK(?:(?<=[,.;\n]BREAK)|(?<=[,.;\n] BREAK))(?=[,\n]|\s*\Z|\s+[^\WA-Z])",
        _always("nothing is cut there; take it out"),
    ),
)


def other_syntax(job: Job) -> Iterator[str]:
    """Say once of each notation of another program where it stands, and how batchgen says it."""
    first: dict[_Syntax, tuple[re.Match[str], str]] = {}
    texts = Counter[_Syntax]()
    for where, text in _texts(job):
        for syntax in _SYNTAXES:
            if syntax.hint in text and (found := syntax.pattern.search(text)) is not None:
                first.setdefault(syntax, (found, where))
                texts[syntax] += 1
    for syntax, (found, where) in first.items():
        more = f" (and in {texts[syntax] - 1:,} more)" if texts[syntax] > 1 else ""
        shown = found[0] if len(found[0]) <= SHOWN else found[0][: SHOWN - 1] + "…"
        yield f"{shown} in {where}{more} is sent as it stands: {syntax.advice(found)}"


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    for text in prompt_texts(job):
        yield "a prompt", text
    for name, value in values(job):
        if isinstance(value, str):
            yield name, value
