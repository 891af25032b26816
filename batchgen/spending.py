"""What a run directory has spent and reserved, held against its budget. Pure.

A submit is reserved before it is made, at the price of a video, and counts until the provider bills
it or it turns out to be free. The price is what the provider quotes or the job says, and rises to
the highest bill: for submits to come and for those whose bill is still to come.

The bound: when a bill is first higher than the price, what is then reserved was submitted already.
So the budget can be passed by at most (bill - price) for each submit in flight or unresolved at
that moment, and by nothing that is submitted later, as long as no bill is higher still.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from batchgen.job import Budget
from batchgen.terminal import dollars

ROUNDING_USD: Final = 1e-6
"""A millionth of a dollar of rounding is no overrun."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the ledger knows of money.

    Attributes:
        known_usd: US dollars of submits whose cost is known.
        reserved: US dollars reserved for each other submit that was or may have been taken, by any
            name; None where no price was known.
        submits: How many submits that is together.
        highest_bill: US dollars of the highest of the latest bills; None where there was none.
    """

    known_usd: float = 0.0
    reserved: Mapping[str, float | None] = field(default_factory=dict)
    submits: int = 0
    highest_bill: float | None = None

    @property
    def committed_usd(self) -> float:
        """Return US dollars spent or reserved, at the prices of their time."""
        return self.known_usd + sum(usd or 0.0 for usd in self.reserved.values())


@dataclass(frozen=True, slots=True)
class Booking:
    """What one submit cost, as it was noted down.

    Attributes:
        usd: US dollars.
        before: What was noted earlier; None where nothing was.
        is_estimate: Whether it is not the provider's word.
    """

    usd: float
    before: float | None
    is_estimate: bool = False


class Spending:
    """Money and submits, as a run goes on. Begins with what the ledger knows.

    Attributes:
        price: US dollars reserved for one video; None while nobody knows, as a quote of 0 does not.
        submits: Submits that were taken or may have been, those about to be made included.
        over: Why a submit was not made, once one was not.
    """

    def __init__(self, budget: Budget, spent: Spent, quote: float | None) -> None:
        self._budget = budget
        self.price = quote or None
        self.over: str | None = None
        self.recount(spent)

    def recount(self, spent: Spent) -> None:
        """Put the ledger's word in place of what was counted on the way."""
        self._known = spent.known_usd
        self._reserve_at_least(self.price or 0.0, spent.reserved)
        self.submits = spent.submits
        self.raise_price(spent.highest_bill)

    def _reserve_at_least(self, price: float, reserved: Mapping[str, float | None]) -> None:
        self._reserved = {name: max(usd or 0.0, price) for name, usd in reserved.items()}
        self._reserved_usd = sum(self._reserved.values())

    @property
    def committed_usd(self) -> float:
        """Return US dollars spent or reserved."""
        return self._known + self._reserved_usd

    @property
    def open(self) -> int:
        """Count the submits that are reserved and whose cost is not known yet."""
        return len(self._reserved)

    @property
    def excess(self) -> float:
        """Return US dollars by which what is reserved would pass the budget; 0.0 within it."""
        if self._budget.max_usd is None:
            return 0.0
        over = self.committed_usd - self._budget.max_usd
        return over if over > ROUNDING_USD else 0.0

    def raise_price(self, usd: float | None) -> bool:
        """Reserve at least this much for each video, also where it was reserved before.

        Returns:
            Whether it is a higher price than before.
        """
        if not usd or (self.price is not None and usd <= self.price):
            return False
        self.price = usd
        self._reserve_at_least(usd, self._reserved)
        return True

    def refusal(self) -> str | None:
        """Say why another submit would pass the budget; None where it would not."""
        limit, limit_usd = self._budget.max_tasks, self._budget.max_usd
        if limit is not None and self.submits >= limit:
            return f"the budget of {limit} tasks is used up"
        if limit_usd is None:
            return None
        if self.price is None:
            return "nobody says what a video costs, to hold budget.max_usd against"
        if self.committed_usd + self.price > limit_usd + ROUNDING_USD:
            return (
                f"another video at {dollars(self.price)} would pass the budget of "
                f"{dollars(limit_usd)}: {dollars(self.committed_usd)} are spent or reserved"
            )
        return None

    def reserve(self, name: str) -> None:
        """Count a submit that is about to be made."""
        self.submits += 1
        self._put(name, self.price or 0.0)

    def give_up(self, name: str) -> bool:
        """Take back a submit that was not made yet, if the budget no longer covers it.

        Returns:
            Whether it does not.
        """
        if not self.excess:
            return False
        self.release(name)
        self.over = self.refusal()
        return True

    def release(self, name: str) -> None:
        """Count back a submit that cost nothing; one whose cost is known stays counted."""
        if self._take(name) is not None:
            self.submits -= 1

    def keep(self, name: str, as_name: str) -> None:
        """Go on counting a submit that may have been taken under another name: it is repeated."""
        if (usd := self._take(name)) is not None:
            self._put(as_name, usd)

    def book(self, name: str, booking: Booking) -> bool:
        """Put what a submit cost in place of what was reserved for it.

        Returns:
            Whether it is a bill that raises the price.
        """
        if self._take(name) is None and booking.before is None:
            self.submits += 1  # it had passed for free
        self._known += booking.usd - (booking.before or 0.0)
        return not booking.is_estimate and self.raise_price(booking.usd)

    def _put(self, name: str, usd: float) -> None:
        self._reserved[name] = usd
        self._reserved_usd += usd

    def _take(self, name: str) -> float | None:
        usd = self._reserved.pop(name, None)
        self._reserved_usd -= usd or 0.0
        return usd
