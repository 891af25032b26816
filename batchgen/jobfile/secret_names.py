"""Which keys of a job file name a secret: their lines are never shown. Pure."""

import re
from typing import Final

_SURE_SECRETS: Final = frozenset(
    {
        *(("apikey",), ("authorization",), ("credentials",), ("passwd",), ("password",)),
        *((owner, "key") for owner in ("access", "aiml", "aimlapi", "api", "private", "secret")),
        *((owner, "token") for owner in ("access", "api", "auth", "bearer")),
        *((owner, "secret") for owner in ("api", "client")),
    }
)
"""What a key that names a secret ends with, as words."""
_SECRETS: Final = frozenset({"auth", "bearer", "key", "pass", "secret", "token"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def names_a_secret(key: str) -> bool:
    """Tell whether somebody may write a secret under this key: its line is never shown."""
    return surely_names_a_secret(key) or bool(_SECRETS.intersection(_words(key)[-1:]))


def surely_names_a_secret(key: str) -> bool:
    """Tell the same of a key that is no parameter's or variable's name either."""
    words = _words(key)
    return words[-1:] in _SURE_SECRETS or words[-2:] in _SURE_SECRETS


def _words(key: str) -> tuple[str, ...]:
    """Take a key apart: `api_key`, `API-KEY`, `api key` and `apiKey` are the same two words."""
    return tuple(word.lower() for word in _WORD.findall(key))
