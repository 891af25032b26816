"""The models' tables of parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.models import TABLES, WAN_1_3B, Parameter, describe, parameters_of

WAN = TABLES[WAN_1_3B]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("seed", 2**31 - 1),
        ("guidance_scale", 0),
        ("guidance_scale", 7.5),
        ("shift", 3),
        ("inference_steps", 1),
        ("sampler", "dpm+"),
        ("aspect_ratio", "9:16"),
        ("negative_prompt", ""),
        ("enable_safety_checker", False),
    ],
)
def test_a_value_that_the_api_documents_fits(name: str, value: object) -> None:
    assert WAN[name].objection(value) is None


@pytest.mark.parametrize(
    ("name", "value", "objection"),
    [
        ("seed", -1, "seed takes 0 or more, not the number -1"),
        ("seed", 2**31, "seed takes 2147483647 or less, not the number 2147483648"),
        ("seed", 1.5, "seed takes a whole number, not the number 1.5"),
        ("seed", True, "seed takes a whole number, not true"),
        ("seed", "7", "seed takes a whole number, not the text '7'"),
        ("seed", None, "seed takes a whole number, not nothing"),
        ("guidance_scale", "high", "guidance_scale takes a number, not the text 'high'"),
        ("guidance_scale", False, "guidance_scale takes a number, not false"),
        ("guidance_scale", -0.5, "guidance_scale takes 0 or more, not the number -0.5"),
        ("inference_steps", 0, "inference_steps takes 1 or more, not the number 0"),
        ("sampler", "euler", "sampler takes unipc or dpm+, not the text 'euler'"),
        ("sampler", 5, "sampler takes text, not the number 5"),
        ("aspect_ratio", "1:1", "aspect_ratio takes 16:9 or 9:16, not the text '1:1'"),
        ("enable_safety_checker", 1, "enable_safety_checker takes true or false, not the number 1"),
        ("prompt", ["a"], "prompt takes text, not a list"),
        ("prompt", {"a": 1}, "prompt takes text, not a mapping"),
    ],
)
def test_a_value_that_does_not_fit_is_objected_to_in_words(
    name: str, value: object, objection: str
) -> None:
    assert WAN[name].objection(value) == objection


@pytest.mark.parametrize("model", list(TABLES))
def test_a_table_s_keys_are_its_parameters_names_and_its_defaults_fit(model: str) -> None:
    for name, parameter in TABLES[model].items():
        assert parameter.name == name
        assert parameter.default is None or parameter.objection(parameter.default) is None
    assert {"prompt", "seed", "negative_prompt"} <= TABLES[model].keys()
    assert "model" not in TABLES[model]


def test_a_model_without_a_table_takes_anything() -> None:
    assert parameters_of("somebody/else") is None
    assert parameters_of(WAN_1_3B) is WAN


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TABLES["x"] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        WAN["x"] = Parameter("x", "string")  # type: ignore[index]


@given(st.text())
def test_a_description_of_text_is_one_short_line(text: str) -> None:
    shown = describe(text)
    assert shown.isprintable()
    assert len(shown) <= 20 + 40 * len("\\U0010ffff")


def test_a_description_cuts_long_text() -> None:
    assert describe("a" * 41) == f"the text '{'a' * 39}…'"
    assert describe("a" * 40) == f"the text '{'a' * 40}'"


@pytest.mark.parametrize(
    ("name", "value", "objection"),
    [
        ("guidance_scale", 75, None),
        ("guidance_scale", 100.5, "guidance_scale takes 100 or less, not the number 100.5"),
        ("inference_steps", 1001, "inference_steps takes 1000 or less, not the number 1001"),
        ("shift", 10**41, "shift takes 100 or less, not a number of more than 40 digits"),
    ],
)
def test_a_number_beyond_the_largest_is_objected_to(
    name: str, value: object, objection: str | None
) -> None:
    assert WAN[name].objection(value) == objection


@pytest.mark.parametrize(
    ("model", "drawn", "not_drawn"),
    [
        ("alibaba/wan2.1-t2v-turbo", ["720P", "480P"], "1080P"),
        ("alibaba/wan2.1-t2v-plus", ["720P"], "480P"),
        ("alibaba/wan2.2-t2v-plus", ["1080P", "480P"], "720P"),
    ],
)
def test_alibaba_s_models_take_the_resolutions_they_draw(
    model: str, drawn: list[str], not_drawn: str
) -> None:
    resolution = TABLES[model]["resolution"]
    assert resolution.default == drawn[0]
    assert [resolution.objection(value) for value in drawn] == [None] * len(drawn)
    assert resolution.objection(not_drawn) is not None
    assert "guidance_scale" not in TABLES[model]


def test_a_job_s_own_parameters_are_laid_over_the_model_s_table() -> None:
    more = [Parameter("shift", "number", maximum=10), Parameter("fps", "integer")]
    laid = parameters_of(WAN_1_3B, more)
    assert laid is not None
    assert laid.keys() == WAN.keys() | {"fps"}
    assert laid["shift"].objection(11) == "shift takes 10 or less, not the number 11"
    assert WAN["shift"].objection(11) is None


def test_a_model_without_a_table_gets_the_one_that_a_job_gives_it() -> None:
    made = parameters_of("somebody/else", [Parameter("fps", "integer")])
    assert made is not None
    assert made.keys() == {"prompt", "fps"}
