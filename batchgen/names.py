"""Names of videos: readable, safe on every file system and for dataset loaders, short. Pure."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from batchgen import templates
from batchgen.models import Scalar
from batchgen.task import Task

SLUG_BYTES: Final = 60
STEM_BYTES: Final = 120
"""With a task id, a number and `.mp4` it is within the 143 bytes that eCryptfs allows a name."""

_RESERVED: Final = frozenset(
    {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
    }
)
"""Names Windows keeps for devices, whatever their ending."""
_KEPT: Final = "_+=@ -"
"""What may stand beside letters and digits. No dot: at the first one `webdataset` ends the key that
puts files together into a sample."""
_ORDINARY: Final = re.compile(f"[A-Za-z0-9{_KEPT}]*", re.ASCII)
"""What most names are made of."""
_SPLIT_WORD: Final = re.compile(
    r"(?:^|[-_ ]|(?<=[0-9]))"
    r"(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?![^-_ 0-9])",
    re.ASCII | re.IGNORECASE,
)
"""A word by which `datasets` sorts files into splits, between the characters that it takes for the
ends of words (`SPLIT_KEYWORDS` and `NON_WORDS_CHARS` in its data_files.py, version 5.2)."""
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing, which some file systems ignore (Unicode's
Default_Ignorable_Code_Point)."""
_BEYOND_ASCII: Final = re.compile(r"[A-Za-z][\u0300-\u036f]+|[^\x00-\x7f]+")
_FINAL_SIGMA: Final = re.compile(r"(?<=[^\W\d_])\u03c3(?![^\W\d_])")


@lru_cache(maxsize=256)  # a grid has many tasks for each of its prompts
def slug(text: str, limit: int = SLUG_BYTES) -> str:
    """Make a file name's part of any text: letters and digits of any script, dashes between.

    Args:
        text: Anything.
        limit: Bytes of UTF-8 it may have.
    """
    small = _in_one_form(unicodedata.normalize("NFKC", text).lower())
    whole = "-".join(_replaced(small, "", " ").split())
    cut = _cut(whole, limit)
    if len(cut) < len(whole) and whole[len(cut)] != "-" and "-" in cut[len(cut) // 2 :]:
        # Not in the middle of a word, where there is a word's end near.
        cut = cut[: cut.rindex("-")]
    return cut or "video"


def stem(template: str, task: Task, job: str) -> str:
    """Name a task's video, without its ending, by the job's template.

    Whatever the template and the values hold, the result is one plain path segment.
    """
    seed = task.params.get("seed")
    if seed is None:
        # A model without seeds: its names do not end in a lonely "_s".
        template = template.replace("_s${seed}", "")
    values: dict[str, Scalar] = {
        **task.params,
        **task.variables,
        "index": f"{task.index:04}",
        "slug": slug(task.prompt),
        "task_id": task.task_id,
        "prompt_id": task.prompt_id or "",
        "repeat": task.repeat,
        "job": job,
    }
    for name in templates.names(template):
        values.setdefault(name, "")
    return safe(templates.fill(template, values)) or task.task_id


def safe(name: str) -> str:
    """Turn any text into one path segment that Linux, macOS and Windows take, or into nothing.

    Two results that a file system may take for one name differ in the case of ASCII letters only.
    """
    normal = _in_one_form(name)
    if not _ORDINARY.fullmatch(normal):
        normal = _replaced(normal, _KEPT, "-")
    kept = _trimmed(normal)
    return _trimmed(f"_{kept}") if kept.lower() in _RESERVED else kept


def _in_one_form(text: str) -> str:
    """Write letters beyond ASCII small, and all spellings of one that are taken for it as one.

    File systems that ignore case or form do not agree how. So everything is folded here that any of
    them folds: `ß` becomes `ss`, and a dotless i a plain one.
    """
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", _UNSEEN.sub("", text))
    # Each way alone leaves letters apart that the other joins: casefold a dotless i, upper `ẞ`.
    folded = _BEYOND_ASCII.sub(lambda run: run[0].casefold().upper().casefold(), composed)
    return _FINAL_SIGMA.sub(
        "\N{GREEK SMALL LETTER FINAL SIGMA}", unicodedata.normalize("NFC", folded)
    )


def _trimmed(name: str) -> str:
    """Cut a name, and tie split words to what stands before them: `a+train-at-dusk`."""
    while True:
        kept = _cut(name.strip(" -"), STEM_BYTES).strip(" -")
        small = kept.lower()
        # One of these is in each split word; looking for them costs a tenth of the pattern.
        if "train" in small or "test" in small or "val" in small or "dev" in small:
            kept = _SPLIT_WORD.sub(r"+\1", kept)
        if kept == name:
            return kept
        name = kept  # a cut may make a word of the beginning of another


def _replaced(text: str, allowed: str, instead: str) -> str:
    """Keep letters, digits, the marks on them and what is allowed; put `instead` for the rest."""
    kept: list[str] = []
    on_letter = False
    for sign in text:
        # Without its marks a word of Hindi or Thai falls to pieces; alone a mark is no letter.
        on_letter = sign.isalpha() or (on_letter and unicodedata.category(sign).startswith("M"))
        kept.append(sign if on_letter or sign.isalnum() or sign in allowed else instead)
    return "".join(kept)


def _cut(text: str, limit: int) -> str:
    """Shorten to `limit` bytes of UTF-8 without splitting a character."""
    return text.encode("utf-8", "ignore")[:limit].decode("utf-8", "ignore").rstrip("-")
