"""A clock that runs faster than the machine's, the same in every process that is given the same."""

import argparse
import time
from dataclasses import dataclass
from typing import Self

import anyio


@dataclass(frozen=True, slots=True)
class HurriedClock:
    """A clock for the run and for the sandbox alike. HTTP timeouts are not hurried.

    Attributes:
        rate: Seconds of this clock in one of the machine's.
        epoch: Unix seconds at which the two agreed.
    """

    rate: float
    epoch: float

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return anyio.current_time() * self.rate

    def now(self) -> float:
        """Return wall-clock seconds since 1970-01-01 UTC."""
        return self.epoch + (time.time() - self.epoch) * self.rate

    async def sleep(self, seconds: float) -> None:
        """Wait. Cancelling it leaves nothing behind."""
        await anyio.sleep(seconds / self.rate)

    @property
    def arguments(self) -> list[str]:
        """Spell it for another process's command line."""
        return ["--rate", repr(self.rate), "--epoch", repr(self.epoch)]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Let a command line take one."""
        parser.add_argument("--rate", type=float, required=True)
        parser.add_argument("--epoch", type=float, required=True)

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """Take it from a command line."""
        return cls(options.rate, options.epoch)
