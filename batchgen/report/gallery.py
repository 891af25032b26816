"""The run's page: the manifest's rows as one HTML file that shows the grid, from disk.

Knows rows and nothing of the ledger or the job. Rows pass through in chunks, so the page may be
larger than memory; what the page does with them is in `gallery.html.j2`.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import jinja2

from batchgen import rundir
from batchgen.report.columns import HEAD, TAIL
from batchgen.report.picks import Maker

Row = Mapping[str, object]
"""One row of the manifest: its columns, JSON-plain, None where empty."""

RECORDED: Final = (*HEAD, "href", *TAIL)
"""Columns that say what happened. Any other is a parameter, or with `var_` in front a variable."""

_LEFT_OUT: Final = frozenset({"file_name", "video_url", "sha256", "job_sha256"})
_CHUNK: Final = 500
_EXACT: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""


def write_gallery(
    path: Path,
    rows: Iterable[Row],
    *,
    title: str,
    axes: Sequence[str],
    subtitle: str = "",
    maker: Maker | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: The page, beside which the rows' files lie.
        rows: The manifest's rows in their order; taken once, as a stream.
        title: The heading, as a rule the job's name.
        axes: Names of the job's axes in written order, parameters or variables.
        subtitle: A line below the heading.
        maker: What a job of picked rows says above them; None where the rows say it all.
    """
    page = _template()
    job = {"axes": list(axes), "recorded": RECORDED, "maker": _written(maker or Maker())}

    def write(file: IO[str]) -> None:
        parts = page.stream(
            title=_encodable(title), subtitle=_encodable(subtitle), job=job, chunks=_chunks(rows)
        )
        file.writelines(parts)

    rundir.replace_file(path, write)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some rows, written so that nothing is said twice.

    Attributes:
        common: The values all of them share.
        columns: The columns in which they differ.
        rows: Their values in those columns.
    """

    common: dict[str, object]
    columns: list[str]
    rows: list[list[object]]


def _chunks(rows: Iterable[Row]) -> Iterator[_Chunk]:
    stream = iter(rows)
    while batch := [_shown(row) for row in islice(stream, _CHUNK)]:
        first = batch[0]
        names = dict.fromkeys(name for row in batch for name in row)
        shared = {
            name
            for name in names
            if name in first and all(name in row and row[name] == first[name] for row in batch)
        }
        columns = [name for name in names if name not in shared]
        yield _Chunk(
            common={name: first[name] for name in names if name in shared},
            columns=columns,
            rows=[[row.get(name) for name in columns] for row in batch],
        )


def _shown(row: Row) -> dict[str, object]:
    """Return what the page needs of a row: no empty values, and its file as a URL."""
    shown = {
        # A parameter of this name must not become the file's address.
        "param_href" if name == "href" else name: value if type(value) is str else _exact(value)
        for name, value in row.items()
        if value is not None and name not in _LEFT_OUT
    }
    if shown.get("prompt_template") == shown.get("prompt"):
        shown.pop("prompt_template", None)
    if (name := row.get("file_name")) is not None:
        # "./" keeps any name a path: never a scheme, never a host.
        shown["href"] = "./" + quote(str(name), safe="/", errors="replace")
    return shown


def _written(maker: Maker) -> dict[str, object]:
    """Return it for the page; `choices` is the one value that is a list of its own."""
    return {
        "model": maker.model,
        "provider": dict(maker.provider),
        "parameters": {
            name: {
                key: list(map(_exact, value)) if isinstance(value, tuple) else _exact(value)
                for key, value in entry.items()
            }
            for name, entry in maker.parameters.items()
        },
    }


def _exact(value: object) -> object:
    """Return the value so that it survives JSON and JavaScript; a list of one text is a number."""
    match value:
        case int() if abs(value) > _EXACT:
            return [str(value)]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("batchgen.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["csp_hash"] = _csp_hash
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "default": str}
    return environment.get_template("gallery.html.j2")


def _csp_hash(source: str) -> str:
    """Return the Content-Security-Policy source that allows exactly this inline text."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
