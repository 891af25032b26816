"""The durable account: every generation the sandbox ever took, one appended JSON line each.

A line is handed to the operating system before the submit is answered, so it survives the end of
the process by any signal. It is not forced to the disk: a power cut may take the last lines.
"""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batchgen.errors import UsageError
from batchgen.sandbox.generations import Generation, Json, JsonObject, Order

_VERSION: Final = 1
_BEGINNING: Final = b'{"kind":"account",'


class JournalError(UsageError):
    """The journal cannot be read, is held by another sandbox or could not be written."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the whole lines of a journal say.

    Attributes:
        secret: The account's secret, None where the journal does not even hold its first line.
        generations: Every generation in order of arrival.
        length: Bytes up to the end of the last whole line; what lies beyond was never answered.
    """

    secret: str | None
    generations: tuple[Generation, ...]
    length: int


class Journal:
    """An open journal, held by this process alone.

    Attributes:
        secret: The account's secret: ids are derived from it and URLs signed with it.
        generations: What the journal held when it was opened, in order of arrival.
    """

    def __init__(self, path: Path, descriptor: int, reading: Reading) -> None:
        self.generations = reading.generations
        self._path = path
        self._descriptor = descriptor
        self._length = reading.length
        self.secret = reading.secret or secrets.token_hex(32)
        os.ftruncate(descriptor, reading.length)
        if reading.secret is None:
            self._append({"kind": "account", "version": _VERSION, "secret": self.secret})

    def record(self, generation: Generation) -> None:
        """Write a generation down; it is safe from the end of the process when this returns.

        Raises:
            JournalError: It could not be written. Nothing of it is left in the file.
        """
        self._append(
            {
                "kind": "generation",
                "generation_id": generation.generation_id,
                "client_request_id": generation.order.client_request_id,
                "model": generation.order.model,
                "body": generation.order.body,
                "created": generation.created,
                "started": generation.started,
                "finished": generation.finished,
                "price": generation.price,
                "fate": generation.fate,
            }
        )

    def _append(self, record: JsonObject) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.pwrite(self._descriptor, line, self._length)
        except OSError as error:
            raise self._unwritten(error.strerror or "write failed") from error
        if written < len(line):
            raise self._unwritten("no room for a whole line")
        self._length += written

    def _unwritten(self, why: str) -> JournalError:
        # Should this fail too, half a line has no line end: written over, or cut off when read.
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._length)
        return JournalError(f"{self._path}: the sandbox cannot write its journal: {why}")


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """Open or begin the journal at `path` and hold it until the block ends.

    Raises:
        JournalError: The file cannot be opened or read, or another sandbox holds it.
    """
    try:
        # It holds the secret that signs URLs, so it is its owner's alone.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: cannot be opened as a journal: {error.strerror}") from error
    try:
        _hold(path, descriptor)
        yield Journal(path, descriptor, _reading_of(path))
    finally:
        os.close(descriptor)


def read(data: bytes) -> Reading:
    """Read a journal's bytes; a last line without its line end is as if never written.

    Raises:
        ValueError: A whole line is not one that a journal writes; the text says which.
    """
    length = data.rfind(b"\n") + 1
    lines = data[:length].split(b"\n")[:-1]
    if not lines:
        # Half a first line of ours may be written over, a file of someone else's not.
        if not (data.startswith(_BEGINNING) or _BEGINNING.startswith(data)):
            raise ValueError("this is no sandbox's journal")
        return Reading(None, (), 0)
    return Reading(
        secret=_secret(_parsed(lines[0], 1)),
        generations=tuple(
            _generation(_parsed(line, number), number)
            for number, line in enumerate(lines[1:], start=2)
        ),
        length=length,
    )


def _hold(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise JournalError(f"{path}: a journal is kept in a regular file")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise JournalError(f"{path}: another sandbox is using this journal") from error


def _reading_of(path: Path) -> Reading:
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise JournalError(f"{path}: cannot be read as a journal: {error.strerror}") from error
    except ValueError as error:
        raise JournalError(f"{path}: {error}; move it away to start a new account") from error


def _parsed(line: bytes, number: int) -> Json:
    try:
        record: Json = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number} is no JSON") from error
    return record


def _secret(record: Json) -> str:
    match record:
        case {"kind": "account", "version": version, "secret": str(secret)} if (
            version == _VERSION and secret
        ):
            return secret
        case _:
            raise ValueError("line 1 does not begin a sandbox's journal of this version")


def _generation(record: Json, number: int) -> Generation:
    match record:
        case {
            "kind": "generation",
            "generation_id": str(generation_id),
            "client_request_id": str() | None as client_request_id,
            "model": str(model),
            "body": dict(body),
            "created": float() | int() as created,
            "started": float() | int() as started,
            "finished": float() | int() as finished,
            "price": int(price),
            **more,
        }:
            return Generation(
                generation_id=generation_id,
                order=Order(model, body, client_request_id),
                created=created,
                started=started,
                finished=finished,
                price=price,
                # Journals of earlier versions know no fate.
                fate=str(more.get("fate", "")),
            )
        case _:
            raise ValueError(f"line {number} is no generation")
