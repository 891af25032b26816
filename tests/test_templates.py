"""The one template syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen import templates
from batchgen.models import Scalar


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("${a} of ${b}", "an owl of paper"),
        ("no marks", "no marks"),
        ("", ""),
        ("$$", "$"),
        ("$${a}", "${a}"),
        ("$$${a}", "$an owl"),
        ("$$$${a}", "$${a}"),
        ("5$ and $a", "5$ and $a"),
        ("${a", "${a"),
        ("{a} $ {a}", "{a} $ {a}"),
        ("${a}${a}", "an owlan owl"),
        ("${n} ${t} ${x}", "7 true 0.5"),
    ],
)
def test_a_mark_is_its_value_and_two_dollars_are_one(template: str, filled: str) -> None:
    values: dict[str, Scalar] = {"a": "an owl", "b": "paper", "n": 7, "t": True, "x": 0.5}
    assert templates.fill(template, values) == filled


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("${a} ${b} ${a}", ["a", "b", "a"]),
        ("$${a} ${b}", ["b"]),
        ("${}", [""]),
        ("${ a }", [" a "]),
        ("${a{b}", []),
        ("nothing $ here", []),
    ],
)
def test_the_names_are_listed_in_order_with_repeats(template: str, names: list[str]) -> None:
    assert templates.names(template) == names


def test_a_name_without_a_value_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="b"):
        templates.fill("${a} ${b}", {"a": 1})


def test_a_value_that_looks_like_a_mark_is_not_filled_again() -> None:
    assert templates.fill("${a}", {"a": "${b} $$", "b": "no"}) == "${b} $$"


@given(st.text())
def test_any_text_with_its_dollars_doubled_stands_for_itself(text: str) -> None:
    assert templates.fill(text.replace("$", "$$"), {}) == text


@given(st.text(alphabet="ab${} ", max_size=30))
def test_a_template_is_filled_when_every_name_it_lists_has_a_value(template: str) -> None:
    values = dict.fromkeys(templates.names(template), "v")
    assert "${a}" not in templates.fill(template, values) or "$${a}" in template
    for name in values:
        with pytest.raises(KeyError):
            templates.fill(template, {key: "v" for key in values if key != name})
