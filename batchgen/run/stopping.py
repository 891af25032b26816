"""How a run is asked to end: once to drain, a second time to leave."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from anyio import CancelScope, Event, current_time

from batchgen.events import Reason

PARTING_SECONDS: Final = 2.0
"""What a POST in the air gets to be answered when the run leaves."""


class Stopping:
    """Whether and why a run is ending.

    Draining submits nothing more and finishes what is in flight. Leaving cancels that too; the
    ledger knows the ids, and the next run goes on with them.

    Attributes:
        reason: Why; None while nobody asked.
        detail: A sentence for a person; not empty where there is a reason.
        draining: Set once somebody asked.
        leaving: Whether even what is in flight is left.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.detail = ""
        self.draining = Event()
        self.leaving = False
        self._retiring = False
        self._new_work: set[CancelScope] = set()
        self._all_work: set[CancelScope] = set()
        self._posts: set[CancelScope] = set()

    @property
    def asked(self) -> bool:
        """Tell whether the run is ending."""
        return self.reason is not None

    @property
    def posts(self) -> int:
        """Count the POSTs in the air."""
        return len(self._posts)

    def drain(self, reason: Reason, detail: str = "") -> None:
        """Start nothing more. The first reason stays."""
        if self.reason is None:
            self.reason, self.detail = reason, detail or reason.replace("_", " ")
            self.draining.set()
        for scope in self._new_work:
            scope.cancel()

    def retire(self, reason: Reason, detail: str = "") -> None:
        """Drop what is in flight as soon as no POST is in the air: none is put in doubt by it."""
        self._retiring = True
        self.drain(reason, detail)
        if not self._posts:
            self.leave(reason, detail)

    def leave(self, reason: Reason, detail: str = "") -> None:
        """Drop what is in flight, too."""
        self.leaving = True
        self.drain(reason, detail)
        for scope in self._all_work:
            scope.cancel()
        self.part()

    def part(self) -> None:
        """Give POSTs in the air their last seconds."""
        for scope in self._posts:
            scope.deadline = min(scope.deadline, current_time() + PARTING_SECONDS)

    @contextmanager
    def posting(self) -> Iterator[None]:
        """Shield a POST and its record: cut off, it would be in doubt.

        When the run leaves, the block has two seconds more; then its intent is what remains, and
        the next run looks it up.
        """
        with CancelScope(shield=True) as scope:
            self._posts.add(scope)
            try:
                yield
            finally:
                self._posts.discard(scope)
                if self._retiring and not self._posts and self.reason is not None:
                    self.leave(self.reason, self.detail)

    @contextmanager
    def new_work(self) -> Iterator[None]:
        """Cancel the block when the run drains: for waits that lead to a submit."""
        with self._scope(self._new_work, cancelled=self.asked):
            yield

    @contextmanager
    def all_work(self) -> Iterator[None]:
        """Cancel the block when the run leaves."""
        with self._scope(self._all_work, cancelled=self.leaving):
            yield

    @contextmanager
    def _scope(self, scopes: set[CancelScope], *, cancelled: bool) -> Iterator[None]:
        with CancelScope() as scope:
            if cancelled:
                scope.cancel()
            scopes.add(scope)
            try:
                yield
            finally:
                scopes.discard(scope)
