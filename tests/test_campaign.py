"""The campaign in small, and the whole of it by night."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.campaign.__main__ import table
from tests.campaign.evidence import Clip, LedgerCopy, Row
from tests.campaign.faults import ROWS
from tests.campaign.invariants import Findings, judge_end, judge_exit, judge_kill
from tests.campaign.night import Night, NightReport
from tests.campaign.processes import NightSettings


def hold(report: NightReport, settings: NightSettings) -> None:
    """All invariants stand, and the night was one worth the name."""
    # How late the event loop is depends on who else uses the machine: held by the command only.
    broken = {code: found for code, found in report.findings.broken.items() if code != "I10"}
    assert not broken, table(report)
    # The real command cannot be hurried: on a fast machine it is done before its later kills.
    assert sum(report.kills.values()) >= (1 if settings.real_command else settings.kills / 2)
    assert bool(report.faults) == settings.faults
    idle = {code for code, found in report.findings.by_code.items() if not found.checked}
    assert idle <= ({"I10"} if settings.real_command else set())


@pytest.mark.timeout(300)  # it waits for the log, by a clock that can only be hurried
def test_a_night_of_faults_and_kills_keeps_every_invariant(tmp_path: Path) -> None:
    settings = NightSettings(tasks=500, kills=8, seed=1, rate=240.0)
    hold(Night(tmp_path / "night", settings).pass_(), settings)


@pytest.mark.nightly
def test_the_real_command_keeps_them_too(tmp_path: Path) -> None:
    """Without faults: what it would wait for, it would wait for by the clock on the wall."""
    settings = NightSettings(tasks=200, kills=4, seed=2, rate=1.0, faults=False, real_command=True)
    hold(Night(tmp_path / "night", settings).pass_(), settings)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("log", sorted(ROWS.keys() - {"honest"}))
def test_a_night_with_any_kind_of_log_buys_nothing_twice_on_evidence(
    tmp_path: Path, log: str
) -> None:
    settings = NightSettings(tasks=500, kills=4, seed=6, log=log)
    hold(Night(tmp_path / "night", settings).pass_(), settings)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_night_of_ten_thousand_tasks_keeps_every_invariant(tmp_path: Path, seed: int) -> None:
    settings = NightSettings(tasks=10_000, kills=50, seed=seed)
    hold(Night(tmp_path / "night", settings).pass_(), settings)


NAME = "videos/0_a-fox_s7.mp4"


@dataclass
class Morning:
    """The evidence of a night of one task that went well."""

    generations: list[Row]
    requests: dict[str, int]
    task: Row
    submits: list[Row]
    manifest: list[Row]
    clips: dict[str, Clip]
    said: set[str]

    def judged(self) -> dict[str, list[str]]:
        """Judge it as the end of a night."""
        findings = Findings()
        judge_end(
            findings,
            account={"generations": self.generations, "requests": self.requests},
            ledger=LedgerCopy([self.task], self.submits),
            manifest=self.manifest,
            clips=self.clips,
            said=self.said,
            tasks=1,
        )
        return findings.broken

    def judged_as_killed(self) -> dict[str, list[str]]:
        """Judge it as what a kill left."""
        findings = Findings()
        ledger = LedgerCopy([self.task], self.submits)
        judge_kill(findings, ledger, self.clips, self.said, tasks=1, submits=8)
        return findings.broken


@pytest.fixture
def morning() -> Morning:
    kept = {"bytes": 9, "sha256": "ab", "status": "succeeded"}
    return Morning(
        generations=[{"generation_id": "g", "client_request_id": "t.1"}],
        requests={"submit": 1, "fetch": 3, "download": 1},
        task={
            **kept,
            "task_id": "t",
            "stem": "0_a-fox_s7",
            "params": json.dumps({"prompt": "a fox", "seed": 7}),
        },
        submits=[{"client_request_id": "t.1", "task_id": "t", "outcome": "accepted"}],
        manifest=[{**kept, "task_id": "t", "generation_id": "g", "file_name": NAME, "polls": 3}],
        clips={NAME: Clip(9, "ab", None, ("a fox", 7))},
        said={NAME},
    )


def test_a_night_that_went_well_breaks_nothing(morning: Morning) -> None:
    assert morning.judged() == {}
    assert morning.judged_as_killed() == {}


def bought_twice(morning: Morning) -> None:
    morning.generations.append({"generation_id": "g2", "client_request_id": "t.2"})
    morning.submits.append({"client_request_id": "t.2", "task_id": "t", "outcome": "ambiguous"})


def posted_without_intent(morning: Morning) -> None:
    morning.submits.clear()


def forgot_an_id(morning: Morning) -> None:
    morning.manifest[0] |= {"generation_id": None, "status": "failed"}


def named_too_early(morning: Morning) -> None:
    morning.task |= {"bytes": None, "sha256": None}


def repeated_what_was_taken(morning: Morning) -> None:
    morning.submits[0] |= {"outcome": "resubmitted", "evidence": "it was nowhere"}


def kept_a_cut_file(morning: Morning) -> None:
    morning.clips[NAME] = replace(morning.clips[NAME], fault="the file is cut")


def mixed_two_videos_up(morning: Morning) -> None:
    morning.clips[NAME] = replace(morning.clips[NAME], mark=("a fox", 8))


def lost_a_file(morning: Morning) -> None:
    del morning.clips[NAME]


def took_back_what_was_said(morning: Morning) -> None:
    morning.task["status"] = "completed"


def asked_without_end(morning: Morning) -> None:
    morning.requests["fetch"] = 1000


def left_a_task_pending(morning: Morning) -> None:
    morning.manifest[0] |= {"status": "pending"}


def dropped_a_row(morning: Morning) -> None:
    morning.manifest.clear()


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (bought_twice, "I1"),
        (posted_without_intent, "I1"),
        (repeated_what_was_taken, "I1"),
        (forgot_an_id, "I2"),
        (named_too_early, "I3"),
        (kept_a_cut_file, "I3"),
        (mixed_two_videos_up, "I3"),
        (lost_a_file, "I4"),
        (lost_a_file, "I5"),
        (took_back_what_was_said, "I5"),
        (asked_without_end, "I6"),
        (left_a_task_pending, "I9"),
        (dropped_a_row, "I9"),
    ],
)
def test_each_breach_is_seen_at_the_end(
    morning: Morning, tamper: Callable[[Morning], None], code: str
) -> None:
    tamper(morning)
    assert code in morning.judged()


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (named_too_early, "I3"),
        (kept_a_cut_file, "I3"),
        (lost_a_file, "I5"),
        (took_back_what_was_said, "I5"),
    ],
)
def test_each_breach_is_seen_right_after_a_kill(
    morning: Morning, tamper: Callable[[Morning], None], code: str
) -> None:
    tamper(morning)
    assert code in morning.judged_as_killed()


@pytest.mark.parametrize(
    ("code", "statuses", "true"),
    [
        (0, ["succeeded"], True),
        (0, ["failed"], False),
        (5, ["failed"], True),
        (5, ["succeeded"], False),
        (5, ["failed", "pending"], False),
        (6, ["pending"], True),
        (1, ["succeeded"], False),
        (0, [], False),
    ],
)
def test_an_exit_code_that_lies_is_seen(code: int, statuses: list[str], true: bool) -> None:  # noqa: FBT001
    findings = Findings()
    judge_exit(findings, code, [{"status": status} for status in statuses], max(1, len(statuses)))
    assert bool(findings.broken) is not true
