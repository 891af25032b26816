"""Takes each safeguard away in turn and sees whether the tests miss it.

`python -m tests.mutations` prints the table that CONTRIBUTING.md shows. Each safeguard is taken out
of a copy of the project, never out of the project itself.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).parent.parent
COPIED: Final = ("batchgen", "tests", "jobs", "docs", "pyproject.toml", "README.md")
COUNTED: Final = re.compile(r"(\d+) failed")


@dataclass(frozen=True, slots=True)
class Mutation:
    """A safeguard, and how the code looks without it.

    Attributes:
        safeguard: What is taken away.
        file: Where it is.
        changes: Texts and what stands in their place; each text is there exactly once.
        tests: What is expected to miss it: arguments for pytest.
    """

    safeguard: str
    file: str
    changes: Sequence[tuple[str, str]]
    tests: str


MUTATIONS: Final = (
    Mutation(
        "the intent is committed before the POST",
        "batchgen/run/submit.py",
        (
            (
                "        await means.ledger.intend(\n",
                (
                    "        outcome = await means.provider.submit(body, client_request_id)\n"
                    "        await means.ledger.intend(\n"
                ),
            ),
            (
                (
                    "        outcome = await means.provider.submit(body, client_request_id)\n"
                    "        means.heard"
                ),
                "        means.heard",
            ),
        ),
        "tests/test_durable_order.py",
    ),
    Mutation(
        "the id is committed before the first poll",
        "batchgen/run/submit.py",
        (
            (
                "        if isinstance(outcome, Accepted) and not await means",
                (
                    "        if isinstance(outcome, Accepted):\n"
                    "            await means.provider.fetch(outcome.generation_id)\n"
                    "        if isinstance(outcome, Accepted) and not await means"
                ),
            ),
        ),
        "tests/test_durable_order.py",
    ),
    Mutation(
        "a lost answer is held, not repeated",
        "batchgen/policy.py",
        (("return Action.HOLD if phase is Phase.SUBMIT else Action.RETRY", "return Action.RETRY"),),
        "tests/test_run.py tests/test_policy.py",
    ),
    Mutation(
        "nothing is repeated while a known submit is missing from the log",
        "batchgen/evidence.py",
        (("if (late := self._late(seconds)) is not None:", "if (late := None) is not None:"),),
        "tests/test_evidence.py",
    ),
    Mutation(
        "a task is repeated on evidence once",
        "batchgen/ledger/sightings.py",
        (("            if was_repeated(db, task_id):", "            if False:"),),
        "tests/test_sightings.py",
    ),
    Mutation(
        "an id that another task has is refused",
        "batchgen/ledger/moves.py",
        (("if db.execute(sql, (generation_id, task_id)).fetchone():", "if False:"),),
        "tests/test_run.py tests/test_ledger.py",
    ),
    Mutation(
        "an answer about another generation is not believed",
        "batchgen/providers/wire.py",
        (("if generation_id is not None and not is_same_generation(", "if False and not ("),),
        "tests/test_wire.py",
    ),
    Mutation(
        "a ledger learns from the manifest before anything is bought",
        "batchgen/session.py",
        (
            (
                "    news = ledger.unknown(known_submits(directory.manifest))\n",
                "    news: list[KnownSubmit] = []\n",
            ),
        ),
        "tests/test_catch_up.py",
    ),
    Mutation(
        "a ledger learns from the provider's log before anything is bought",
        "batchgen/run/catch_up.py",
        (("    if ledger.is_new or", "    if True or ledger.is_new or"),),
        "tests/test_catch_up.py",
    ),
    Mutation(
        "a video overwrites no other file",
        "batchgen/transfer.py",
        (("if _hash_there(final) not in (None, sha256):", "if False:"),),
        "tests/test_download_faults.py tests/test_run.py",
    ),
    Mutation(
        "a generation is asked about at no other server",
        "batchgen/run/means.py",
        (("return record.base_url not in (None, self.base_url)", "return False"),),
        "tests/test_run.py",
    ),
    Mutation(
        "a POST follows no redirect",
        "batchgen/providers/aimlapi.py",
        (("allow_redirects=False", "allow_redirects=True"),),
        "tests/test_aimlapi.py",
    ),
    Mutation(
        "a POST goes over a connection of its own",
        "batchgen/providers/aimlapi.py",
        (("aiohttp.TCPConnector(limit=0, force_close=True)", "aiohttp.TCPConnector(limit=0)"),),
        "tests/test_aimlapi.py",
    ),
    Mutation(
        "a POST in the air is shielded from cancellation",
        "batchgen/run/stopping.py",
        (("CancelScope(shield=True) as scope", "CancelScope() as scope"),),
        "tests/test_run.py",
    ),
    Mutation(
        "bytes are forced to disk before the name",
        "batchgen/part.py",
        (("        os.fsync(file.fileno())\n", "        pass\n"),),
        "tests/test_durable_order.py",
    ),
    Mutation(
        "size and hash are committed before the name",
        "batchgen/run/download.py",
        (
            (
                (
                    "    await means.ledger.verified(record.task_id, size=saved.size, "
                    "sha256=saved.sha256)\n"
                ),
                "",
            ),
        ),
        "tests/test_durable_order.py",
    ),
    Mutation(
        "the structure of a video is checked",
        "batchgen/part.py",
        (
            ("return mp4.inspect_open(file.fileno())", "return mp4.VideoInfo()"),
            ('return mp4.inspect_bytes(b"".join(pieces))', "return mp4.VideoInfo()"),
        ),
        "tests/test_transfer.py tests/test_truncation.py",
    ),
    Mutation(
        "the address is checked where the connection is made",
        "batchgen/transfer.py",
        (("if not _allowed(target[0], open_to_loopback=open_to_loopback):", "if False:"),),
        "tests/test_transfer.py",
    ),
    Mutation(
        "a range is asked for with the version it belongs to",
        "batchgen/transfer.py",
        (
            (', "If-Range": part.version}', "}"),
            (" or etag != part.version:", ":"),
        ),
        "tests/test_transfer.py",
    ),
    Mutation(
        "the run directory is held",
        "batchgen/rundir.py",
        (("fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),),
        "tests/test_rundir.py",
    ),
    Mutation(
        "a ledger that is lost is not begun anew",
        "batchgen/ledger/tables.py",
        (("if empty and not may_begin:", "if False:"),),
        "tests/test_ledger.py",
    ),
    Mutation(
        "a damaged write-ahead log is refused",
        "batchgen/ledger/tables.py",
        (("    if is_damaged(path", "    if False and is_damaged(path"),),
        "tests/test_wal.py",
    ),
    Mutation(
        "an id that cannot be committed is rescued",
        "batchgen/ledger/ledger.py",
        (("            self._rescue.keep(task_id, generation_id)\n", "            pass\n"),),
        "tests/test_run.py",
    ),
    Mutation(
        "a budget counts what is in doubt",
        "batchgen/ledger/questions.py",
        (
            (
                "tasks.status NOT IN ('pending', 'cancelled')",
                "tasks.status NOT IN ('pending', 'cancelled', 'unresolved')",
            ),
        ),
        "tests/test_ledger.py",
    ),
    Mutation(
        "a refused submit is looked up before it is repeated",
        "batchgen/run/submit.py",
        (
            (
                "        return await _found(means, record, refused)\n",
                "        return None\n",
            ),
        ),
        "tests/test_run.py",
    ),
    Mutation(
        "a bill above the price is reserved for what is in flight",
        "batchgen/spending.py",
        (("        self._reserve_at_least(usd, self._reserved)\n", ""),),
        "tests/test_spending.py",
    ),
    Mutation(
        "no second wave is submitted before a first file",
        "batchgen/run/run.py",
        (("            await self._first_file(means)\n", "            pass\n"),),
        "tests/test_first_wave.py",
    ),
)


def missed(mutation: Mutation) -> int:
    """Take a safeguard out of a copy and count the tests that fail.

    Raises:
        ValueError: The code no longer looks as the mutation expects.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        copy = Path(scratch)
        for name in COPIED:
            source = REPO / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy / name)
        file = copy / mutation.file
        file.write_text(mutated(file.read_text("utf-8"), mutation), "utf-8")
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                *mutation.tests.split(),
            ],
            cwd=copy,
            # Before the installed package: the commands that tests start must be the copy's, too.
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    found = COUNTED.search(ended.stdout)
    if ended.returncode == 1 and found:
        return int(found[1])
    if ended.returncode == 0:
        return 0
    raise ValueError(f"{mutation.safeguard}: the tests did not run\n{ended.stdout[-2000:]}")


def mutated(code: str, mutation: Mutation) -> str:
    """Change the code of a file.

    Raises:
        ValueError: A text is not there exactly once.
    """
    for old, new in mutation.changes:
        if code.count(old) != 1:
            raise ValueError(f"{mutation.safeguard}: {mutation.file} has changed, see {old!r}")
        code = code.replace(old, new)
    return code


def main(word: str = "") -> int:
    """Print the table; return 1 where a safeguard is not missed.

    Args:
        word: Only safeguards that are described with it; all where empty.
    """
    mutations = [mutation for mutation in MUTATIONS if word in mutation.safeguard]
    print("| without this safeguard | in | tests that fail, of those named |")
    print("|---|---|---|")
    counts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for mutation, count in zip(mutations, pool.map(missed, mutations), strict=True):
            row = f"| {mutation.safeguard} | `{mutation.file}` | {count} of `{mutation.tests}` |"
            print(row, flush=True)
            counts.append(count)
    return int(0 in counts)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
