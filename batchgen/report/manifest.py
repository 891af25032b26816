"""The manifest: one flat row a task, the same columns in every row, replaced whole.

Reads the ledger a page at a time, so that a million tasks need no more memory than a thousand.
"""

import csv
import hashlib
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from batchgen import templates
from batchgen._version import __version__
from batchgen.column_types import ColumnType, cast, common_type
from batchgen.job import Job
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.models import TABLES, WAN_1_3B, Parameter, Scalar
from batchgen.report.columns import HEAD, TAIL
from batchgen.rundir import replacing
from batchgen.task import Status
from batchgen.terminal import json_line

Cell = Scalar | None
Row = dict[str, Cell]

_OWN: Final = frozenset({"model", "prompt"})
_COMMON: Final = TABLES[WAN_1_3B]
_FIRST: Final = (
    "negative_prompt",
    "seed",
    "guidance_scale",
    "shift",
    "sampler",
    "inference_steps",
    "aspect_ratio",
)
"""Parameters every manifest has, first and in this order; others follow as the model's table has
them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one run's manifest, and what is the same in all its rows.

    Attributes:
        parameters: Name and column of each parameter.
        variables: Name and column of each variable.
        casts: The columns whose values may have to be cast, and the type that holds all of them.
        provider: Kind of the provider.
        job_sha256: Hash of the job file; None for a job built in code.
        run_id: The run directory's own id.
    """

    parameters: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...]
    casts: tuple[tuple[str, ColumnType], ...]
    provider: str
    job_sha256: str | None
    run_id: str

    @classmethod
    def of(cls, job: Job, ledger: Ledger) -> "Layout":
        """Take the columns from the model's table and from what the tasks really have."""
        sent, used = ledger.column_types()
        table = {**{name: _COMMON[name] for name in _FIRST}, **(job.parameters or {})}
        declared = {name: _declared(parameter) for name, parameter in table.items()}
        parameters = {
            name: (_column(name), {*declared.get(name, ()), *sent.get(name, ())})
            for name in dict.fromkeys((*declared, *sent))
            if name not in _OWN
        }
        variables = {name: (f"var_{name}", used[name]) for name in used}
        return cls(
            parameters=tuple((name, column) for name, (column, _) in parameters.items()),
            variables=tuple((name, column) for name, (column, _) in variables.items()),
            casts=tuple(
                (column, common)
                for column, types in (*parameters.values(), *variables.values())
                if (common := common_type(types)) in (ColumnType.NUMBER, ColumnType.STRING)
            ),
            provider=job.provider.kind,
            job_sha256=hashlib.sha256(job.source.encode()).hexdigest() if job.source else None,
            run_id=ledger.run_id,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all columns, in order."""
        return (
            *HEAD,
            *(column for _, column in (*self.parameters, *self.variables)),
            *TAIL,
        )

    def typed(self, row: Row) -> Row:
        """Return a row with every column in its one type: readers take it from the first rows."""
        changed = {
            column: written
            for column, to in self.casts
            if (value := row[column]) is not None and (written := cast(value, to)) is not value
        }
        return {**row, **changed} if changed else row

    def row(self, record: Record) -> Row:
        """Make a task's row. Every column is there; what is not known is None.

        Its parameters are as they are sent, which is what a job of picked rows must send again.
        """
        task = record.task
        succeeded = record.status == Status.SUCCEEDED
        more = record.more_files if succeeded else []
        return {
            "task_id": task.task_id,
            "index": task.index,
            "status": Status(record.status).exported,
            "file_name": record.file_name if succeeded else None,
            "prompt": task.prompt,
            "prompt_id": task.prompt_id,
            "prompt_template": task.prompt_template,
            **{column: task.params.get(name) for name, column in self.parameters},
            **{column: task.variables.get(name) for name, column in self.variables},
            "repeat": task.repeat,
            "model": task.params["model"],
            "provider": self.provider,
            "generation_id": record.generation_id,
            "duplicate_generation_id": record.duplicate_id,
            "client_request_id": record.client_request_id,
            "video_url": record.video_url,
            "submitted_at": _iso(record.submitted_at),
            "completed_at": _iso(record.completed_at),
            "downloaded_at": _iso(record.downloaded_at),
            "queue_s": record.queue_s,
            "generate_s": record.generate_s,
            "download_s": record.download_s,
            "polls": record.polls,
            "attempts": record.attempts,
            "error_code": record.error_code,
            "error_message": record.error_message,
            "replaced_by": record.replaced_by,
            # No name holds a bar: not all systems take one.
            "more_files": "|".join(name for name, *_ in more) or None,
            "bytes": record.bytes if succeeded else None,
            "sha256": record.sha256 if succeeded else None,
            "width": record.width,
            "height": record.height,
            "fps": record.fps,
            "duration_s": record.duration_s,
            "cost_usd": record.cost_usd,
            "cost_is_estimate": None
            if record.cost_is_estimate is None
            else bool(record.cost_is_estimate),
            "job_sha256": self.job_sha256,
            "batchgen_version": __version__,
            "server": record.base_url,
            "run_id": self.run_id,
        }


def _declared(parameter: Parameter) -> tuple[ColumnType, ...]:
    return () if parameter.type == "any" else (ColumnType(parameter.type),)


def _column(parameter: str) -> str:
    """Keep a parameter that is called like a column of ours, or could be, apart from it."""
    ours = parameter in HEAD or parameter in TAIL or parameter.startswith(("var_", "param_"))
    return f"param_{parameter}" if ours else parameter


def written_rows(job: Job, ledger: Ledger) -> Generator[Row, None, None]:
    """Yield the manifest's rows, having written each to the three files of the manifest. Blocks.

    In the files every column has one type; what is yielded has the values as they are sent.

    The job's tasks come in order, then those it no longer has. The files are replaced when all rows
    were taken; who closes the iterator before that leaves the old ones.

    Raises:
        OSError: They cannot be written; the old ones stay.
    """
    layout = Layout.of(job, ledger)
    folder = ledger.directory.path
    with ExitStack() as files:
        lines = files.enter_context(replacing(ledger.directory.manifest))
        table = csv.writer(files.enter_context(replacing(folder / "manifest.csv")))
        metadata = files.enter_context(replacing(folder / "metadata.jsonl"))
        table.writerow(map(csv_cell, layout.columns))
        for record in ledger.records():
            row = layout.row(record)
            typed = layout.typed(row)
            text = json_line(typed) + "\n"
            lines.write(text)
            table.writerow(
                [cell if type(cell) in _NUMBERS else csv_cell(cell) for cell in typed.values()]
            )
            if row["file_name"] is not None:
                metadata.write(text)
                for name, size, sha256 in record.more_files:
                    own = {"file_name": name, "bytes": size, "sha256": sha256}
                    metadata.write(json_line({**typed, **own}) + "\n")
            yield row


_FORMULA: Final = (
    *("=", "+", "-", "@", "\t", "\r", "\n", "\0"),
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)
"""What a spreadsheet may take for the start of a formula (OWASP: CSV Injection)."""
_QUOTED: Final = frozenset({"'", *_FORMULA})
_NUMBERS: Final = (int, float, type(None))
"""What `csv` writes by itself as `csv_cell` does, in a fraction of the time."""


def csv_cell(value: Cell) -> str:
    """Write a value for manifest.csv: nothing is an empty cell, and no text is a formula.

    A text that a spreadsheet might calculate gets an apostrophe in front, and so does one that
    begins with an apostrophe: who reads the file takes one apostrophe off where there is one.
    Numbers stay as they are.
    """
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value[:1] in _QUOTED else value
        case _:
            return templates.text(value)


def _iso(seconds: float | None) -> str | None:
    """Write a time as ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
