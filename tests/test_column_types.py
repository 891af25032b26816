"""One type a column: whatever values meet in it."""

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.column_types import ColumnType, cast, common_type, type_of
from batchgen.models import Scalar

SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([5, 5.5], [5.0, 5.5]),
        ([2, "many"], ["2", "many"]),
        (["09", 10], ["09", "10"]),
        ([True, False], [True, False]),
        ([True, 1], ["true", "1"]),
        ([True, 1.5], ["true", "1.5"]),
        ([1, 2], [1, 2]),
        ([2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
        ([1, 2**63], ["1", "9223372036854775808"]),
        ([2**63], ["9223372036854775808"]),
        ([0.5, 2**80], ["0.5", str(2**80)]),
        ([], []),
    ],
)
def test_values_of_one_column_are_written_in_one_type(
    values: list[Scalar], written: list[Scalar]
) -> None:
    for order in permutations(values):
        common = common_type({type_of(value) for value in order})
        found = [cast(value, common) for value in values if common is not None]
        assert [(type(value), value) for value in found] == [
            (type(value), value) for value in written
        ]


@given(st.lists(SCALARS, min_size=1, max_size=6))
def test_any_column_is_of_one_type_and_loses_nothing(values: list[Scalar]) -> None:
    common = common_type({type_of(value) for value in values})
    assert common is not None
    written = [cast(value, common) for value in values]
    assert len({type(value) for value in written}) == 1
    assert {type_of(value) for value in written} == {common}
    for before, after in zip(values, written, strict=True):
        if common is ColumnType.NUMBER:
            assert float(before) == after
        elif common is ColumnType.STRING and not isinstance(before, str):
            assert json.loads(str(after)) == before
        else:
            assert before == after
