"""Names of videos: readable, safe on every file system, short enough everywhere. Pure."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from batchgen import templates
from batchgen.models import Scalar
from batchgen.task import Task

SLUG_BYTES: Final = 60
STEM_BYTES: Final = 150
"""With `.mp4`, a task id and `.part` still far below the 255 bytes file systems allow."""

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
_ORDINARY: Final = re.compile(r"[A-Za-z0-9._+=@ -]*", re.ASCII)
"""What most names are made of, and what `safe` leaves as it is."""


@lru_cache(maxsize=256)  # a grid has many tasks for each of its prompts
def slug(text: str, limit: int = SLUG_BYTES) -> str:
    """Make a file name's part of any text: letters and digits of any script, dashes between.

    Args:
        text: Anything.
        limit: Bytes of UTF-8 it may have.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    words = _replaced(folded, "", " ").split()
    whole = unicodedata.normalize("NFC", "-".join(words))
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
    """Turn any text into one path segment that Linux, macOS and Windows take, or into nothing."""
    normal = unicodedata.normalize("NFC", name)
    if not _ORDINARY.fullmatch(normal):
        normal = _replaced(normal, "._-+=@ ", "-")
    kept = _cut(normal.strip(" .-"), STEM_BYTES).strip(" .-")
    # Windows looks at what stands before the first dot, so the mark goes in front.
    if kept.split(".")[0].strip().lower() in _RESERVED:
        kept = _cut(f"_{kept}", STEM_BYTES).strip(" .-")
    return kept


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
