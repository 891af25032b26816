"""What the bytes of a .env are read as, and what a run takes from it."""

import codecs
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.cli.env_file import MAX_BYTES, OPTIONS, parse, read_env_file
from batchgen.cli.environment import NOT_FROM_A_FILE, combine
from batchgen.job import ProviderSettings
from tests.test_expansion import job

TEXT = "# a note\nAIMLAPI_KEY=sk-0123456789\nBATCHGEN_OUTPUT='a folder'\n"
VALUES = {"AIMLAPI_KEY": "sk-0123456789", "BATCHGEN_OUTPUT": "a folder"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(encoding: str) -> None:
    without_note = TEXT.partition("\n")[2]
    for text in (TEXT, without_note, without_note.replace("\n", "\r\n")):
        assert parse(text.encode(encoding)) == (VALUES, "")


@pytest.mark.parametrize("mark", ["LE", "BE"])
def test_both_orders_of_utf_16_are_read(mark: str) -> None:
    raw = getattr(codecs, f"BOM_UTF16_{mark}") + TEXT.encode(f"utf-16-{mark}")
    assert parse(raw) == (VALUES, "")


def test_a_note_in_latin_1_costs_no_key_and_its_line_is_named() -> None:
    values, complaint = parse(b"A=1\n# Schl\xfcssel\n" + TEXT.encode())
    assert values == {"A": "1", **VALUES}
    assert complaint == "is not UTF-8 (line 2), and is read as Latin-1"


def test_lines_with_nul_are_left_out_and_the_rest_is_read() -> None:
    values, complaint = parse(b"BATCHGEN_OUTPUT=a\0b\nC\0=3\n" + b"AIMLAPI_KEY=sk-0123456789\n")
    assert values == {"AIMLAPI_KEY": "sk-0123456789"}
    assert "save it as UTF-8" in complaint
    assert parse(TEXT.encode("utf-16-le")).values == {}


def test_what_only_begins_like_utf_16_is_not_read() -> None:
    assert parse(codecs.BOM_UTF16_LE + b"A").complaint.startswith("is not read")


def test_a_value_that_names_another_variable_is_not_filled_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address in the file could carry the environment's secrets away."""
    monkeypatch.setenv("AIMLAPI_KEY", "sk-of-the-shell")
    values, _ = parse(b"BATCHGEN_NOTIFY_URL=https://x.example/?k=${AIMLAPI_KEY}\n")
    assert values == {"BATCHGEN_NOTIFY_URL": "https://x.example/?k=${AIMLAPI_KEY}"}


def test_names_without_a_value_are_left_out() -> None:
    assert parse(b"A=\nB\nC=''\nexport D=4 # four\n").values == {"D": "4"}


@given(st.binary() | st.text(st.sampled_from("A=\"'\\${}#\n\r\0 \ufeff\xfc")).map(str.encode))
def test_no_bytes_stop_a_command(raw: bytes) -> None:
    values, complaint = parse(raw)
    assert all(name and value for name, value in values.items())
    assert "\0" not in "".join([*values, *values.values(), complaint])


def test_a_file_that_cannot_be_read_is_a_complaint_and_a_folder_or_none_is_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".env"
    assert read_env_file(str(path)) == ({}, "")
    path.mkdir()
    assert read_env_file(str(path)) == ({}, "")
    path.rmdir()
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "larger than 1 MiB" in read_env_file(str(path)).complaint
    assert "cannot be read" in read_env_file("/proc/self/mem").complaint


def test_the_options_of_the_file_go_by_their_names_on_the_command_line() -> None:
    raw = "".join(f"{name}=7\n" for name in OPTIONS).encode()
    assert parse(raw).options == dict.fromkeys(OPTIONS.values(), "7")
    assert parse(b"PATH=/evil\n").options == {}


HOSTED = replace(job(), provider=ProviderSettings("aimlapi"))
FILE = {
    "AIMLAPI_KEY": "of the file",
    "BATCHGEN_NOTIFY_URL": "https://file.example",
    **dict.fromkeys(NOT_FROM_A_FILE, "evil"),
    **dict.fromkeys(("PATH", "PYTHONPATH", "LD_PRELOAD", "HOME", "BATCHGEN_BASE_URL"), "evil"),
}


def test_a_file_with_the_key_in_use_adds_it_and_the_address_to_notify_and_nothing_else() -> None:
    combined = combine(HOSTED, {"PATH": "/bin", "AIMLAPI_KEY": ""}, FILE)
    assert combined.own_key is None
    assert combined.variables == {
        "PATH": "/bin",
        "AIMLAPI_KEY": "of the file",
        "BATCHGEN_NOTIFY_URL": "https://file.example",
    }
    assert combined.unused == NOT_FROM_A_FILE


@pytest.mark.parametrize("name", ["AIMLAPI_KEY", "AIML_API_KEY"])
def test_a_key_of_the_environment_outweighs_the_file_under_any_of_its_names(name: str) -> None:
    process = {name: "of the shell"}
    combined = combine(HOSTED, process, FILE)
    assert combined.own_key == name
    assert combined.variables == process
    assert combined.unused == (*NOT_FROM_A_FILE, "BATCHGEN_NOTIFY_URL")


def test_the_variables_that_a_job_names_are_looked_for_in_the_file() -> None:
    named = replace(
        HOSTED,
        provider=replace(HOSTED.provider, api_key_env="MY_KEY"),
        notify=replace(HOSTED.notify, url_env="MY_CHANNEL"),
    )
    combined = combine(named, {}, {**FILE, "MY_KEY": "k", "MY_CHANNEL": "c"})
    assert combined.variables == {"MY_KEY": "k", "MY_CHANNEL": "c"}


def test_what_the_environment_has_is_not_said_to_be_unused() -> None:
    process = {"AIMLAPI_KEY": "k", "HTTPS_PROXY": "mine", "BATCHGEN_NOTIFY_URL": "https://mine"}
    combined = combine(HOSTED, process, FILE)
    assert combined.variables == process
    assert not {"HTTPS_PROXY", "BATCHGEN_NOTIFY_URL"} & set(combined.unused)
