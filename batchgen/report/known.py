"""Reads back what a manifest knows of submits, for a ledger that knows less. Blocks."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from batchgen.ledger.catch_up import KnownSubmit, KnownVideo
from batchgen.ledger.tables import stem_of
from batchgen.task import Status

_MAYBE_TAKEN: Final = frozenset(
    {Status.UNRESOLVED.value, Status.PENDING.value, Status.CANCELLED.value}
)
"""Statuses of a row without a generation id whose submit may have been taken all the same."""


def known_submits(manifest: Path) -> Iterator[KnownSubmit]:
    """Yield the latest submit of each task of a manifest, a line at a time.

    Lines that cannot be read are passed over, and so are tasks that were never submitted or whose
    submit was refused.

    Raises:
        OSError: The file is there and cannot be read.
    """
    # A link in its place may lead anywhere: it is replaced by the next manifest, and not read.
    if manifest.is_symlink() or not manifest.is_file():
        return
    with manifest.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and (submit := _submit(row)) is not None:
                yield submit


def _submit(row: dict[str, Any]) -> KnownSubmit | None:
    task_id, sent = _text(row, "task_id"), _text(row, "client_request_id")
    generation_id = _text(row, "generation_id")
    if task_id is None or sent is None:
        return None
    if generation_id is None and _text(row, "status") not in _MAYBE_TAKEN:
        return None
    return KnownSubmit(
        task_id=task_id,
        client_request_id=sent,
        generation_id=generation_id,
        submitted_at=_unix_seconds(row, "submitted_at"),
        base_url=_text(row, "server"),
        video=_video(row),
        cost_usd=_number(row, "cost_usd"),
        cost_is_estimate=row.get("cost_is_estimate") is not False,
    )


def _video(row: dict[str, Any]) -> KnownVideo | None:
    """Read what a row says of a whole file; its name is only that of a file among the videos."""
    stem = stem_of(_text(row, "file_name") or "")
    size, sha256 = _number(row, "bytes"), _text(row, "sha256")
    if row.get("status") != Status.SUCCEEDED or not stem or size is None or sha256 is None:
        return None
    return KnownVideo(stem, int(size), sha256, _unix_seconds(row, "completed_at"))


def _text(row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    return value if isinstance(value, str) and value and value.isprintable() else None


def _number(row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return value if good else None


def _unix_seconds(row: dict[str, Any], column: str) -> float | None:
    try:
        return datetime.fromisoformat(row.get(column) or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
