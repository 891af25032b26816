"""What a refusal is about: the key, or the account's credits."""

import pytest

from batchgen.account import Against, against, is_about_account
from batchgen.outcomes import Answered

WORDS = [
    (401, "", Against.KEY),
    (401, "This request requires a valid API key.", Against.KEY),
    (401, "Invalid API key. Check your billing settings.", Against.KEY),
    (401, "You have run out of credits", Against.CREDITS),
    (402, "", Against.CREDITS),
    (402, "Payment required", Against.CREDITS),
    (402, "Insufficient credits for your API key", Against.CREDITS),
    (403, "", Against.ACCOUNT),
    (403, "Forbidden", Against.ACCOUNT),
    (403, "You are out of credits: top up your balance", Against.CREDITS),
    (403, "Your API key has expired", Against.KEY),
    (400, "Insufficient balance", Against.CREDITS),
    (422, "api_key is missing", Against.KEY),
    (429, "Your plan's quota is exhausted", Against.CREDITS),
]


@pytest.mark.parametrize(("status", "message", "about"), WORDS)
def test_the_words_count_before_the_status(status: int, message: str, about: Against) -> None:
    assert against(Answered(status, message)) is about


@pytest.mark.parametrize(
    "prompt",
    ["a heap of credits rolls by", "balance on a wire", "keys on a piano", "a quota of fish"],
)
def test_a_prompt_that_is_repeated_says_nothing_of_the_account(prompt: str) -> None:
    assert not is_about_account(f"Body validation error! {prompt}")
