"""Prompts from .txt, .csv, .jsonl and .yaml files: what they mean, and what is said of bad rows."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchgen import templates
from batchgen.errors import JobFileError, Problem
from batchgen.expansion import count, expand
from batchgen.job import Job, Prompt
from batchgen.jobfile import Overrides
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.mistakes import SHOWN
from batchgen.jobfile.source import Source

FILES = ("prompts.txt", "prompts.csv", "prompts.jsonl", "prompts.yaml", "prompts.yml")
Load = Callable[..., Job]
Mistakes = Callable[..., tuple[Problem, ...]]

# One folder serves all examples of a test: each writes its file anew.
each_example = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return what loads a job whose prompts are a file's."""

    def loaded(name: str, content: str | bytes, rest: str = "") -> Job:
        raw = content if isinstance(content, bytes) else content.encode("utf-8")
        (tmp_path / name).write_bytes(raw)
        source = Source("job.yaml", f"prompts: {{file: {name}}}\n{rest}")
        return parse_job(source, tmp_path / "job.yaml", Overrides())

    return loaded


@pytest.fixture
def mistakes(load: Load) -> Mistakes:
    """Return what loads a job with mistakes and hands them back."""

    def made(name: str, content: str | bytes, rest: str = "") -> tuple[Problem, ...]:
        with pytest.raises(JobFileError) as caught:
            load(name, content, rest)
        return caught.value.problems

    return made


def attempt(load: Load, name: str, content: str | bytes) -> tuple[Prompt | Problem, ...]:
    """Return the prompts, or the mistakes where there are any."""
    try:
        return load(name, content).prompts
    except JobFileError as error:
        return error.problems


ROWS: list[dict[str, Any]] = [
    {"prompt": "A fox, at dusk", "seed": 7, "aspect_ratio": "9:16", "id": "fox"},
    {"prompt": 'An owl says "no"', "shift": 3.5, "enable_safety_checker": False},
    {"prompt": "狐が走る 🦊"},
]
EXPECTED = tuple(
    Prompt(
        row["prompt"],
        row.get("id"),
        {name: value for name, value in row.items() if name not in ("prompt", "id")},
    )
    for row in ROWS
)


def as_csv(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows({name: templates.text(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", as_csv(ROWS)),
        ("P.CSV", as_csv(ROWS)),
        ("p.jsonl", as_jsonl(ROWS)),
        ("p.yaml", yaml.safe_dump(ROWS, allow_unicode=True)),
        ("p.yml", json.dumps(ROWS, ensure_ascii=False)),
    ],
)
def test_the_same_prompts_are_the_same_in_every_form(load: Load, name: str, content: str) -> None:
    assert load(name, content).prompts == EXPECTED
    inline = Source("job.yaml", f"prompts: {json.dumps(ROWS, ensure_ascii=False)}")
    assert parse_job(inline, Path("job.yaml"), Overrides()).prompts == EXPECTED


@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_and_any_line_ending_change_nothing(load: Load, name: str) -> None:
    content = {
        "txt": "A fox\nAn owl\n",
        "csv": "prompt,seed\nA fox,\nAn owl,\n",
        "jsonl": '"A fox"\n{"prompt": "An owl"}\n',
    }.get(name.rpartition(".")[2], "- A fox\n- prompt: An owl\n")
    for ending in ("\n", "\r\n", "\r"):
        raw = b"\xef\xbb\xbf" + content.replace("\n", ending).encode()
        assert load(name, raw).prompts == (Prompt("A fox"), Prompt("An owl"))


def test_a_value_of_a_row_pins_its_axis_and_an_empty_cell_leaves_it_to_the_axis(load: Load) -> None:
    table = "prompt,seed,shift\nA fox,7,\nAn owl,,8\n"
    job = load("p.csv", table, "defaults: {shift: 3}\nmatrix: {seed: 1-3}")
    assert [(t.prompt, t.params["seed"], t.params["shift"]) for t in expand(job)] == [
        ("A fox", 7, 3),
        *(("An owl", seed, 8) for seed in (1, 2, 3)),
    ]
    assert count(job) == 4


def test_a_column_may_be_a_variable(load: Load) -> None:
    table = "animal,prompt,take\na fox,${animal} runs (take ${take}),007\n,${animal} sleeps,\n"
    job = load("p.csv", table, "defaults: {animal: an owl}")
    assert [task.prompt for task in expand(job)] == ["a fox runs (take 007)", "an owl sleeps"]
    assert [dict(task.variables) for task in expand(job)] == [
        {"animal": "a fox", "take": "007"},
        {"animal": "an owl"},
    ]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("7", 7), ("7.5", 7.5), ("true", True)),
        *((text, text) for text in ("007", "1e3", "5.0", "TRUE", "16:9", "null", "no", "+7")),
    ],
)
def test_a_variable_says_what_its_cell_says(load: Load, cell: str, value: object) -> None:
    (prompt,) = load("p.csv", f"prompt,take\nTake ${{take}},{cell}\n").prompts
    assert prompt.own == {"take": value}
    assert type(prompt.own["take"]) is type(value)


def test_a_variable_of_a_row_of_include_is_a_variable_in_the_table_too(load: Load) -> None:
    rest = "defaults: {take: 1}\ninclude: [{prompt: 'Take ${take}'}]"
    (prompt,) = load("p.csv", "prompt,take\nA fox,007\n", rest).prompts
    assert prompt.own == {"take": "007"}


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("negative_prompt", "007", "007"),
        ("negative_prompt", "no", "no"),
        ("negative_prompt", "null", "null"),
        ("aspect_ratio", " 16:9 ", "16:9"),
        ("seed", "010", 10),
        ("seed", "7.0", 7),
        ("guidance_scale", "7.50", 7.5),
        ("guidance_scale", "1e1", 10),
        ("enable_safety_checker", "TRUE", True),
        ("enable_safety_checker", "False", False),
    ],
)
def test_a_cell_is_typed_by_its_parameter(load: Load, name: str, cell: str, value: object) -> None:
    (prompt,) = load("p.csv", f"prompt,{name}\nA fox,{cell}\n").prompts
    assert prompt.own == {name: value}
    assert type(prompt.own[name]) is type(value)


def test_without_a_table_a_cell_is_what_a_word_without_quotes_is_to_yaml(load: Load) -> None:
    table = "prompt,a,b,c,d\nA fox,7.50,16:9,true,\n"
    (prompt,) = load("p.csv", table, "provider: {model: somebody/else}").prompts
    assert prompt.own == {"a": 7.5, "b": "16:9", "c": True}


def test_ids_and_prompts_of_a_table_stay_text(load: Load) -> None:
    (prompt,) = load("p.csv", "id,prompt\n7,1984\n").prompts
    assert prompt == Prompt("1984", "7")


def test_rows_without_values_columns_without_names_and_lines_in_a_cell_are_read(load: Load) -> None:
    table = 'prompt,seed,,\n"two\nlines",7,,\n,,,\n\n  ,\nA fox\n'
    assert load("p.csv", table).prompts == (
        Prompt("two\nlines", None, {"seed": 7}),
        Prompt("A fox"),
    )


def test_a_prompt_that_stands_in_a_file_twice_is_made_once_with_a_warning(load: Load) -> None:
    job = load("p.csv", "prompt,seed\nA fox,7\nA fox,8\nA fox,7\n")
    assert [prompt.own["seed"] for prompt in job.prompts] == [7, 8]
    assert "p.csv:4:1: repeats the prompt of line 2" in job.warnings[0]


def test_a_hundred_repeated_prompts_are_not_a_hundred_warnings(load: Load) -> None:
    warnings = load("p.txt", "A fox\n" * 101).warnings
    assert len(warnings) == SHOWN + 1
    assert "90 more prompts" in warnings[-1]


# Bad rows.


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("p.csv", 'prompt,seed\n"two\nlines",x\nA fox,y\n', [(2, 1), (4, 7)]),
        ("p.csv", 'prompt,seed\n"a, b",x\n"say ""hi""",y\n', [(2, 8), (3, 14)]),
        ("p.csv", "prompt,seed\r\n\r\nA fox, x\r\n", [(3, 8)]),
        ("p.jsonl", '\n  {"prompt": "a", "seed": "x"}\n', [(2, 27)]),
        ("p.jsonl", '{"seed" : [1, {"seed": 2}] , "prompt":"a"}\n', [(1, 11)]),
        ("p.yaml", "- a\n- prompt: b\n  seed: x\n", [(3, 9)]),
        ("p.csv", "prompt,seed\na\u2028b,x\nc\x85d,y\n", [(2, 5), (3, 5)]),
    ],
)
def test_a_bad_row_is_named_by_the_line_and_column_an_editor_shows(
    mistakes: Mistakes, name: str, content: str, places: list[tuple[int, int]]
) -> None:
    found = mistakes(name, content)
    assert [(problem.place.line, problem.place.column) for problem in found] == places
    assert all(problem.place.file.endswith(name) for problem in found)
    assert all("seed" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("name", "head", "row"),
    [
        ("p.csv", "prompt,seed\n", "Fox {0},x{0}\n"),
        ("p.jsonl", "", '{{"prompt": "Fox {0}", "seed": "x{0}"}}\n'),
        ("p.jsonl", "", '{{"prompt": "Fox {0}" "seed": {0}}}\n'),
        ("p.yaml", "", "- {{prompt: Fox {0}, seed: x}}\n"),
        ("p.yaml", "", "- Fox {0}: running\n"),
        ("p.txt", "", "Fox {0} and ${{animal}}\n"),
    ],
)
def test_a_slip_made_in_every_row_is_shown_ten_times_and_counted(
    mistakes: Mistakes, name: str, head: str, row: str
) -> None:
    found = mistakes(name, head + "".join(row.format(number) for number in range(3_000)))
    assert len(found) == SHOWN + 1
    assert found[-1].message.startswith("2,990 more mistakes of this kind")
    assert found[-1].hint.endswith(f"line {3_000 + head.count(chr(10))}")


def test_a_secret_in_a_column_is_not_shown(mistakes: Mistakes) -> None:
    found = mistakes("p.csv", "prompt,api_key,seed\nA fox,CANARY,x\nAn owl,CANARY,\n")
    assert any("a key does not belong" in problem.message for problem in found)
    assert not any("CANARY" in str(problem) for problem in found)


@pytest.mark.parametrize("name", FILES)
def test_a_file_past_the_bound_is_refused_where_it_is_named(
    mistakes: Mistakes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("batchgen.jobfile.source.MAX_BYTES", 2**20)
    (problem,) = mistakes(name, b"a" * (2**20 + 1))
    assert problem.place.file == "job.yaml"
    assert "is larger than 1 MiB" in problem.message
    assert "split it" in problem.hint


def test_a_quote_that_is_never_closed_in_a_long_table_says_where_it_opens(
    mistakes: Mistakes,
) -> None:
    table = 'prompt,seed\nA fox,7\nAn owl,"8\n' + "A tram runs through the city,9\n" * 6_000
    (problem,) = mistakes("p.csv", table)
    assert (problem.place.line, problem.place.column) == (3, 8)
    assert "longer than 131,072 characters" in problem.message
    assert "quote" in problem.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ("9" * 5_000, "a number in this line is too long"),
        ('{"prompt": "a", "seed": 1e999}', "expected a finite number"),
        ('{"prompt": "\\ud800"}', "half of an escaped character"),
        ('{"prompt": "a", "negative_prompt": "\\uDFFF"}', "half of an escaped character"),
    ],
)
def test_json_that_no_request_could_carry_is_a_mistake(
    mistakes: Mistakes, line: str, said: str
) -> None:
    (problem,) = mistakes("p.jsonl", line)
    assert said in problem.message


@pytest.mark.parametrize("name", FILES)
@given(raw=st.binary(max_size=200))
@example(raw=b"prompt,seed\n\x00,1")
@example(raw=b"\xff\xfea\x00")
@example(raw=b'prompt\n"')
@example(raw=b'{"prompt": {"prompt": {}}}')
@example(raw=b"- {prompt: a, [x]: 1}")
@each_example
def test_any_bytes_are_prompts_or_mistakes(load: Load, name: str, raw: bytes) -> None:
    found = attempt(load, name, raw)
    assert found
    assert all(map(str, found))


_SIGNS = st.text(alphabet=" ,\"\n\r\t{}[]:-#'$&*;\\apromtseid071.", max_size=80)


@pytest.mark.parametrize(
    ("name", "head"), [("p.csv", "prompt,seed\n"), ("p.jsonl", ""), ("p.yaml", "- a\n")]
)
@given(signs=_SIGNS)
@each_example
def test_any_text_of_a_form_s_own_signs_is_prompts_or_mistakes(
    load: Load, name: str, head: str, signs: str
) -> None:
    lines = signs.count("\n") + signs.count("\r") + 3
    for found in attempt(load, name, head + signs):
        assert isinstance(found, Prompt) or 0 <= found.place.line <= lines
        assert str(found)


def test_a_line_that_begins_with_a_hashtag_is_pointed_out_and_a_note_is_not(load: Load) -> None:
    job = load("prompts.txt", "# a note\n#cinematic fox\nA fox\n##\n#---\n  #1 fan\n#\n#猫\n")
    assert [prompt.template for prompt in job.prompts] == ["A fox"]
    (warning,) = job.warnings
    assert "prompts.txt:2:1: the text '#cinematic fox' begins with # and is left out" in warning
    assert "(and 2 more, down to line 8)" in warning
    assert load("prompts.txt", "# a note\n#\nA fox\n").warnings == ()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("1. A fox\n2. An owl\n", 1, "begins as in a list (1.)"),
        ("# list\n\n- A fox\n- An owl\n", 3, "begins as in a list (-)"),
        ('"A fox",\n"An owl"\n', 1, "stands in quotes"),
        ("\u201cA fox\u201d\n\u201cAn owl\u201d\n", 1, "stands in quotes"),
        ("prompt\nA fox\n", 1, "is sent as a prompt"),
        ("Prompt;seed\nA fox;7\n", 1, "is sent as a prompt"),
        ("prompt\taspect_ratio\nA fox\t16:9\n", 1, "is sent as a prompt"),
        ("prompts:\n  A fox\n", 1, "is sent as a prompt"),
    ],
)
def test_what_each_line_has_around_its_prompt_is_pointed_out(
    load: Load, text: str, line: int, said: str
) -> None:
    (warning,) = load("prompts.txt", text).warnings
    assert f"prompts.txt:{line}:1: " in warning
    assert said in warning


@pytest.mark.parametrize(
    "text",
    [
        "1. A fox\nAn owl\n",
        "1. A fox\n",
        '"Go" she says, "now"\n"Stop!"\n',
        "Prompt, the actor, takes a bow in the rain\nA fox\n",
        "- \n--\n",
        "2001: a fox\n2002: an owl\n",
    ],
)
def test_lines_that_only_look_a_little_like_a_list_or_a_table_pass(load: Load, text: str) -> None:
    assert load("prompts.txt", text).warnings == ()


def test_the_line_with_which_excel_names_its_comma_is_no_header(load: Load) -> None:
    job = load("prompts.csv", "sep=,\r\nprompt,seed\r\nA fox,7\r\n")
    assert job.prompts == (Prompt("A fox", own={"seed": 7}),)


IGNORING: dict[str, str] = {
    "p.csv": "prompt,notes,seed\nA fox,Anna's,7\n,Act 2,\nAn owl,,\n",
    "p.jsonl": '{"prompt": "A fox", "notes": [1, {}], "seed": 7}\n"An owl"\n',
    "p.yaml": "- {prompt: A fox, notes: {a: 1}, seed: 7}\n- An owl\n",
}


@pytest.mark.parametrize("name", IGNORING)
@pytest.mark.parametrize("ignore", ["notes", "[notes]"])
def test_what_is_for_people_alone_is_neither_read_nor_sent(
    tmp_path: Path, name: str, ignore: str
) -> None:
    (tmp_path / name).write_text(IGNORING[name], encoding="utf-8")
    source = Source("job.yaml", f"prompts: {{file: {name}, ignore: {ignore}}}")
    job = parse_job(source, tmp_path / "job.yaml", Overrides())
    assert job.prompts == (Prompt("A fox", own={"seed": 7}), Prompt("An owl"))
    assert job.warnings == ()


def test_columns_without_a_use_are_ignored_and_one_that_is_not_there_is_said(
    tmp_path: Path,
) -> None:
    (tmp_path / "p.csv").write_text("prompt,seed,notes,id,notes\nA fox,7,a,b,c\n", encoding="utf-8")
    source = Source("job.yaml", "prompts: {file: p.csv, ignore: [notes, seed, id, author]}")
    job = parse_job(source, tmp_path / "job.yaml", Overrides())
    assert job.prompts == (Prompt("A fox"),)
    said = f"prompts.ignore: no prompt of {tmp_path / 'p.csv'} has a value named author"
    assert job.warnings == (said,)


_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$"), min_size=1, max_size=12
).filter(lambda text: text.strip() == text)
_WRITTEN = st.lists(
    st.fixed_dictionaries(
        {"prompt": _TEXTS},
        optional={
            "seed": st.integers(0, 2**31 - 1),
            "shift": st.integers(0, 9) | st.floats(0, 9).filter(lambda number: number % 1 != 0),
            "sampler": st.sampled_from(["unipc", "dpm+"]),
            "negative_prompt": _TEXTS,
            "id": _TEXTS,
            "enable_safety_checker": st.booleans(),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(rows=_WRITTEN)
@each_example
def test_what_is_written_as_a_table_and_as_lines_makes_the_tasks_of_the_same_list(
    load: Load, rows: list[dict[str, Any]]
) -> None:
    rest = "matrix: {seed: 1-2, shift: [3, 8]}"
    inline = Source("job.yaml", f"prompts: {json.dumps(rows, ensure_ascii=False)}\n{rest}")
    wanted = [task.task_id for task in expand(parse_job(inline, Path("job.yaml"), Overrides()))]
    for name, content in (("p.csv", as_csv(rows)), ("p.jsonl", as_jsonl(rows))):
        assert [task.task_id for task in expand(load(name, content, rest))] == wanted


@given(rows=_WRITTEN, more=_WRITTEN, data=st.data())
@each_example
def test_ids_survive_reordered_rows_reordered_columns_and_added_rows(
    load: Load, rows: list[dict[str, Any]], more: list[dict[str, Any]], data: st.DataObject
) -> None:
    rest = "matrix: {seed: {random: 2}, guidance_scale: 3-5}"
    kept = {task.task_id for task in expand(load("p.csv", as_csv(rows), rest))}
    mixed = [
        {name: row[name] for name in data.draw(st.permutations(list(row)))}
        for row in data.draw(st.permutations([*rows, *more]))
    ]
    longer = "name: renamed\nmatrix: {guidance_scale: 3-6, seed: {random: 3}}"
    assert kept <= {task.task_id for task in expand(load("q.csv", as_csv(mixed), longer))}
