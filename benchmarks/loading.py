"""How long a long list of prompts takes to load, held against what its format takes anyway."""

import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from batchgen.jobfile import load_job
from benchmarks.tables import Table

PROMPTS: Final = 100_000
TIMES: Final = 3


@dataclass(frozen=True, slots=True)
class Format:
    """A form of prompt file.

    Attributes:
        ending: Of its name.
        write: Makes its text of rows.
        baseline: What the format takes anyway, in words.
        read: That, given the file.
    """

    ending: str
    write: Callable[[Sequence[dict[str, Any]]], str]
    baseline: str
    read: Callable[[Path], object]


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"A red fox, number {number}, trots through fresh snow: slow dolly-in",
            "id": f"fox-{number}",
            "seed": number,
            "shift": 3.5,
        }
        for number in range(count)
    ]


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{row['prompt']}\n" for row in rows)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return "prompt,id,seed,shift\n" + "".join(
        f'"{row["prompt"]}",{row["id"]},{row["seed"]},{row["shift"]}\n' for row in rows
    )


def _records(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _list(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(
        f'- prompt: "{row["prompt"]}"\n'
        f"  id: {row['id']}\n  seed: {row['seed']}\n  shift: {row['shift']}\n"
        for row in rows
    )


def _read_lines(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            line.strip()


def _read_table(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        for _ in csv.reader(file):
            pass


def _read_records(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)


def _read_events(path: Path) -> None:
    loader = yaml.CSafeLoader(path.read_text("utf-8"))
    while loader.get_event() is not None:
        pass


def _read_yaml(path: Path) -> object:
    return yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)


FORMATS: Final = (
    Format(".txt", _lines, "reading its lines", _read_lines),
    Format(".csv", _table, "csv.reader", _read_table),
    Format(".jsonl", _records, "json.loads, line by line", _read_records),
    Format(".yaml", _list, "libyaml's events, without values", _read_events),
    Format(".yaml", _list, "yaml.load with the C loader", _read_yaml),
)


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the benchmarks' common form
    """Load a job of many prompts in each form."""
    count, times = (PROMPTS // 100, 1) if quick else (PROMPTS, TIMES)
    rows = _rows(count)
    with tempfile.TemporaryDirectory() as folder:
        found = [_measured(Path(folder), form, rows, times) for form in FORMATS]
    return [
        Table(
            f"Loading {count:,} prompts",
            ("prompts from", "held against", "times as long", "seconds here"),
            found,
            (
                f"Processor time of `load_job` and of the baseline; median of {times}, in turns.",
                "Every prompt but those of .txt has an id and two values of its own.",
                "The goal is seconds; they are this machine's, whatever else it was doing.",
            ),
        )
    ]


def _measured(
    folder: Path, form: Format, rows: Sequence[dict[str, Any]], times: int
) -> tuple[str, str, str, str]:
    path = folder / f"prompts{form.ending}"
    path.write_text(form.write(rows), encoding="utf-8")
    job = folder / "job.yaml"
    job.write_text(f"prompts: {{file: {path.name}}}\n", encoding="utf-8")
    loads, bases = [], []
    for _ in range(times):
        bases.append(_seconds(lambda: form.read(path)))
        loads.append(_seconds(lambda: load_job(job)))
    ratio = statistics.median(load / base for load, base in zip(loads, bases, strict=True))
    return form.ending, form.baseline, f"{ratio:.1f}", f"{statistics.median(loads):.1f}"


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
