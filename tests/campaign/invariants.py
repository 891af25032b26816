"""The ten invariants, judged on evidence. Pure but for the evidence it is handed."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from batchgen.errors import ExitCode
from tests.campaign.evidence import Clip, LedgerCopy, Row

SENTENCES: Final = {
    "I1": "no task is submitted twice without a recorded decision, none without an intent",
    "I2": "every generation that was taken is in the manifest, or its task is unresolved there",
    "I3": "a file under its final name is recorded, whole and its own",
    "I4": "succeeded rows = files = generations at the server",
    "I5": "what was said to be saved survives SIGKILL",
    "I6": "polls are bounded, repeated submits are few",
    "I7": "no key and no signed address in any file or output",
    "I8": "nothing outside the run directory is created or changed",
    "I9": "every task has one status, and the exit code says so",
    "I10": "the event loop is on time, memory is bounded",
}
MOST_POLLS: Final = 40
"""Polls a generation, on average: its waits grow, so some 15 fit into a minute."""
MOST_REPEATS: Final = 0.10
MOST_LAG_SECONDS: Final = 0.100
MOST_MEMORY_KIB: Final = 400 * 1024
EXAMPLES: Final = 5

_FINISHED: Final = {"succeeded", "failed", "timed_out", "unresolved", "cancelled"}
_LOST_AND_REPLACED: Final = {"resubmitted", "abandoned"}


@dataclass(slots=True)
class Finding:
    """What came of holding one invariant.

    Attributes:
        checked: How many things were held to it.
        broken: The things that break it, in words.
        note: A figure worth printing.
    """

    checked: int = 0
    broken: list[str] = field(default_factory=list)
    note: str = ""


class Findings:
    """The findings of one night, by invariant."""

    def __init__(self) -> None:
        self.by_code = {code: Finding() for code in SENTENCES}

    def hold(self, code: str, breaches: Iterable[str], checked: int) -> None:
        """Add what was checked, and a sentence for each breach."""
        finding = self.by_code[code]
        finding.checked += checked
        finding.broken.extend(breaches)

    def note(self, code: str, text: str) -> None:
        """Set the figure that is printed beside an invariant."""
        self.by_code[code].note = text

    @property
    def broken(self) -> dict[str, list[str]]:
        """Return the breaches of the invariants that are broken."""
        return {code: found.broken for code, found in self.by_code.items() if found.broken}


def judge_kill(
    findings: Findings,
    ledger: LedgerCopy,
    clips: Mapping[str, Clip],
    said: set[str],
    *,
    tasks: int,
    submits: int,
) -> None:
    """Judge what one SIGKILL left: before anything is mended."""
    by_name = {file_name(task): task for task in ledger.tasks}
    findings.hold("I3", _unkept(by_name, clips), len(clips))
    findings.hold("I5", _lost(by_name, clips, said), len(said))
    findings.hold(
        "I9",
        [f"{len(ledger.tasks)} of {tasks} tasks in the ledger after a kill"]
        if len(ledger.tasks) not in (0, tasks)
        else [],
        1,
    )
    in_doubt = sum(task["status"] == "submitting" for task in ledger.tasks)
    findings.hold(
        "I1",
        [f"{in_doubt} submits in doubt at one kill, with {submits} at once"]
        if in_doubt > submits
        else [],
        1,
    )


def judge_end(
    findings: Findings,
    *,
    account: Row,
    ledger: LedgerCopy,
    manifest: list[Row],
    clips: Mapping[str, Clip],
    said: set[str],
    tasks: int,
) -> None:
    """Judge how the night ended."""
    by_name = {file_name(task): task for task in ledger.tasks}
    generations = {each["generation_id"]: each for each in account["generations"]}
    rows = {row["task_id"]: row for row in manifest}
    findings.hold("I1", _paid_twice(generations, ledger), len(generations))
    findings.hold("I2", _forgotten(generations, ledger, rows), len(generations))
    findings.hold("I3", _unkept(by_name, clips), len(clips))
    findings.hold("I4", _unequal(generations, rows, clips), len(rows))
    done = {row["generation_id"] for row in manifest if row["status"] == "succeeded"}
    findings.note(
        "I4",
        f"{len(done)} rows, {len(clips)} files, {len(generations)} generations,"
        f" {len(generations.keys() - done)} of them failed, replaced or unresolved",
    )
    findings.hold("I5", _lost(by_name, clips, said), len(said))
    _hold_traffic(findings, account, ledger, manifest)
    statuses = Counter(str(row["status"]) for row in manifest)
    wrong = [] if len(rows) == len(manifest) == tasks else [f"{len(manifest)} rows, {tasks} tasks"]
    wrong += [
        f"{count} tasks are {status}"
        for status, count in statuses.items()
        if status not in _FINISHED
    ]
    findings.hold("I9", wrong, len(manifest))
    findings.note("I9", ", ".join(f"{n} {status}" for status, n in statuses.most_common()))


def judge_untrusted(findings: Findings, ledger: LedgerCopy) -> None:
    """Judge a night whose log is not to be trusted: nothing is repeated because of it."""
    findings.hold(
        "I1",
        [
            f"{each['client_request_id']} was repeated on evidence: {each['evidence']}"
            for each in ledger.submits
            if each["evidence"]
        ],
        len(ledger.submits),
    )


def judge_exit(findings: Findings, code: int, manifest: list[Row], tasks: int) -> None:
    """Judge whether a run that ended by itself said truly how."""
    statuses = Counter(str(row["status"]) for row in manifest)
    says = f"exit code {code} with {dict(statuses)}"
    wrong = [] if sum(statuses.values()) == tasks else [f"{tasks} tasks, {says}"]
    match code:
        case ExitCode.OK:
            wrong += [says] if statuses["succeeded"] != tasks else []
        case ExitCode.INCOMPLETE:
            wrong += [says] if statuses["pending"] or statuses["succeeded"] == tasks else []
        case ExitCode.REFUSED | ExitCode.STOPPED:
            pass
        case _:
            wrong.append(says)
    findings.hold("I9", wrong, 1)


def judge_vitals(findings: Findings, lags: list[float], peak_kib: int) -> None:
    """Judge how late the event loop was and how much memory was held."""
    ordered = sorted(lags)
    p99 = ordered[int(len(ordered) * 0.99)] if ordered else 0.0
    wrong = []
    if p99 >= MOST_LAG_SECONDS:
        wrong.append(f"the event loop was {p99 * 1000:.0f} ms late at the 99th percentile")
    if peak_kib >= MOST_MEMORY_KIB:
        wrong.append(f"{peak_kib / 1024:.0f} MiB of memory")
    findings.hold("I10", wrong, len(lags))
    findings.note(
        "I10",
        f"lag p99 {p99 * 1000:.1f} ms, most {max(ordered, default=0):.3f} s, "
        f"memory {peak_kib / 1024:.0f} MiB",
    )


def leaks(account: Row) -> list[str]:
    """Find what the client carried to places that must not have it."""
    seen = {"authorization", "cookie"} & set(account["download_headers"])
    wrong = [f"the file host was sent {name}" for name in seen]
    return wrong + [f"a redirect was followed: {request}" for request in account["trapped"]]


def file_name(task: Row) -> str:
    """Return where a task's video lies, from its row in the ledger."""
    return f"videos/{task['stem']}.mp4"


def _unkept(by_name: Mapping[str, Row], clips: Mapping[str, Clip]) -> list[str]:
    """Find files that were never recorded, are not whole, or belong to another task."""
    wrong = []
    for name, clip in clips.items():
        task = by_name.get(name)
        if task is None:
            wrong.append(f"{name} belongs to no task")
        elif (task["bytes"], task["sha256"]) != (clip.size, clip.sha256):
            wrong.append(f"{name} has {clip.size} bytes, recorded are {task['bytes']}")
        elif clip.fault is not None:
            wrong.append(f"{name}: {clip.fault}")
        elif clip.mark != _mark(task["params"]):
            wrong.append(f"{name} is the video of {clip.mark}")
    return wrong


def _mark(params: str) -> tuple[str, int]:
    asked = json.loads(params)
    return asked["prompt"], asked["seed"]


def _lost(by_name: Mapping[str, Row], clips: Mapping[str, Clip], said: set[str]) -> list[str]:
    """Find files that were said to be saved and are not, or not in the ledger."""
    wrong = [f"{name} was said to be saved and is gone" for name in said - clips.keys()]
    wrong += [
        f"{name} was said to be saved, the ledger says {by_name[name]['status']}"
        for name in said & by_name.keys()
        if by_name[name]["status"] != "succeeded"
    ]
    return wrong + [f"{name} was said to be saved by no task" for name in said - by_name.keys()]


def _paid_twice(generations: Mapping[str, Row], ledger: LedgerCopy) -> list[str]:
    """Find tasks with more generations than decisions allow, and submits without an intent."""
    submits = {submit["client_request_id"]: submit for submit in ledger.submits}
    wrong = [
        f"{generation_id} was taken for {each['client_request_id']}, without an intent on record"
        for generation_id, each in generations.items()
        if each["client_request_id"] not in submits
    ]
    taken = Counter(
        submits[each["client_request_id"]]["task_id"]
        for each in generations.values()
        if each["client_request_id"] in submits
    )
    decided = Counter(
        submit["task_id"] for submit in ledger.submits if submit["outcome"] == "resubmitted"
    )
    wrong += [
        f"{each['client_request_id']} was repeated on evidence, though it had been taken"
        for each in generations.values()
        if submits.get(each["client_request_id"], {}).get("evidence")
    ]
    return wrong + [
        f"task {task_id} was taken {count} times, with {decided[task_id]} decisions to resubmit"
        for task_id, count in taken.items()
        if count - 1 > decided[task_id]
    ]


def _forgotten(
    generations: Mapping[str, Row], ledger: LedgerCopy, rows: Mapping[str, Row]
) -> list[str]:
    """Find generations that neither the manifest nor a doubt on record accounts for."""
    submits = {submit["client_request_id"]: submit for submit in ledger.submits}
    in_manifest = {row["generation_id"] for row in rows.values()}
    wrong = []
    for generation_id, each in generations.items():
        submit: Mapping[str, Any] = submits.get(each["client_request_id"], {})
        status = rows.get(submit.get("task_id", ""), {}).get("status")
        if not (
            generation_id in in_manifest
            or status == "unresolved"
            or submit.get("outcome") in _LOST_AND_REPLACED
        ):
            wrong.append(
                f"{generation_id} of task {submit.get('task_id')}, which is {status},"
                f" its submit {submit.get('outcome')}"
            )
    return wrong


def _unequal(
    generations: Mapping[str, Row], rows: Mapping[str, Row], clips: Mapping[str, Clip]
) -> list[str]:
    """Find rows without their file or generation, and files without their row."""
    done = [row for row in rows.values() if row["status"] == "succeeded"]
    wrong = [
        f"{row['file_name']} is in the manifest and not on disk"
        for row in done
        if row["file_name"] not in clips
    ]
    wrong += [
        f"{row['file_name']} on disk is not what the manifest says"
        for row in done
        if row["file_name"] in clips
        and (clips[row["file_name"]].size, clips[row["file_name"]].sha256)
        != (row["bytes"], row["sha256"])
    ]
    wrong += [
        f"{row['generation_id']} of task {row['task_id']} is unknown to the server"
        for row in done
        if row["generation_id"] not in generations
    ]
    shared = Counter(row["generation_id"] for row in rows.values() if row["generation_id"])
    wrong += [f"{count} tasks share {each}" for each, count in shared.items() if count > 1]
    named = {row["file_name"] for row in done}
    return wrong + [f"{name} is of no row that succeeded" for name in clips.keys() - named]


def _hold_traffic(
    findings: Findings, account: Row, ledger: LedgerCopy, manifest: list[Row]
) -> None:
    requests: Mapping[str, int] = account["requests"]
    asked = sum(requests.get(kind, 0) for kind in ("submit", "fetch", "download", "logs"))
    generations = len(account["generations"])
    polls = requests.get("fetch", 0) / max(1, generations)
    repeats = len(ledger.submits) - len({submit["task_id"] for submit in ledger.submits})
    share = repeats / max(1, asked)
    most = max((row["polls"] or 0 for row in manifest), default=0)
    wrong = []
    if polls > MOST_POLLS:
        wrong.append(f"{polls:.1f} polls a generation")
    if share > MOST_REPEATS:
        wrong.append(f"{repeats} repeated submits among {asked} requests")
    findings.hold("I6", wrong, asked)
    findings.note(
        "I6",
        f"{polls:.1f} polls a generation, most {most}; {repeats} repeated submits,"
        f" {share:.1%} of requests",
    )
