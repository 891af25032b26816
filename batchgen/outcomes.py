"""What can come of a request, in words every provider's wire format is translated into.

Pure types. What is done about an outcome is `policy`'s to say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MESSAGE_CHARACTERS: Final = 500
"""A server's words are kept to this length."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request's headers never left this machine, which is proved: refused, DNS, TLS, pool.

    Attributes:
        reason: Why.
        certificate: Whether the host could not prove who it is: people must look at that.
        private: Whether the host's name leads to an address that is not public: so must they here.
        proxy: Whether the proxy cannot be used as it is, or refuses the user: and here.
    """

    reason: str
    certificate: bool = False
    private: bool = False
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The request left; no whole answer came back: reset, timeout, cut.

    Attributes:
        reason: Why.
        begun: Whether the answer had begun: its host is there.
    """

    reason: str
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Unusable:
    """A 2xx whose body says nothing we can use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer other than 2xx.

    Attributes:
        status: HTTP status.
        message: The server's words.
        retry_after: Seconds it asks to wait; None where it does not say.
        from_api: Whether its body is in the API's own error form: the API itself refused the
            request, and no proxy in front of it, which cannot know what the API has taken.
    """

    status: int
    message: str = ""
    retry_after: float | None = None
    from_api: bool = False


Trouble = NotSent | Interrupted | Unusable | Answered
"""Everything but success."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The submit was taken, under this id."""

    generation_id: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The generation is not done.

    Attributes:
        status: The provider's word for it.
        known: Whether the word is one we know.
        queued: Whether it says that the work has not begun.
    """

    status: str
    known: bool = True
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """The video exists.

    Attributes:
        url: Where its file is, signed and short-lived.
        cost_usd: What the provider booked for it; None where it does not say.
        size: Bytes the provider announces for the file; None where it does not say.
        more: Where the files of further videos are that the same generation made.
    """

    url: str
    cost_usd: float | None = None
    size: int | None = None
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoVideo:
    """The provider says completed, but names no file that can be had.

    Attributes:
        reason: What is wrong.
        cost_usd: What the provider booked for it all the same; None where it does not say.
    """

    reason: str
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class GenerationFailed:
    """The provider made nothing of it, and usually charges nothing.

    Attributes:
        code: The kind of failure.
        message: The provider's words.
        cost_usd: What it booked all the same; None where nothing.
    """

    code: str
    message: str
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """What a provider's request log says of some submits.

    Attributes:
        found: Generation ids by client request id: these submits were taken.
        whole: Whether the log was read to its end; if not, those that are not found may be in it.
        without_id: Submits that are in the log without a usable generation id, so that they are
            neither found nor absent.
        since: Unix seconds from which on it was read: a log cannot be asked about any past.
    """

    found: Mapping[str, str]
    whole: bool
    without_id: frozenset[str] = frozenset()
    since: float = field(default=float("-inf"), compare=False)

    def lacks(self, client_request_id: str, at: float) -> bool:
        """Tell whether a submit that left at Unix seconds `at` is not in the log.

        A second is allowed for rounding.
        """
        read = self.whole and at >= self.since - 1.0
        listed = client_request_id in self.found or client_request_id in self.without_id
        return read and not listed


SubmitOutcome = Accepted | Trouble
FetchOutcome = Pending | Completed | NoVideo | GenerationFailed | Trouble


def describe(trouble: Trouble) -> str:
    """Put an outcome into words for a person."""
    match trouble:
        case Answered(status=status, message=message):
            return f"HTTP {status}: {message}" if message else f"HTTP {status}"
        case NotSent(reason=reason):
            return f"could not connect: {reason}"
        case Interrupted(reason=reason) | Unusable(reason=reason):
            return reason


_MODERATION: Final = re.compile(
    r"\b(moderat\w*|safety|nsfw|sensitive|inappropriate|content polic\w+|prohibited)\b",
    re.IGNORECASE,
)


def is_moderation(message: str) -> bool:
    """Tell whether a provider's words say that it is the prompt it objects to."""
    return _MODERATION.search(message) is not None


def failure_code(message: str, otherwise: str) -> str:
    """Name a failure: `moderation` where the provider's words say so.

    Providers report it under many codes; people want to find these tasks under one.
    """
    return "moderation" if is_moderation(message) else otherwise
