"""What a provider's words hold against the one who asks: the key, or the account's credits. Pure.

Phrases and not words: a server that repeats the prompt may well say "balance".
"""

import re
from enum import Enum
from typing import Final

from batchgen.outcomes import Answered


class Against(Enum):
    """What a refusal is about."""

    KEY = "the key"
    CREDITS = "what the account may still spend"
    ACCOUNT = "the account: its credits, or what it may use"


_CREDITS: Final = re.compile(
    r"\b(?:(?:insufficient|not enough|no|low|out of|ran out of|run out of) (?:\w+ )?"
    r"(?:credits?|balance|funds|quota)"
    r"|(?:credits?|balance|funds|quota) (?:\w+ )?(?:is |are )?(?:exhausted|exceeded|too low|empty)"
    r"|payment required|(?:your|check|update|add|verify|complete) billing"
    r"|billing (?:account|address|details|error|(?:hard )?limit|issue|plan|problem|settings?)"
    r"|top up (?:your|the) (?:account|balance)|your (?:current )?(?:plan|subscription)"
    r"|subscription (?:has |is |was )?(?:cancell?ed|ended|expired|inactive|required))\b",
    re.IGNORECASE,
)
_KEY: Final = re.compile(
    r"\b(?:(?:expired|incorrect|invalid|missing|no|provide an?|unknown|wrong|your) api[ _-]?key"
    r"|api[ _-]?key (?:has |is |was )?(?:expired|incorrect|invalid|missing|required|revoked))\b",
    re.IGNORECASE,
)


def is_about_account(message: str) -> bool:
    """Tell whether a provider's words are about the key or the account, and not about a task."""
    return _CREDITS.search(message) is not None or _KEY.search(message) is not None


def against(answer: Answered) -> Against:
    """Say what a refusal of the key or the account is about.

    The provider's words count before the status: 403 is documented for either, and providers
    report an empty account under several.
    """
    credits_named = _CREDITS.search(answer.message) is not None
    key_named = _KEY.search(answer.message) is not None
    if key_named and (answer.status == 401 or not credits_named):
        return Against.KEY
    if credits_named or answer.status == 402:
        return Against.CREDITS
    return Against.KEY if answer.status == 401 else Against.ACCOUNT
