"""What a night left behind: read, not judged. Reads copies, so that nothing is changed by it."""

import hashlib
import json
import re
import shutil
import sqlite3
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batchgen import mp4
from batchgen.rundir import RunDirectory
from tests.campaign.server import mark_of

Row = dict[str, Any]

_SAVED_IN_LOG: Final = re.compile(r"^\S+ \S+ succeeded (videos/\S+)$", re.MULTILINE)
_SAVED_ON_SCREEN: Final = re.compile(r"^ *\d+  done +(videos/\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file under its final name.

    Attributes:
        size: Bytes.
        sha256: Of its bytes.
        fault: What is wrong with its structure; None for a whole video.
        mark: Prompt and seed that the sandbox drew it for.
    """

    size: int
    sha256: str
    fault: str | None
    mark: tuple[str, int] | None

    @classmethod
    def read(cls, path: Path) -> "Clip":
        """Look at a file."""
        content = path.read_bytes()
        try:
            mp4.inspect(path)
            fault = None
        except mp4.NotAVideo as error:
            fault = str(error)
        return cls(len(content), hashlib.sha256(content).hexdigest(), fault, mark_of(content))


@dataclass(slots=True)
class Videos:
    """The files in `videos/`; one that has not changed since the last look is not read again."""

    folder: Path
    _known: dict[str, tuple[tuple[int, int, int], Clip]] = field(default_factory=dict)

    def look(self) -> dict[str, Clip]:
        """Return every file by its name in the manifest, but the hidden trial of a name."""
        found: dict[str, Clip] = {}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name.startswith("."):
                continue
            stat = path.lstat()
            version = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            name = f"videos/{path.name}"
            if name not in self._known or self._known[name][0] != version:
                self._known[name] = version, Clip.read(path)
            found[name] = self._known[name][1]
        return found

    def forget(self) -> None:
        """Read every file again at the next look."""
        self._known.clear()


@dataclass(slots=True)
class Growing:
    """A file that only grows, in whole lines, of which every byte is read once."""

    path: Path
    needle: bytes
    _read: int = 0
    _found: int = 0

    def count(self) -> int:
        """Count the occurrences so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                news = file.read()
            self._read += len(news)
            self._found += news.count(self.needle)
        return self._found


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """The tables of a ledger, as a process that was killed or has ended left them."""

    tasks: list[Row]
    submits: list[Row]


def read_ledger(directory: RunDirectory) -> LedgerCopy:
    """Copy the ledger with its write-ahead log and read the copy.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ledger.sqlite"
        for suffix in ("", "-wal"):
            source = Path(f"{directory.ledger}{suffix}")
            if source.exists():
                shutil.copyfile(source, f"{copy}{suffix}")
        if not copy.exists():
            return LedgerCopy([], [])
        with closing(sqlite3.connect(copy)) as db:
            db.row_factory = sqlite3.Row
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            if not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                return LedgerCopy([], [])
            return LedgerCopy(
                tasks=[dict(row) for row in db.execute("SELECT * FROM tasks")],
                submits=[dict(row) for row in db.execute("SELECT * FROM submits")],
            )


def read_manifest(directory: RunDirectory) -> list[Row]:
    """Return the manifest's rows; none where there is no manifest yet."""
    path = directory.path / "manifest.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_account(url: str, key: str) -> Row:
    """Ask the sandbox for its own account."""
    request = urllib.request.Request(
        f"{url}/sandbox/ledger", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        account: Row = json.load(answer)
        return account


def said_to_be_saved(run_log: Path, screens: Iterable[Path]) -> set[str]:
    """Return the files that the log or the screen called done. Half a last line says nothing."""
    said: set[str] = set()
    for pattern, paths in ((_SAVED_IN_LOG, [run_log]), (_SAVED_ON_SCREEN, screens)):
        for path in paths:
            if path.exists():
                whole_lines = path.read_text("utf-8").rpartition("\n")[0]
                said.update(pattern.findall(whole_lines))
    return said


def files_holding(needles: Iterable[bytes], paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield each file that holds one of these, with which."""
    wanted = list(needles)
    for path in paths:
        content = path.read_bytes()
        yield from ((path, needle) for needle in wanted if needle in content)


def files_under(folder: Path) -> list[Path]:
    """Return every regular file below a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def listing(folder: Path, *, leave_out: Callable[[Path], bool]) -> dict[str, tuple[int, int, str]]:
    """Return mode, size and hash of everything below a folder, to be compared with a later one."""
    found: dict[str, tuple[int, int, str]] = {}
    for path in sorted(folder.rglob("*")):
        if leave_out(path):
            continue
        stat = path.lstat()
        digest = ""
        if path.is_file() and not path.is_symlink():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        size = stat.st_size if digest else 0
        found[str(path.relative_to(folder))] = (stat.st_mode, size, digest)
    return found


def read_vitals(path: Path) -> tuple[list[float], int]:
    """Return all lags of the event loop in seconds, and the most memory held, in KiB."""
    lags: list[float] = []
    peak = 0
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        kib, *seconds = line.split()
        peak = max(peak, int(kib))
        lags.extend(map(float, seconds))
    return lags, peak
