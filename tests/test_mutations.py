"""The safeguards that the tests must miss when they are gone."""

import pytest

from tests.mutations import MUTATIONS, REPO, Mutation, missed, mutated

by_safeguard = pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=[mutation.safeguard for mutation in MUTATIONS]
)


@by_safeguard
def test_a_safeguard_is_still_where_the_table_says(mutation: Mutation) -> None:
    code = (REPO / mutation.file).read_text("utf-8")
    assert mutated(code, mutation) != code
    compile(mutated(code, mutation), mutation.file, "exec")


@pytest.mark.nightly
@pytest.mark.timeout(600)
@by_safeguard
def test_the_suite_fails_without_a_safeguard(mutation: Mutation) -> None:
    assert missed(mutation) > 0
