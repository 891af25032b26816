"""Which fault of a plan a request meets.

Pure: the same plan and the same requests give the same faults, in whatever order requests about
different things come. Only `first` and `skip` count arrivals.
"""

from collections import Counter
from hashlib import blake2b

from batchgen.sandbox.faults import Asked, FaultPlan, Rule


class Faults:
    """A plan at work.

    Attributes:
        plan: The plan.
        done: How often each rule was done, in the plan's order.
    """

    def __init__(self, plan: FaultPlan, began: float) -> None:
        """Begin at `began`, in Unix seconds."""
        self.plan = plan
        self.done = [0] * len(plan.faults)
        self._began = began
        self._matched = [0] * len(plan.faults)
        self._asked: Counter[tuple[str, str]] = Counter()
        self._hit: Counter[tuple[int, str]] = Counter()

    def choose(self, asked: Asked, now: float) -> Rule | None:
        """Return what is done to a request at `now`, in Unix seconds; None leaves it alone."""
        about = (asked.place, asked.identity)
        self._asked[about] += 1
        for number, rule in enumerate(self.plan.faults):
            if self._meets(number, rule, asked, self._asked[about], now - self._began):
                if rule.each is not None:
                    self._hit[number, asked.identity] += 1
                self.done[number] += 1
                return rule
        return None

    def _meets(self, number: int, rule: Rule, asked: Asked, turn: int, seconds: float) -> bool:
        if not rule.matches(asked):
            return False
        if seconds < rule.since or (rule.until is not None and seconds >= rule.until):
            return False
        self._matched[number] += 1
        place_in_line = self._matched[number] - rule.skip
        if place_in_line < 1 or (rule.first is not None and place_in_line > rule.first):
            return False
        if rule.each is not None and self._hit[number, asked.identity] >= rule.each:
            return False
        return self._draw(number, asked, 0 if rule.LASTING else turn) < rule.rate

    def _draw(self, number: int, asked: Asked, turn: int) -> float:
        """Hash a decision to a number in [0, 1)."""
        parts = (self.plan.seed, number, asked.place, asked.identity, turn)
        text = "\n".join(map(str, parts)).encode(errors="replace")
        return int.from_bytes(blake2b(text, digest_size=7).digest()) / 2**56
