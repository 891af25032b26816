"""How fast files come, and at what cost, against the programs that are made for it."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import nginx
from benchmarks.clips import clip
from benchmarks.processes import Usage, in_turns, measure, median_ratio, python
from benchmarks.tables import Table

AT_ONCE: Final = 8
MB: Final = 1_000_000
CURL: Final = "curl --parallel"
ARIA2: Final = "aria2c -j 8 -x 1"
PLAIN: Final = "aiohttp, aiofiles, a piece at a time"
PLAIN_HASHED: Final = "the same, with sha256"
OURS: Final = "batchgen: sha256, checks, fsync"
UNHASHED: Final = "batchgen: checks and fsync alone"
GOALS: Final = {OURS: "0.80", UNHASHED: "1.00"}
MEMORY: Final = Path("/dev/shm")


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Fetch the same files with each of them, from nginx on this machine."""
    missing = nginx.missing_programs()
    if "nginx" in missing or "curl" in missing:
        note = f"not measured: {', '.join(missing)} is not here and could not be installed"
        return [Table("Downloads", ["", "MB/s, ratio to curl"], [], [note])]
    sizes = ((8, 1.0),) if quick else ((64, 8.0), (400, 3.7))
    return [_table(count, size, 1 if quick else 5, missing) for count, size in sizes]


def _table(count: int, size: float, times: int, missing: Sequence[str]) -> Table:
    with tempfile.TemporaryDirectory(dir=_place(count * size * MB)) as scratch:
        files, folder = Path(scratch) / "files", Path(scratch)
        files.mkdir()
        content = clip(int(size * MB))
        for number in range(count):
            (files / f"{number}.mp4").write_bytes(content)
        with nginx.serving(files, folder) as root:
            urls = [f"{root}/{number}.mp4" for number in range(count)]
            found = in_turns(_contenders(urls, folder, missing), times)
    rows = [
        [
            name,
            f"{median_ratio(found[CURL], usages, lambda usage: usage.wall):.2f}",
            f"{median_ratio(usages, found[CURL], lambda usage: usage.cpu):.2f}",
            GOALS.get(name, ""),
        ]
        for name, usages in found.items()
    ]
    notes = [
        (
            "From nginx on this machine, files in memory where there is room in /dev/shm (an fsync "
            f"costs nothing there), {AT_ONCE} at once; medians of {times} pairs. What Python takes "
            "to start is not counted; what the others take is. curl and aria2c hash nothing."
        ),
        (
            "On the machine where the goals were set the plain script of aiohttp and aiofiles "
            "reached 1.00 without a hash and 0.75 with one."
        ),
        *(f"not measured: {name} is not here and could not be installed" for name in missing),
    ]
    title = f"Downloads: {count} files of {size:g} MB"
    columns = ["", "MB/s, ratio to curl", "CPU a GB, ratio to curl", "goal: MB/s at least"]
    return Table(title, columns, rows, notes)


def _place(size: float) -> Path | None:
    """Choose where the files lie, once at the server and once fetched; None for the disk."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2.5 * size else None


def _contenders(
    urls: Sequence[str], folder: Path, missing: Sequence[str]
) -> Mapping[str, Callable[[], Usage]]:
    out, listed, pairs = folder / "out", folder / "urls", folder / "curl"
    listed.write_text("".join(f"{url}\n" for url in urls))
    pairs.write_text(
        "".join(f'url="{url}"\noutput="{out}/{n}.mp4"\n' for n, url in enumerate(urls))
    )
    quiet = ["--silent", "--show-error", "--no-progress-meter", "--fail", "--create-dirs"]
    curl: list[str | Path] = [
        "curl",
        "--parallel",
        "--parallel-max",
        str(AT_ONCE),
        *quiet,
        "--config",
        pairs,
    ]
    aria2: list[str | Path] = [
        "aria2c",
        "-j",
        str(AT_ONCE),
        "-x",
        "1",
        "--quiet",
        "-d",
        out,
        "-i",
        listed,
    ]

    def script(name: str, hashing: str) -> Usage:
        command = python("-m", f"benchmarks.scripts.{name}", listed, out, str(AT_ONCE), hashing)
        usage = measure(command)
        wall, cpu = map(float, usage.stdout.split())
        return replace(usage, wall=wall, cpu=cpu)

    contenders: dict[str, Callable[[], Usage]] = {
        CURL: lambda: measure(curl),
        ARIA2: lambda: measure(aria2),
        PLAIN: lambda: script("plain_fetch", "unhashed"),
        PLAIN_HASHED: lambda: script("plain_fetch", "hashed"),
        UNHASHED: lambda: script("fetch_all", "unhashed"),
        OURS: lambda: script("fetch_all", "hashed"),
    }
    return {
        name: _afterwards(run, out)
        for name, run in contenders.items()
        if name.split(maxsplit=1)[0] not in missing
    }


def _afterwards(run: Callable[[], Usage], out: Path) -> Callable[[], Usage]:
    """Clear the folder after a run: memory is what the files take."""

    def cleared() -> Usage:
        usage = run()
        shutil.rmtree(out)
        return usage

    return cleared
