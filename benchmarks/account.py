"""The books of the benchmarks' server: what it took, what it was asked, what it refused.

Pure. Told the time, it answers; the wire is `benchmarks/dialects.py`.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field

SEED = 7


@dataclass(frozen=True, slots=True)
class Terms:
    """How the server behaves.

    Attributes:
        service: Seconds that a generation takes.
        pending: Answers at least that say a generation is not done yet.
        cap: Generations in work at once; None for any number.
        lost: Share of submits that are taken and whose answer never arrives.
        clip_bytes: Size of a video.
    """

    service: float = 0.0
    pending: int = 0
    cap: int | None = None
    lost: float = 0.0
    clip_bytes: int = 10_000


@dataclass(slots=True)
class Generation:
    """One generation.

    Attributes:
        id: Its name.
        sent_as: The client's own name for the submit; empty where it gave none.
        taken: Unix seconds.
        done_at: Unix seconds.
        pending: Answers left that say it is not done yet.
    """

    id: str
    sent_as: str
    taken: float
    done_at: float
    pending: int


@dataclass(slots=True)
class Account:
    """What one client did here.

    Attributes:
        submits: Generations that were taken, and are to be paid for.
        refusals: Submits that met the cap.
        polls: Questions about a generation.
        lost: Answers to submits that were thrown away.
        files: Videos that were fetched.
        generations: By id, oldest first.
    """

    terms: Terms
    submits: int = 0
    refusals: int = 0
    polls: int = 0
    lost: int = 0
    files: int = 0
    generations: dict[str, Generation] = field(default_factory=dict)
    _rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    _by_prompt: Counter[str] = field(default_factory=Counter)
    _in_work: deque[float] = field(default_factory=deque)

    @property
    def duplicates(self) -> int:
        """Return generations that were paid for although their prompt had been taken before."""
        return self.submits - len(self._by_prompt)

    def submit(self, prompt: str, sent_as: str, now: float) -> Generation | None:
        """Take a submit; None where too many are in work."""
        while self._in_work and self._in_work[0] <= now:
            self._in_work.popleft()
        if self.terms.cap is not None and len(self._in_work) >= self.terms.cap:
            self.refusals += 1
            return None
        self.submits += 1
        self._by_prompt[prompt] += 1
        done_at = now + self.terms.service
        self._in_work.append(done_at)
        taken = Generation(f"g{self.submits:07}", sent_as, now, done_at, self.terms.pending)
        self.generations[taken.id] = taken
        return taken

    def loses_this(self) -> bool:
        """Tell whether the answer to the submit just taken is thrown away."""
        lost = self.terms.lost > 0 and self._rng.random() < self.terms.lost
        self.lost += lost
        return lost

    def is_done(self, generation: Generation, now: float) -> bool:
        """Count a question about a generation and tell whether its video is there."""
        self.polls += 1
        if generation.pending:
            generation.pending -= 1
            return False
        return now >= generation.done_at

    def counts(self) -> dict[str, int]:
        """Return what was counted."""
        return {
            "submits": self.submits,
            "duplicates": self.duplicates,
            "refusals": self.refusals,
            "polls": self.polls,
            "lost": self.lost,
            "files": self.files,
        }
