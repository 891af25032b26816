"""Values that nobody chose, derived by hashing: any machine comes to the same ones. Pure."""

import hashlib
from typing import Final

from batchgen.job import Axis, Derived
from batchgen.models import Scalar

SEED_BITS: Final = 31
"""Derived seeds are 0 <= seed < 2^31: what every sampler's signed 32-bit integer can hold."""


def derived_seed(salt: str, *parts: object) -> int:
    """Derive a seed in [0, 2^31) from the salt and what it is for."""
    return derived_number("seed", salt, *parts) >> (64 - SEED_BITS)


def axis_column(salt: str, axis: Axis, *prompt: str) -> tuple[Scalar, ...]:
    """Return an axis' values, those that are derived from the prompt's text where it is given."""
    match axis.values:
        case Derived(count=count):
            return _distinct_seeds(salt, axis.name, count, *prompt)
        case values:
            return values


def derived_number(*parts: object) -> int:
    """Hash the parts, told apart by a separator, into 64 bits."""
    joined = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], "big")


def _distinct_seeds(salt: str, name: str, count: int, *prompt: str) -> tuple[int, ...]:
    """Derive seeds from one place after another until there are enough.

    Of 150,000 some eight are what an earlier place has given (birthday bound n^2 / 2^32): the same
    video twice. Such a place gives none, and those before it keep theirs.
    """
    # A dict keeps their order.
    seeds: dict[int, None] = {}
    place = 0
    while len(seeds) < count:
        seeds.setdefault(derived_seed(salt, name, place, *prompt))
        place += 1
    return tuple(seeds)
