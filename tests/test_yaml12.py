"""YAML 1.2 core with places: what scalars mean, what is refused, and that nothing gets past it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchgen.errors import JobFileError, Place, Problem
from batchgen.jobfile import yaml12
from batchgen.jobfile.source import Source, decode
from batchgen.jobfile.yaml12 import MAX_DEPTH, Node, read, resolve


def bare(text: str) -> Any:
    return read(Source("job.yaml", text)).bare()


def attempt(text: str) -> Node | JobFileError:
    try:
        return read(Source("job.yaml", text))
    except JobFileError as error:
        return error


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(JobFileError) as caught:
        read(Source("job.yaml", text))
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("16:9", "16:9"),
        ("12:30:45", "12:30:45"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("010", 10),
        ("0o17", 15),
        ("0o8", "0o8"),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("-.5", -0.5),
        ("5.", 5.0),
        (".", "."),
        ("-", "-"),
        ("+", "+"),
        ("1.2.3", "1.2.3"),
        ("+12", 12),
        ("-0", 0),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nuLL", "nuLL"),
        ("", None),
        ("true", True),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("false", False),
        (".inf", math.inf),
        ("+.INF", math.inf),
        ("-.Inf", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("2024-01-01", "2024-01-01"),
        ("1-4", "1-4"),
        ("3-9 (+2)", "3-9 (+2)"),
        ("٣", "٣"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_scalars_mean_what_yaml_1_2_core_says(written: str, value: object) -> None:
    resolved = resolve(written)
    assert resolved == value
    assert type(resolved) is type(value)


def test_not_a_number_is_a_number() -> None:
    resolved = resolve(".nan")
    assert isinstance(resolved, float)
    assert math.isnan(resolved)


@pytest.mark.parametrize("written", ["no", "010", "true", "~", "1e3", ".inf", ""])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quoted_scalar_is_text(written: str, quote: str) -> None:
    assert bare(f"k: {quote}{written}{quote}") == {"k": written}


def test_a_ratio_is_text_in_block_and_in_flow() -> None:
    assert bare("a: 16:9\nb: {c: 16:9, d: [9:16]}") == {
        "a": "16:9",
        "b": {"c": "16:9", "d": ["9:16"]},
    }


def test_keys_stay_text_whatever_they_look_like() -> None:
    assert bare("on: 1\n1: a\ntrue: b\n~: c\n'': d") == {
        "on": 1,
        "1": "a",
        "true": "b",
        "~": "c",
        "": "d",
    }


# A control character that stands there as it is, is refused: see below.
_JSON_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"))) | st.text(
    st.sampled_from(
        '\x85\u2028\u2029 \t\n\\ud83e"\N{FOX FACE}\N{OLD ITALIC LETTER A}\ue000\ufeff#:'
    ),
    max_size=20,
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_JSON_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(
    _JSON,
    st.fixed_dictionaries(
        {
            "ensure_ascii": st.booleans(),
            "indent": st.sampled_from([None, 0, 2, "\t"]),
            "separators": st.sampled_from([None, (",", ":"), (" , ", " : ")]),
        }
    ),
)
@example("\ufffe\uffff", {})
@settings(max_examples=400, deadline=None)
def test_what_json_can_hold_is_read_as_it_is(value: object, form: dict[str, Any]) -> None:
    written = json.dumps(value, **form)
    if any(sign in written for sign in "\ufffe\uffff"):  # no characters, to YAML
        assert problems(written)
    else:
        assert bare(written) == value


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
def test_a_line_break_of_yaml_1_1_alone_is_a_character_like_any_other(sign: str) -> None:
    text = f"a: x{sign}y # {sign} z\nb: 'p {sign} q'\nc: \"r {sign} s\"\nd: |\n  t {sign} u\n"
    assert bare(text) == {
        "a": f"x{sign}y",
        "b": f"p {sign} q",
        "c": f"r {sign} s",
        "d": f"t {sign} u\n",
    }
    assert bare(f"- a{sign}- b") == [f"a{sign}- b"]
    (problem,) = problems(f"a: x{sign}y\nb: {sign}: [\n")
    assert problem.place.line == 2
    assert problem.source == f"b: {sign}: ["


def test_a_character_escaped_in_halves_is_one_where_escapes_are_read() -> None:
    fox, same = r"\ud83e\udd8a", r"\uD83E\uDd8A"
    assert bare(f'"{fox} {same}"') == "\N{FOX FACE} \N{FOX FACE}"
    assert bare(f'{{"{fox}": "a{fox}"}}') == {"\N{FOX FACE}": "a\N{FOX FACE}"}
    assert bare(rf'"\\ud83e\\udd8a \\{fox}"') == "\\ud83e\\udd8a \\\N{FOX FACE}"
    # Elsewhere a \ is a \.
    text = f"plain: {fox} {same}\nquoted: '{fox}'\nblock: |-\n  {same}\nboth: \"{fox}\""
    assert bare(text) == {
        "plain": f"{fox} {same}",
        "quoted": fox,
        "block": same,
        "both": "\N{FOX FACE}",
    }


def test_characters_of_private_use_stay_what_they_are_beside_escaped_halves() -> None:
    own = "".join(map(chr, range(0xE000, 0xE100)))
    assert bare(rf'["{own} \ud83e\udd8a", "\ue100 \U0000e101", \ue102]') == [
        f"{own} \N{FOX FACE}",
        "\ue100 \ue101",
        r"\ue102",
    ]
    every = "".join(map(chr, range(0xE000, 0xF900)))
    assert "half of a character" in problems(rf'"{every} \ud83e\udd8a"')[0].message


def test_places_count_escapes_as_they_are_written() -> None:
    source = Source("job.yaml", '{"a \\ud83e\\udd8a": ["\\ud83e\\udd8a", \u2028 x, y]}')
    node = read(source).value["a \N{FOX FACE}"]
    first, last = node.value[0], node.value[-1]
    assert (first.place.column, first.end) == (21, 35)
    assert source.text[last.place.column - 1] == "y"


@pytest.mark.parametrize(
    ("written", "column"),
    [
        (r'"x \ud83e"', 6),
        (r'"\udd8a\ud83e"', 4),
        (r'"\ud83e \udd8a"', 4),
        (r'"\ud83e\ud83e\udd8a"', 4),
        (r'"\U00110000"', 4),
    ],
)
def test_half_of_an_escaped_character_is_a_mistake_at_its_place(written: str, column: int) -> None:
    (problem,) = problems(written)
    assert problem.message.endswith("this escape is half of a character, or no character")
    assert problem.place == Place("job.yaml", 1, column)


@pytest.mark.parametrize("sign", ["\x7f", "\x92", "\x07", "\ufffe"])
def test_a_control_character_is_refused_in_quotes_too(sign: str) -> None:
    (problem,) = problems(f'a: "x{sign}"')
    assert problem.place == Place("job.yaml", 1, 6)
    assert f"U+{ord(sign):04X} is not allowed" in problem.message


def test_a_merge_key_brings_what_a_mapping_does_not_say_itself() -> None:
    assert bare("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a, z: 4}\nc:\n  <<: *a\n  x: 5") == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3, "x": 1, "z": 4},
        "c": {"x": 5, "y": 2},
    }


def test_of_several_merged_mappings_the_first_one_counts() -> None:
    text = "- &a {x: 1}\n- &b {x: 2, y: 2}\n- {<<: [*a, *b, {z: 3}]}\n- &d {<<: *b, y: 4}\n- <<: *d"
    assert bare(text)[2:] == [{"x": 1, "y": 2, "z": 3}, {"x": 2, "y": 4}, {"x": 2, "y": 4}]


def test_merged_keys_stand_where_the_merge_key_does_and_know_where_they_were_written() -> None:
    text = "a: &a\n  x: 1\n  y: 1\n  d: 1\n  c: 1\nb:\n  w: 0\n  <<: *a\n  z: 2\n"
    node = read(Source("job.yaml", text)).value["b"]
    assert list(node.value) == list(node.bare()) == ["w", "x", "y", "d", "c", "z"]
    assert node.keys["x"] == Place("job.yaml", 2, 3)
    assert node.value["x"].place == Place("job.yaml", 2, 6)


def test_a_merge_key_in_quotes_is_a_key_like_any_other() -> None:
    assert bare("{\"<<\": {x: 1}, 'a': <<}") == {"<<": {"x": 1}, "a": "<<"}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: &a [1]\nb: {<<: *a}", 2, 5, "takes a mapping or a list of them"),
        ("a: &a x\nb:\n  <<: *a", 3, 3, "takes a mapping or a list of them"),
        ("b: {<<: }", 1, 5, "takes a mapping or a list of them"),
        ("a: &a {x: 1}\n<<: *a\nb: 2\n<<: *a", 4, 1, "'<<' is written twice, first in line 2"),
        ("a: &a {x: 1}\nb: {<<: *a, x: 2, x: 3}", 2, 19, "'x' is written twice, first in line 2"),
        ("a: &a {<<: *a}", 1, 12, "the alias *a has no anchor before it"),
    ],
)
def test_what_cannot_be_merged_is_said_where_it_is_merged(
    text: str, line: int, column: int, said: str
) -> None:
    (problem,) = problems(text)
    assert problem.place == Place("job.yaml", line, column)
    assert said in problem.message


def test_merging_cannot_grow_without_bound() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(1000))
    rows = [f"- &a0 {{{keys}}}", *(f"- &a{n + 1} {{<<: *a{n}}}" for n in range(200))]
    (problem,) = problems("\n".join(rows))
    assert problem.message == "aliases repeat more than 100,000 values"


_MAPPINGS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9), max_size=5)


@given(st.lists(_MAPPINGS, min_size=1, max_size=4), _MAPPINGS, _MAPPINGS)
@settings(max_examples=100, deadline=None)
def test_merging_is_what_pyyaml_makes_of_it(
    merged: list[dict[str, int]], before: dict[str, int], behind: dict[str, int]
) -> None:
    behind = {key: value for key, value in behind.items() if key not in before}
    lines = [f"- &m{number} {json.dumps(mapping)}" for number, mapping in enumerate(merged)]
    entries = [f"{key}: {value}" for key, value in before.items()]
    entries.append(f"<<: [{', '.join(f'*m{number}' for number in range(len(merged)))}]")
    entries += [f"{key}: {value}" for key, value in behind.items()]
    text = "\n".join([*lines, f"- {{{', '.join(entries)}}}"])
    assert bare(text) == yaml.safe_load(text)


@given(st.text())
@example("\x00")
@example("a: \ud800")
@example("\ufeffa: 1")
@example("a: \ufeff1")
@example("a\r\nb\r\n")
@example("\t- a")
@example("a: 1\n---\nb: 2")
@example("%YAML 3.7\n---\na")
@example("a: &x [*x]")
@example("? [a]\n: b")
@example("? {a: b}\n: c")
@example("*a : b")
@example("!!python/object/apply:os.system [ls]")
@example("a: !!binary aGk=")
@example('a: "\\ud800"')
@example("- \x85 - \u2028")
@settings(max_examples=400, deadline=None)
def test_any_text_gives_a_node_or_a_job_file_error(text: str) -> None:
    found = attempt(text)
    if isinstance(found, JobFileError):
        assert found.problems
        assert all(problem.message for problem in found.problems)
        assert str(found)
    else:
        found.bare()


_YAMLISH = st.text(alphabet="ab:-?,[]{}&*!|>'\"%@`# \n\t0~.<", max_size=60)


@given(_YAMLISH)
@settings(max_examples=600, deadline=None)
def test_any_text_of_yaml_signs_gives_a_node_or_a_job_file_error(text: str) -> None:
    found = attempt(text)
    lines = text.count("\n") + 1
    for problem in found.problems if isinstance(found, JobFileError) else ():
        assert 1 <= problem.place.line <= lines + 1


@given(st.binary())
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_give_a_job_file_error(raw: bytes) -> None:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        with pytest.raises(JobFileError, match="is not UTF-8 text here"):
            decode("job.yaml", raw)
    else:
        assert decode("job.yaml", raw).text == text


@given(_YAMLISH)
@settings(max_examples=300, deadline=None)
def test_nothing_is_read_that_pyyaml_itself_cannot_parse(text: str) -> None:
    node = attempt(text)
    if isinstance(node, JobFileError):
        return
    events = list(yaml.parse(text, Loader=yaml.CSafeLoader))
    assert (node.value is None) or len(events) > 2


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_a_hundred_thousand_levels_are_refused_at_the_bound(opening: str) -> None:
    (problem,) = problems(opening * 100_000)
    assert problem.message in (
        f"nested more than {MAX_DEPTH} deep",
        "a list or mapping cannot be a key",
    )
    assert problem.source == ""


def test_the_deepest_nesting_allowed_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    node = bare(text)
    for _ in range(MAX_DEPTH - 1):
        (node,) = node
    assert node == []


def test_aliases_cannot_nest_deeper_than_brackets() -> None:
    levels = ["- &a0 x"]
    levels += [f"- &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 40)]
    (problem,) = problems("\n".join(levels))
    assert problem.message == f"nested more than {MAX_DEPTH} deep"


def test_an_alias_bomb_is_refused() -> None:
    laughs = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = problems("\n".join(laughs))
    assert problem.message == "aliases repeat more than 100,000 values"


def test_an_alias_repeats_its_anchor() -> None:
    assert bare("a: &x {seed: 1}\nb: *x\nc: [*x]") == {
        "a": {"seed": 1},
        "b": {"seed": 1},
        "c": [{"seed": 1}],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x", "the alias *x has no anchor before it"),
        ("a: &x [*x]", "the alias *x has no anchor before it"),
        ("- &x a\n- {*x : b}", "an alias cannot be a key"),
        ("? [a]\n: b", "a list or mapping cannot be a key"),
        ("a: 1\n---\nb: 2", "a second document begins here; the file must be one document"),
        ("a: 1\na: 2", "'a' is written twice, first in line 1"),
        ("a: !x 5", "the tag !x is not read"),
        ("a: !!int 5", "the tag !!int is not read"),
        ("a: !!python/object/apply:os.system [ls]", "is not read"),
        ("a: b: c", 'YAML takes ": " for the end of a key'),
        ("a: [1", "the [ here is not closed"),
        ("a: 'x", "this quote is not closed"),
        ("\ta: 1", "a tab stands here"),
    ],
)
def test_what_a_job_file_cannot_be_is_said(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert message in problem.message
    assert problem.place.line


def test_every_repeated_key_and_tag_is_found_at_once() -> None:
    found = problems("a: 1\na: 2\nb: !x 1\nb: 2\n")
    assert [(problem.place.line, problem.place.column) for problem in found] == [
        (2, 1),
        (3, 4),
        (4, 1),
    ]


def test_a_key_repeated_in_another_mapping_is_no_mistake() -> None:
    assert bare("- {a: 1}\n- {a: 2}") == [{"a": 1}, {"a": 2}]


def test_a_control_character_is_named_with_line_and_column() -> None:
    (problem,) = problems("ä: 1\nbö: x\x07y\n")
    assert problem.place == Place("job.yaml", 2, 6)
    assert "U+0007" in problem.message


def test_a_lone_surrogate_is_named_with_line_and_column() -> None:
    (problem,) = problems("a: 1\nb: \ud800")
    assert problem.place == Place("job.yaml", 2, 4)
    assert "U+D800" in problem.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "cp1252"])
def test_a_file_in_another_encoding_says_how_to_save_it(encoding: str) -> None:
    raw = "prompts: [ein Fuchs läuft über Schnee]".encode(encoding)
    with pytest.raises(JobFileError, match="save the file as UTF-8") as caught:
        decode("job.yaml", raw)
    assert caught.value.problems[0].place.line == 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_says_how_to_save_it(encoding: str) -> None:
    source = decode("job.yaml", "prompts: [A fox]".encode(encoding))
    with pytest.raises(JobFileError, match="save the file as UTF-8"):
        read(source)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read(decode("job.yaml", b"\xef\xbb\xbfa: 1")).bare() == {"a": 1}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_gives_the_same_values_and_places(ending: str) -> None:
    node = read(Source("job.yaml", ending.join(["a: 1", "b: no", "c:", "  - x y", ""])))
    assert node.bare() == {"a": 1, "b": "no", "c": ["x y"]}
    item = node.value["c"].value[0]
    assert (item.place.line, item.place.column) == (4, 5)
    assert (item.last, item.end) == (4, 8)


def test_a_file_past_the_bound_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batchgen.jobfile.source.MAX_BYTES", 2**20)
    with pytest.raises(JobFileError, match=r"larger than 1 MiB(.|\n)*\.txt file"):
        decode("job.yaml", b"a" * (2**20 + 1))


def test_an_empty_file_is_nothing() -> None:
    assert bare("") is None
    assert bare("# only a comment\n") is None


def test_the_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "_LOADER", yaml.SafeLoader)
    text = Path(__file__).parents[1].joinpath("jobs", "seed-guidance-grid.yaml").read_text("utf-8")
    assert bare(text)["matrix"]["guidance_scale"] == "3-9 (+2)"
    (problem,) = problems("[" * 500)
    assert problem.message == f"nested more than {MAX_DEPTH} deep"


def test_every_value_knows_where_it_stands() -> None:
    node = read(Source("job.yaml", "a: 1\nb:\n  - x\n  - {c: 'yy'}\n"))
    inner = node.value["b"].value[1]
    assert node.keys["b"] == Place("job.yaml", 2, 1)
    assert inner.keys["c"] == Place("job.yaml", 4, 6)
    assert inner.value["c"].place == Place("job.yaml", 4, 9)
    assert inner.value["c"].width == 4
    assert not inner.value["c"].plain
    assert node.value["a"].plain


def test_a_value_of_several_lines_is_meant_to_the_end_of_its_first() -> None:
    source = Source("job.yaml", "a:\n  x y\n  z\n")
    node = read(source).value["a"]
    drawn = str(source.problem(node.place, "wrong", width=node.width))
    assert drawn.splitlines()[-1] == "    |   ^^^"


@pytest.mark.parametrize(
    "line",
    [
        "provider: {api_key: CANARY}",
        "api_key: CANARY",
        '"api-key": CANARY',
        "- token: CANARY",
        "{a: b, secret: CANARY}",
        "provider: {api_key_env: c0ffee-CANARY}",
        "provider: {api_key_env: canary, x: y}",
        "x: Bearer CANARY",
        "x: sk-CANARY",
        "base_url: https://user:CANARY@host",
    ],
)
def test_a_line_that_may_hold_a_secret_is_never_shown(line: str) -> None:
    source = Source("job.yaml", line)
    assert source.problem(Place("job.yaml", 1, 1), "wrong").source == ""


@pytest.mark.parametrize(
    "line", ["- Lock and key: macro", "provider: {api_key_env: AIMLAPI_KEY, kindd: x}", "keys: 1"]
)
def test_an_innocent_line_is_shown(line: str) -> None:
    assert Source("job.yaml", line).problem(Place("job.yaml", 1, 1), "wrong").source == line


def test_a_very_long_line_is_not_shown() -> None:
    source = Source("job.yaml", "a" * 200)
    assert source.problem(Place("job.yaml", 1, 1), "wrong").source == ""
