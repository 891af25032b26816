"""A night with a hostile API and hostile prompts, run once and looked at from every side."""

import asyncio
import hashlib
import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.security.hostile import KEY, TEXTS, hostile_api


@dataclass(frozen=True, slots=True)
class Night:
    """What the command left.

    Attributes:
        base: Everything that was there, the run directory in the midst of it.
        folder: The run directory.
        before: What lay in `base` before, by path: kind and hash.
        code: The exit code of `run`.
        screens: What each command wrote, by its name, both streams.
        file_requests: What came for a file: address and headers.
    """

    base: Path
    folder: Path
    before: dict[str, str]
    code: int
    screens: dict[str, bytes]
    file_requests: list[str]

    def rows(self) -> list[dict[str, Any]]:
        lines = (self.folder / "manifest.jsonl").read_bytes().split(b"\n")
        return [json.loads(line) for line in lines if line]

    def row(self, prompt: str, seed: int) -> dict[str, Any]:
        (found,) = (row for row in self.rows() if (row["prompt"], row["seed"]) == (prompt, seed))
        return found


def listing(base: Path, *, without: Path) -> dict[str, str]:
    """Describe every file below `base` but those in one directory."""
    found = {}
    for path in sorted(base.rglob("*")):
        if path == without or without in path.parents:
            continue
        kind = stat.S_IFMT(path.lstat().st_mode)
        content = path.read_bytes() if stat.S_ISREG(kind) else b""
        found[str(path.relative_to(base))] = f"{kind:o} {hashlib.sha256(content).hexdigest()}"
    return found


def written(prompt: str) -> str | dict[str, str]:
    """Write a text as a job file's prompt that means just this text.

    Spaces around a prompt do not count, those of a variable's value do.
    """
    if prompt != prompt.strip():
        return {"prompt": "${text}", "text": prompt}
    return prompt.replace("$", "$$")


async def _command(cwd: Path, *arguments: object) -> tuple[int, bytes]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BATCHGEN_", "AIML", "PYTEST"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "batchgen",
        *map(str, arguments),
        cwd=cwd,
        env={**kept, "AIMLAPI_KEY": KEY, "HOME": str(cwd), "TMPDIR": str(cwd)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    screen, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, screen


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Run the command against the API: every hostile text as a prompt, made, failed and refused."""
    base = tmp_path_factory.mktemp("night")
    cwd = base / "deep" / "down" / "here"
    folder = cwd / "output" / "night"
    folder.parent.mkdir(parents=True)
    (base / "treasure").write_text("mine")

    async def go() -> Night:
        async with hostile_api() as (url, api):
            job = {
                "name": "night",
                "provider": {"kind": "aimlapi", "base_url": url},
                "prompts": [written(text) for text in TEXTS.values()],
                "matrix": {"seed": [1, 2, 3, 4]},
                "defaults": {"negative_prompt": TEXTS["ansi"]},
                "output": {"name": "../${prompt}"},
                "run": {
                    "concurrency": 32,
                    "submits": 16,
                    "poll": {"first": "20ms", "every": "50ms"},
                    "retry": {"attempts": 1},
                    "stop_if_failures": "none",
                },
            }
            (cwd / "job.yaml").write_text(yaml.safe_dump(job, width=10**9))
            before = listing(base, without=folder)
            run = ("run", "job.yaml", "--display", "plain", "-v")
            code, screen = await _command(cwd, *run)
            screens = {"run": screen}
            for arguments in (
                ("status", folder),
                ("plan", "job.yaml"),
                ("plan", "--tasks", "job.yaml"),
                ("validate", "job.yaml"),
                ("gallery", folder),
                ("resolve", folder),
            ):
                ended, screens[" ".join(map(str, arguments[:-1]))] = await _command(cwd, *arguments)
                assert ended == 0, screens
            return Night(base, folder, before, code, screens, api.file_requests)

    return asyncio.run(go())
