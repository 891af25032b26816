"""Names of videos: one safe path segment, whatever stands in the prompt."""

import unicodedata
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
        and all(sign.isprintable() for sign in name)
        and len(name.encode()) <= 150
        and not name.startswith((".", "-", " "))
        and not name.endswith((".", " "))
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
    assert names.safe(slug) in (slug, f"_{slug}")
    assert unicodedata.is_normalized("NFC", slug)


@given(ANY_TEXT)
def test_a_name_that_is_safe_stays_as_it_is(text: str) -> None:
    once = names.safe(text)
    assert names.safe(once) == once


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
        ("CON.txt", "_CON.txt"),
        ("console", "console"),
        ("lpt1 .x", "_lpt1 .x"),
        pytest.param("con" + " -" * 80 + "x", "_con", id="reserved once it is cut"),
        pytest.param("con." + "x" * 200, "_con." + "x" * 145, id="reserved and cut"),
        ("a/b\\c", "a-b-c"),
        ("..", ""),
        ("cfg 7.5 @ 30", "cfg 7.5 @ 30"),
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
    assert names.stem(template, task(shift=1.5), "fox") == "fox portrait 2 an owl 1.5 abcdefghijkl"


def test_a_name_of_nothing_is_the_task_s_id() -> None:
    assert names.stem("${nothing}", task(), "job") == "abcdefghijkl"


def test_indices_sort_as_text_up_to_ten_thousand() -> None:
    stems = [names.stem("${index}", task(index=index), "job") for index in (2, 10, 9999)]
    assert stems == sorted(stems) == ["0002", "0010", "9999"]
