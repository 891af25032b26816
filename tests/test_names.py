"""Names of videos: one safe path segment, whatever stands in the prompt."""

import unicodedata
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen import names
from batchgen.job import DEFAULT_NAME
from batchgen.models import Scalar
from batchgen.task import Task

ANY_TEXT = st.text(st.characters(), max_size=400)


def task(prompt: str = "A red fox", index: int = 3, **params: Scalar) -> Task:
    return Task(
        task_id="abcdefghijkl",
        index=index,
        params={"model": "m", "prompt": prompt, **params},
        prompt_template=prompt,
        prompt_id="portrait",
        variables={"animal": "an owl"},
        repeat=2,
    )


def is_one_segment(name: str) -> bool:
    return (
        PurePosixPath(name).name == name
        and PureWindowsPath(name).name == name
        and name not in (".", "..")
        and not set(name) & set('<>:"/\\|?*\0')
        and "." not in name
        and all(sign.isprintable() for sign in name)
        and len(name.encode()) + len("_aaaaaaaaaaaa_99.mp4") <= 143
        and not name.startswith(("-", " "))
        and not name.endswith(" ")
        and not PureWindowsPath(f"{name}.mp4").is_reserved()
    )


@given(ANY_TEXT)
@example("../../etc/passwd")
@example("CON")
@example("con.v2")
@example("nul ")
@example("com¹")
@example("aux." + "x" * 200)
@example("a" * 300)
@example("狐" * 300)
@example("e\u0301" * 200)
@example("\ud800")
@example("-rf")
@example("a\x00b\r\nc")
@example("\u202eevil")
def test_any_text_becomes_one_path_segment_or_nothing(text: str) -> None:
    name = names.safe(text)
    assert name == "" or is_one_segment(name)


@given(ANY_TEXT)
@example("नमस्ते दुनिया " * 20)
@example("İ" * 60)
@example("ﬁ" * 60)
@example("con")
def test_any_text_becomes_a_slug_of_sixty_bytes(text: str) -> None:
    slug = names.slug(text)
    assert 1 <= len(slug.encode()) <= names.SLUG_BYTES
    assert names.safe(slug).replace("+", "-").strip("-_") == slug
    assert unicodedata.is_normalized("NFC", slug)


@given(ANY_TEXT)
@example("x" * 145 + " tests")
@example("x" * 144 + "9valued")
@example("ẞ")
@example("\u0391\u03a3 \u03c3")
def test_a_name_that_is_safe_stays_as_it_is(text: str) -> None:
    once = names.safe(text)
    assert names.safe(once) == once


FORMS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    str.casefold,
    partial(unicodedata.normalize, "NFD"),
    lambda text: unicodedata.normalize("NFD", text.casefold()),
]
"""What file systems that ignore case or form fold names by, each in its own way."""
WITH_CASE = [
    sign
    for sign in map(chr, range(0x110000))
    if {sign} != {sign.upper(), sign.lower(), sign.casefold()}
]


def test_names_that_a_file_system_may_take_for_one_are_one_but_for_ascii_case() -> None:
    assert len(WITH_CASE) > 2_500
    for sign in (*WITH_CASE, "é", "가", "क़", "\N{ANGSTROM SIGN}", "\N{OHM SIGN}"):
        for text in (sign, f"x{sign}y"):
            name = names.safe(text).lower()
            assert {names.safe(form(text)).lower() for form in FORMS} == {name}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"),
        ("É", "é"),
        ("Straße", "STRASSE"),
        ("ẞ", "ss"),
        ("\N{LATIN SMALL LETTER DOTLESS I}ş", "iş"),
        ("ΛΌΓΟΣ", "λόγος"),
        ("狐\N{VARIATION SELECTOR-16}", "狐"),
        ("\N{KELVIN SIGN}", "k"),
        ("J\N{COMBINING CARON}", "\N{LATIN SMALL LETTER J WITH CARON}"),
    ],
)
def test_names_that_differ_by_case_or_form_are_seen_to(one: str, other: str) -> None:
    assert names.safe(one).lower() == names.safe(other).lower()


@pytest.mark.parametrize(
    ("one", "other"), [("İ", "i"), ("é", "e"), ("狐", "狗"), ("и", "й"), ("ä", "a")]
)
def test_letters_that_are_different_stay_different(one: str, other: str) -> None:
    assert names.safe(one) != names.safe(other)


SPLITS = {
    "train": ["train", "training"],
    "validation": ["validation", "valid", "dev", "val"],
    "test": ["test", "testing", "eval", "evaluation"],
}
WORDS = [word for words in SPLITS.values() for word in words]
SPLIT_PATTERNS = [
    pattern.format(word=word)
    for word in WORDS
    for pattern in ("{word}[-._ 0-9]*", "*[-._ 0-9]{word}[-._ 0-9]*")
]
"""How `datasets` 5.2 finds a split in the name of a file."""


def splits(name: str) -> list[str]:
    return [pattern for pattern in SPLIT_PATTERNS if fnmatchcase(f"{name.lower()}.mp4", pattern)]


@given(
    st.lists(
        st.sampled_from([*WORDS, "a", "s", "-", "_", " ", ".", "7", "+", "狐"]),
        max_size=60,
    ).map("".join)
)
@example("0001_a-train-at-dusk_s7")
@example("x" * 145 + " tests")
@example("x" * 143 + "9valued")
@example("Test")
@example("1.val.2")
def test_no_name_says_which_split_of_a_dataset_it_is_in(text: str) -> None:
    assert splits(names.safe(text)) == []
    assert is_one_segment(names.safe(text)) or names.safe(text) == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0001_a-train-at-dusk_s7", "0001_a+train-at-dusk_s7"),
        ("0001_train-test", "0001+train+test"),
        ("take9test", "take9+test"),
        ("Val", "+Val"),
        ("a-trainer-tested-a-valley", "a-trainer-tested-a-valley"),
        ("contest", "contest"),
    ],
)
def test_a_split_word_is_tied_to_what_stands_before_it(text: str, name: str) -> None:
    assert names.safe(text) == name


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=30))
def test_a_stem_is_one_segment_for_any_template_prompt_and_job(
    template: str, prompt: str, job: str
) -> None:
    assert is_one_segment(names.stem(template + "${slug}${job}", task(prompt), job))
    assert is_one_segment(names.stem(template, task(prompt), job))


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("A red fox trots, slow dolly-in!", "a-red-fox-trots-slow-dolly-in"),
        ("Ein Fuchs läuft", "ein-fuchs-läuft"),
        ("狐狸在雪地里", "狐狸在雪地里"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
        ("สวัสดี", "สวัสดี"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}bc ①", "abc-1"),
        ("🦊🦊", "video"),
        ("", "video"),
        ("...", "video"),
        ("16:9", "16-9"),
    ],
)
def test_a_slug_keeps_the_words_of_any_script(text: str, slug: str) -> None:
    assert names.slug(text) == slug


def test_a_slug_is_cut_between_characters() -> None:
    assert names.slug("狐" * 40) == "狐" * 20


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("con", "_con"),
        ("CON.txt", "CON-txt"),
        ("console", "console"),
        ("lpt1 .x", "lpt1 -x"),
        ("nul.", "_nul"),
        pytest.param("con" + " -" * 80 + "x", "_con", id="reserved once it is cut"),
        ("a/b\\c", "a-b-c"),
        ("..", ""),
        ("cfg 7.5 @ 30", "cfg 7-5 @ 30"),
        ("a_g5.5_s1.mp4", "a_g5-5_s1-mp4"),
        (".hidden", "hidden"),
    ],
)
def test_what_no_system_takes_is_mended_and_the_rest_kept(text: str, name: str) -> None:
    assert names.safe(text) == name


def test_the_usual_name_is_index_slug_and_seed() -> None:
    assert names.stem(DEFAULT_NAME, task(seed=7), "job") == "0003_a-red-fox_s7"


def test_a_name_does_not_end_in_a_lonely_s_where_there_is_no_seed() -> None:
    assert names.stem(DEFAULT_NAME, task(), "job") == "0003_a-red-fox"


def test_a_name_may_hold_everything_that_is_known_of_a_task() -> None:
    template = "${job} ${prompt_id} ${repeat} ${animal} ${shift} ${task_id} ${unknown}"
    assert names.stem(template, task(shift=1.5), "fox") == "fox portrait 2 an owl 1-5 abcdefghijkl"


def test_a_name_of_nothing_is_the_task_s_id() -> None:
    assert names.stem("${nothing}", task(), "job") == "abcdefghijkl"


def test_indices_sort_as_text_up_to_ten_thousand() -> None:
    stems = [names.stem("${index}", task(index=index), "job") for index in (2, 10, 9999)]
    assert stems == sorted(stems) == ["0002", "0010", "9999"]
