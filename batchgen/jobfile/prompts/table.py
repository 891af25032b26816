"""A .csv file of prompts: a header that names the columns, then a prompt a row.

Spaces around a cell do not count, and an empty cell is a value that is not given. A cell is typed
by the model's table; without one as YAML types a word without quotes; and as a variable it keeps
its text.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from batchgen import templates
from batchgen.errors import Place, Problem
from batchgen.jobfile.prompts.written import PromptReader
from batchgen.jobfile.secret_names import names_a_secret
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import CURLY_QUOTES, meant_as
from batchgen.jobfile.yaml12 import Node, resolve
from batchgen.models import Parameter, Scalar

_CELL: Final = re.compile(r' *(?P<cell>"(?:[^"]|"")*(?P<close>")?|[^,"][^,]*|)[^,]*')
_QUOTING: Final = 'inside quotes write " twice: "she says ""go"""'
_COMMAS: Final = "if a comma is part of the prompt, put the prompt in double quotes"


def read_table(source: Source, into: PromptReader, variables: Collection[str]) -> None:
    """Take the prompt of each row; rows without any value are skipped.

    Args:
        source: The text.
        into: Takes the prompts.
        variables: Variables that are used elsewhere in the job.
    """
    records = _records(source, into)
    line, header = next(records, (0, []))
    if header == ["sep=", ""]:  # Excel's own line, which names the comma
        line, header = next(records, (0, []))
    if not header:
        return
    columns = [name.strip() for name in header]
    # A name stands in the header alone: a row's line does not tell that it holds a secret.
    source.discreet = any(map(names_a_secret, columns))
    if not _is_sound(source, line, columns, into):
        return
    heads = partial(_heads, source, line, columns)
    into.left_out |= into.ignored & {*columns}
    into.header(
        [name for name in columns if name not in ("", "prompt", "id", *into.ignored)], heads
    )
    used = {*variables, *_variables(source, columns.index("prompt"))}
    typed = [_typing(name, into.table, used) for name in columns]
    for number, cells in records:
        if (stray := _stray(cells, columns)) is not None:
            into.miss("no such column", _no_column(source, number, stray, columns))
            continue
        row = {
            name: read(text)
            for name, read, cell in zip(columns, typed, cells, strict=False)
            if name not in into.ignored and (text := cell.strip())
        }
        if "prompt" in row:
            locate = partial(_located, source, number, row, columns, heads)
            mend = partial(_mend, source, uneven=len(cells) != len(columns))
            into.take(source, Place(source.name, number, 1), row, locate, mend)
        elif row:
            place = Place(source.name, number, 1)
            hint = "fill in its cell of the column prompt, or delete the row"
            into.miss("no prompt", source.problem(place, "this row has no prompt", hint=hint))


def _records(source: Source, into: PromptReader | None) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that holds anything, with the line in which it starts.

    What is no CSV is said where there is a reader to take it; reading goes on behind it.
    """
    rows = csv.reader(source.each_line(), strict=True, skipinitialspace=True)
    while True:
        start = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if into is not None:
                into.miss("quotes", _no_csv(source, start, rows.line_num, str(error)))
            if str(error).startswith("field larger"):
                return  # what follows would be taken for rows in the middle of a cell
            continue
        if any(cells):
            yield start, cells


def _no_csv(source: Source, start: int, end: int, said: str) -> Problem:
    cells = _cells(source.line(start))
    opened = next((cell.start("cell") for cell in cells if _is_open(cell)), 0)
    place = Place(source.name, start, opened + 1)
    if said.startswith("field larger"):
        return source.problem(
            place,
            f"a cell of this row is longer than {csv.field_size_limit():,} characters",
            hint="is a quote not closed? " + _QUOTING,
        )
    if said.startswith("unexpected end"):
        return source.problem(place, "this quote is not closed", hint=_QUOTING)
    if end > start:
        message = f"this quote is closed in line {end}, and text follows there"
        return source.problem(place, message, hint=_QUOTING)
    behind = next((cell.end("cell") for cell in cells if _is_followed(cell)), 0)
    place = Place(source.name, start, behind + 1)
    return source.problem(place, "text follows a closing quote", hint=_QUOTING)


def _is_open(cell: re.Match[str]) -> bool:
    return cell["cell"].startswith('"') and cell["close"] is None


def _is_followed(cell: re.Match[str]) -> bool:
    return cell["close"] is not None and cell.end("cell") < cell.end()


def _cells(line: str) -> list[re.Match[str]]:
    """Find the cells of a line as they are written there, quotes included."""
    found = []
    at = 0
    while at <= len(line) and (match := _CELL.match(line, at)) is not None:
        found.append(match)
        at = match.end() + 1
    return found


def _is_sound(source: Source, line: int, columns: Sequence[str], into: PromptReader) -> bool:
    """Object to a header that names no prompt, or a column twice."""
    problems = []
    for place, name in enumerate(columns):
        if name and name in columns[:place] and name not in into.ignored:
            said = f'"{name}" is the name of two columns'
            problems.append(_at(source, line, place, said, "rename or delete one of them"))
    if "prompt" not in columns:
        problems.append(_no_prompt_column(source, line, columns))
    for problem in problems:
        into.miss("header", problem)
    return not problems


def _no_prompt_column(source: Source, line: int, columns: Sequence[str]) -> Problem:
    said = "no column is named prompt"
    first = source.line(line)
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if sign in first and "prompt" in (part.strip(" \"'") for part in first.split(sign)):
            hint = f"the columns are separated by {name}: save the file with commas"
            return _at(source, line, 0, said, hint)
    if (typo := meant_as("prompt", columns)) is not None:
        hint = f'did you mean "prompt" by "{typo}"?'
        return _at(source, line, columns.index(typo), said, hint)
    return _at(source, line, 0, said, "the first row names the columns, such as prompt,seed")


def _at(source: Source, line: int, column: int, said: str, hint: str) -> Problem:
    place, width = _spot(source, line, column)
    return source.problem(place, said, hint=hint, width=width)


def _spot(source: Source, line: int, column: int) -> tuple[Place, int]:
    """Return where a record's cell stands, and its width.

    A cell that begins behind the record's first line is given the start of the record.
    """
    cells = _cells(source.line(line))
    if column >= len(cells):
        return Place(source.name, line, 1), 1
    cell = cells[column]
    return Place(source.name, line, cell.start("cell") + 1), max(1, len(cell["cell"].rstrip()))


def _stray(cells: Sequence[str], columns: Sequence[str]) -> int | None:
    """Return which cell holds something and has no column, from 0."""
    if len(cells) <= len(columns) and all(columns):
        return None
    for place, cell in enumerate(cells):
        if cell.strip() and (place >= len(columns) or not columns[place]):
            return place
    return None


def _no_column(source: Source, line: int, column: int, columns: Sequence[str]) -> Problem:
    hint = _COMMAS
    if column < len(columns):
        hint = "name it in the first row, or delete it (pandas: to_csv(..., index=False))"
    elif source.line(line).lstrip().startswith(CURLY_QUOTES):
        hint = 'only straight quotes (") hold a cell together'
    return _at(source, line, column, f"column {column + 1} has no name in the header", hint)


def _mend(source: Source, cell: Node, *, uneven: bool) -> str:
    """Say what to do about a cell that does not fit, where it may be a part of the prompt.

    That is so in a row with more or fewer cells than columns, and behind a comma and a space, as
    prose has them.
    """
    behind_a_space = source.line(cell.place.line)[: cell.place.column - 1].endswith(" ")
    return _COMMAS if uneven or behind_a_space else ""


def _variables(source: Source, column: int) -> set[str]:
    """Return the names that the prompts of the table use, which stand in one of its columns."""
    if "${" not in source.text:
        return set()
    found: set[str] = set()
    for _, cells in _records(source, None):
        if column < len(cells) and "${" in cells[column]:
            found.update(templates.names(cells[column]))
    return found


def _typing(
    name: str, table: Mapping[str, Parameter] | None, variables: Collection[str]
) -> Callable[[str], Scalar | None]:
    """Return what makes a value of a column's cells."""
    parameter = table.get(name) if table is not None else None
    if name == "id" or (parameter is not None and parameter.type == "string"):
        return str
    if parameter is None and name in variables:
        return _without_loss
    return str if name == "prompt" else resolve


def _without_loss(text: str) -> Scalar:
    """Take a variable's value: a number only where its text comes back the same, as of 7, not 007.

    So `exclude: [{take: 7}]` finds it, and the prompt says what the cell says.
    """
    value = resolve(text)
    if value is None or (isinstance(value, float) and value.is_integer()):
        return text  # 5.0 would become 5
    return value if templates.text(value) == text else text


def _heads(source: Source, line: int, columns: Sequence[str]) -> Node:
    """Return the header as a mapping whose keys stand where it names the columns."""
    places = {name: _spot(source, line, column)[0] for column, name in enumerate(columns)}
    return Node({}, Place(source.name, line, 1), keys=places)


def _located(
    source: Source,
    line: int,
    row: Mapping[str, Scalar | None],
    columns: Sequence[str],
    heads: Callable[[], Node],
) -> Node:
    """Return a row with the places of its cells, and of the names that head them."""
    node = Node({}, Place(source.name, line, 1), keys=heads().keys)
    for column, name in enumerate(columns):
        if name in row:
            place, width = _spot(source, line, column)
            node.value[name] = Node(row[name], place, place.column + width, line)
    return node
