"""What is spent and reserved, held against a budget: quotes, bills, failures, and the bound."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batchgen.job import Budget
from batchgen.spending import Booking, Spending, Spent


def spending(quote: float | None = 0.06, *, spent: Spent | None = None, **budget: Any) -> Spending:
    return Spending(Budget(**budget), spent or Spent(), quote)


def reserved(spending: Spending, *names: str) -> Spending:
    for name in names:
        spending.reserve(name)
    return spending


def test_a_budget_is_used_up_to_its_last_video() -> None:
    money = spending(max_usd=0.18)
    for name in "abc":
        assert money.refusal() is None
        money.reserve(name)
    said = money.refusal()
    assert said is not None
    assert "would pass the budget of $0.18: $0.18 are spent or reserved" in said


@pytest.mark.parametrize("quote", [None, 0.0])
def test_no_price_and_a_price_of_nothing_hold_no_budget(quote: float | None) -> None:
    assert "nobody says what a video costs" in str(spending(quote, max_usd=5.0).refusal())
    assert spending(quote, max_tasks=1).refusal() is None


def test_the_bills_of_earlier_runs_are_a_price_where_they_are_higher_or_the_only_one() -> None:
    earlier = Spent(highest_bill=0.3)
    assert spending(0.06, spent=earlier).price == 0.3
    assert spending(None, spent=earlier).price == 0.3
    assert spending(0.5, spent=earlier).price == 0.5


def test_a_higher_bill_is_reserved_for_the_next_and_for_what_is_in_flight() -> None:
    money = reserved(spending(0.06, max_usd=1.3), *"abcde")
    assert money.book("a", Booking(0.3, None)) is True
    assert money.price == 0.3
    assert money.committed_usd == pytest.approx(5 * 0.3)
    assert money.excess == pytest.approx(0.2)
    for name in "bc":
        assert money.book(name, Booking(0.1, None)) is False, "a lower one takes nothing back"
    assert money.price == 0.3
    assert money.excess == 0.0
    assert money.refusal() is not None
    money.release("d")
    assert money.refusal() is None


def test_what_was_reserved_and_not_submitted_yet_is_given_up_when_a_bill_has_taken_its_room() -> (
    None
):
    money = reserved(spending(0.06, max_usd=0.6), *"abcdefghij")
    assert not money.give_up("j")
    money.book("a", Booking(0.2, None))
    assert money.excess == pytest.approx(10 * 0.2 - 0.6)
    assert money.give_up("j")
    assert money.submits == 9
    assert "another video at $0.20 would pass the budget of $0.60" in str(money.over)


def test_an_estimate_is_no_bill() -> None:
    money = reserved(spending(0.06), "a")
    assert money.book("a", Booking(0.3, None, is_estimate=True)) is False
    assert money.price == 0.06
    assert money.committed_usd == pytest.approx(0.3)


def test_what_was_billed_stays_counted_when_its_task_fails_afterwards() -> None:
    money = reserved(spending(0.06), "a", "b")
    money.book("a", Booking(0.06, None))
    money.release("a")
    money.release("b")
    assert money.committed_usd == pytest.approx(0.06)
    assert money.submits == 1


def test_a_bill_that_comes_after_an_estimate_takes_its_place() -> None:
    money = reserved(spending(0.06), "a")
    money.book("a", Booking(0.06, None, is_estimate=True))
    money.book("a", Booking(0.09, 0.06))
    assert money.committed_usd == pytest.approx(0.09)
    assert money.submits == 1


def test_a_doubt_that_is_submitted_again_counts_twice_at_the_price_of_today() -> None:
    money = reserved(spending(0.06), "a")
    money.keep("a", "a.lost")
    money.reserve("a")
    money.book("a", Booking(0.2, None))
    assert money.committed_usd == pytest.approx(0.4)
    assert money.submits == 2


QUOTES = st.sampled_from([None, 0.0, 0.06, 0.25])
BILLS = st.sampled_from([0.01, 0.06, 0.07, 0.3, 1.0])
CAP = 2.0


class Books(RuleBasedStateMachine):
    """Submits, bills and failures in any order, over several runs, beside books of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.billed: dict[str, float] = {}
        self.reserved: dict[str, float] = {}  # at the price of their time, as a ledger keeps it
        self.waiting: list[str] = []  # reserved, and not submitted yet
        self.may_pass = 0.0
        self.names = 0

    @initialize(quote=QUOTES)
    def begins(self, quote: float | None) -> None:
        self.money = Spending(Budget(max_usd=CAP), Spent(), quote)

    def _dear(self, before: float | None) -> None:
        """Allow for what the bound says: the difference for each that is reserved by now."""
        price = self.money.price
        if price is not None and before is not None and price > before:
            self.may_pass += (price - before) * (self.money.open + 1)

    @rule()
    def another(self) -> None:
        if self.money.refusal() is None:
            self.names += 1
            self.money.reserve(f"t{self.names}")
            self.waiting.append(f"t{self.names}")

    @rule(data=st.data())
    def submitted(self, data: st.DataObject) -> None:
        if not self.waiting:
            return
        name = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(name)
        if not self.money.give_up(name):
            assert self.money.committed_usd <= CAP + 1e-5, "nothing leaves past the budget"
            self.reserved[name] = self.money.price or 0.0

    @rule(data=st.data(), bill=BILLS)
    def a_bill(self, data: st.DataObject, bill: float) -> None:
        if self.reserved:
            name = data.draw(st.sampled_from(sorted(self.reserved)))
            before = self.money.price
            self.reserved.pop(name)
            self.money.book(name, Booking(bill, None))
            self.billed[name] = bill
            self._dear(before)

    @rule(data=st.data())
    def failed_for_free(self, data: st.DataObject) -> None:
        if self.reserved:
            name = data.draw(st.sampled_from(sorted(self.reserved)))
            self.reserved.pop(name)
            self.money.release(name)

    @rule(data=st.data())
    def failed_after_its_bill(self, data: st.DataObject) -> None:
        if self.billed:
            self.money.release(data.draw(st.sampled_from(sorted(self.billed))))

    @rule(data=st.data(), bill=BILLS)
    def billed_again(self, data: st.DataObject, bill: float) -> None:
        """A later answer about the same generation names another sum."""
        if self.billed:
            name = data.draw(st.sampled_from(sorted(self.billed)))
            before = self.money.price
            self.may_pass += max(0.0, bill - self.billed[name])
            self.money.book(name, Booking(bill, self.billed[name]))
            self.billed[name] = bill
            self._dear(before)

    @rule(data=st.data())
    def a_doubt_is_submitted_again(self, data: st.DataObject) -> None:
        if self.reserved and self.money.refusal() is None:
            name = data.draw(st.sampled_from(sorted(self.reserved)))
            self.names += 1
            self.money.keep(name, f"{name}.lost{self.names}")
            self.reserved[f"{name}.lost{self.names}"] = self.reserved.pop(name)
            self.money.reserve(name)
            self.waiting.append(name)

    @rule(quote=QUOTES)
    def the_next_run(self, quote: float | None) -> None:
        """What was not submitted is forgotten; the rest is what the ledger keeps."""
        before = self.money.price
        spent = Spent(
            known_usd=sum(self.billed.values()),
            reserved=dict(self.reserved),
            submits=len(self.billed) + len(self.reserved),
            highest_bill=max(self.billed.values(), default=None),
        )
        self.waiting.clear()
        self.money = Spending(Budget(max_usd=CAP), spent, quote)
        price = self.money.price or 0.0
        for usd in self.reserved.values():
            self.may_pass += max(0.0, price - max(usd, before or 0.0))

    @invariant()
    def nothing_billed_goes_uncounted(self) -> None:
        if not hasattr(self, "money"):
            return
        price = self.money.price or 0.0
        least = sum(self.billed.values()) + sum(max(usd, price) for usd in self.reserved.values())
        least += price * len(self.waiting)
        assert self.money.committed_usd == pytest.approx(least, abs=1e-6)
        assert self.money.submits == len(self.billed) + len(self.reserved) + len(self.waiting)

    @invariant()
    def the_budget_is_passed_by_no_more_than_the_bound(self) -> None:
        if hasattr(self, "money"):
            assert self.money.committed_usd <= CAP + self.may_pass + 1e-5


class TestMoneyInAnyOrder(Books.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
