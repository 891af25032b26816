"""A .env that somebody else wrote: it moves no key, and no verb dies of it."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Batchgen
from tests.e2e.test_command import FAST, account, manifest

KEY = "sk-of-the-shell-0123456789"
HOSTED = "version: 1\nprovider: aimlapi\nprompts: [a fox]\n"


@pytest.fixture
def elsewhere(serve: Callable[..., str], tmp_path: Path) -> str:
    """A server that .env names; a job for the hosted API lies beside it."""
    url = serve(*FAST)
    (tmp_path / "job.yaml").write_text(HOSTED)
    (tmp_path / ".env").write_text(f"BATCHGEN_BASE_URL={url}\n")
    return url


def test_a_key_of_the_environment_goes_to_no_address_that_only_the_file_names(
    batchgen: Batchgen, elsewhere: str, tmp_path: Path
) -> None:
    ended = batchgen("run", "job.yaml", "--yes", AIMLAPI_KEY=KEY)
    assert ended.returncode == 4
    assert f"BATCHGEN_BASE_URL in .env sends requests to {elsewhere}" in ended.stderr
    assert "AIMLAPI_KEY is not from that file" in ended.stderr
    assert account(elsewhere)["requests"].keys() == {"ledger"}
    # From the command line, from the environment, and with a key of the file's own it is used.
    for arguments, more in (
        (["--base-url", elsewhere], {"AIMLAPI_KEY": KEY}),
        ([], {"AIMLAPI_KEY": KEY, "BATCHGEN_BASE_URL": elsewhere}),
    ):
        ended = batchgen("run", "job.yaml", "--yes", *arguments, **more)
        assert ended.returncode == 0, ended.stderr
    with (tmp_path / ".env").open("a") as file:
        file.write("AIMLAPI_KEY=sk-of-the-file-0123456789\n")
    assert batchgen("run", "job.yaml", "--yes", "--output", "other").returncode == 0
    assert account(elsewhere)["submits"] == 2


def test_a_job_that_is_a_rehearsal_costs_no_money_because_of_the_file(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [a fox]\n")
    (tmp_path / ".env").write_text("BATCHGEN_PROVIDER=aimlapi\n")
    ended = batchgen("run", "job.yaml", "--yes", AIMLAPI_KEY=KEY)
    assert ended.returncode == 4
    assert "BATCHGEN_PROVIDER in .env asks for aimlapi" in ended.stderr
    assert not (tmp_path / "output").exists()


def test_going_on_with_a_run_sends_the_key_nowhere_else_either(
    batchgen: Batchgen, elsewhere: str, tmp_path: Path
) -> None:
    """Neither by the address in the file, nor by a run directory it names that remembers one."""
    own = tmp_path / ".env"
    own.unlink()
    for output in ("mine", "theirs"):
        named = elsewhere if output == "theirs" else f"{elsewhere}/mine"
        job = HOSTED.replace("aimlapi", f"{{kind: aimlapi, base_url: '{named}'}}")
        (tmp_path / f"{output}.yaml").write_text(job)
        batchgen("run", f"{output}.yaml", "--output", output, AIMLAPI_KEY=KEY)
    before = account(elsewhere)["requests"]
    own.write_text(f"BATCHGEN_BASE_URL={elsewhere}\n")
    assert batchgen("retry", "mine", AIMLAPI_KEY=KEY).returncode == 4
    own.write_text("BATCHGEN_OUTPUT=theirs\n")
    ended = batchgen("retry", "mine.yaml", AIMLAPI_KEY=KEY)
    assert ended.returncode == 4
    assert f"BATCHGEN_OUTPUT in .env names a run of aimlapi at {elsewhere}," in ended.stderr
    assert account(elsewhere)["requests"] == {**before, "ledger": before["ledger"] + 1}


@pytest.mark.parametrize(("answer", "code", "submits"), [("n", 130, 0), ("y", 0, 1)])
def test_at_a_terminal_the_person_is_asked(
    elsewhere: str,
    environment: dict[str, str],
    tmp_path: Path,
    answer: str,
    code: int,
    submits: int,
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard:
        run = subprocess.Popen(
            [sys.executable, "-m", "batchgen", "run", "job.yaml", "--yes"],
            cwd=tmp_path,
            env={**environment, "AIMLAPI_KEY": KEY},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        keyboard.write(f"{answer}\n".encode())
        _, err = run.communicate(timeout=60)
    assert (run.returncode, account(elsewhere)["submits"]) == (code, submits), err
    assert "Send it there? [y/N]" in err


def test_proxies_channels_and_paths_of_the_file_have_no_effect(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url, other = serve(*FAST), serve(*FAST)
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [a fox]\n")
    (tmp_path / ".env").write_text(
        f"BATCHGEN_NOTIFY_URL={other}/?k=${{BATCHGEN_SANDBOX_KEY}}\nHTTP_PROXY={other}\n"
        f"http_proxy={other}\nALL_PROXY={other}\nPYTHONPATH=/nowhere\nTMPDIR=/nowhere\n"
    )
    ended = batchgen("run", "job.yaml", "--base-url", url, BATCHGEN_SANDBOX_KEY=KEY)
    assert ended.returncode == 0, ended.stderr
    assert [row["status"] for row in manifest(tmp_path / "output" / "job")] == ["succeeded"]
    for name in ("BATCHGEN_NOTIFY_URL", "HTTP_PROXY", "ALL_PROXY"):
        assert f"{name} in .env is not used: set it in the environment" in ended.stderr
    assert "nowhere" not in ended.stderr
    assert account(other)["requests"].keys() == {"ledger"}


@pytest.mark.parametrize(
    "raw", ["AIMLAPI_KEY=sk\n".encode("utf-16-le"), b"# \xfc\nA=1\n", b"\xff\xfeA", b"A=\0\n"]
)
def test_no_verb_dies_of_a_file_in_another_encoding(
    batchgen: Batchgen, tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / ".env").write_bytes(raw)
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [a fox]\n")
    for option in ("--help", "--version"):
        ended = batchgen(option)
        assert (ended.returncode, ended.stderr) == (0, "")
    ended = batchgen("validate", "job.yaml")
    assert ended.returncode == 0
    assert ended.stderr.startswith("batchgen: .env ")
    assert len(ended.stderr.splitlines()) == 1


def test_the_key_of_a_file_that_notepad_or_powershell_wrote_is_found(
    batchgen: Batchgen, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(*FAST, "--key", KEY)
    (tmp_path / "job.yaml").write_text(HOSTED.replace("aimlapi", "{kind: aimlapi}"))
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / ".env").write_text(f"AIMLAPI_KEY={KEY}\n", encoding=encoding)
        ended = batchgen("run", "job.yaml", "--yes", "--base-url", url, "--output", encoding)
        assert ended.returncode == 0, ended.stderr


def test_every_verb_looks_where_the_file_says_that_the_run_is(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("BATCHGEN_OUTPUT=named-in-the-file\n")
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [a fox]\n")
    assert batchgen("run", "job.yaml").returncode == 0
    assert (tmp_path / "named-in-the-file" / "manifest.csv").exists()
    assert "named-in-the-file" in batchgen("status").stdout
    assert "named-in-the-file" in batchgen("gallery", "job.yaml").stdout
    assert "named-in-the-file" in batchgen("plan", "job.yaml").stdout


def test_a_value_of_the_file_that_is_refused_is_said_to_be_from_it(
    batchgen: Batchgen, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("BATCHGEN_CONCURRENCY=many\n")
    (tmp_path / "job.yaml").write_text("version: 1\nprompts: [a fox]\n")
    ended = batchgen("validate", "job.yaml")
    assert ended.returncode == 2
    assert "'many' is not a valid integer" in ended.stderr
    assert ended.stderr.endswith("This value is from .env.\n")
    assert "from .env" not in batchgen("validate", "job.yaml", BATCHGEN_CONCURRENCY="x").stderr
