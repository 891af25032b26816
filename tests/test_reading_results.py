"""docs/reading-results.md: every block reads a run directory as the page says."""

import asyncio
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from batchgen.jobfile import Overrides
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.source import Source
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.sandbox.generations import SandboxSettings
from batchgen.sandbox.server import running
from batchgen.session import run_job

PAGE = Path(__file__).parents[1] / "docs" / "reading-results.md"
RUN = "output/fox-grid"
BLOCKS: dict[str, str] = dict(
    re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
)
STANDARD = ("csv", "json")
READERS = [name for name in BLOCKS if name not in STANDARD]
PROMPTS = {"007": "A train at dusk, 2 cars", "0008": "=1+1 and many 'foxes'\nin snow"}
JOB = """
version: 1
provider: {{kind: aimlapi, base_url: "{url}"}}
prompts:
  - {{id: "007", prompt: "A train at dusk, ${{n}} cars", n: 2}}
  - {{id: "0008", prompt: "=1+1 and ${{n}} 'foxes'\\nin snow", n: many, negative_prompt: "-blurry"}}
matrix: {{seed: 1-{seeds}, guidance_scale: [5, 5.5]}}
run: {{concurrency: 64, submits: 16, rate_limit: none, poll: {{first: 0.1s, every: 0.2s}}}}
"""
AS_JSON = """
if hasattr(rows, "to_pandas") and hasattr(rows, "fetchall"):  # DuckDB
    rows = [dict(zip(rows.columns, row)) for row in rows.fetchall()]
elif hasattr(rows, "to_dicts"):  # polars
    rows = rows.to_dicts()
elif hasattr(rows, "remove_columns"):  # datasets
    rows = rows.remove_columns("video").to_list()
elif hasattr(rows, "to_dict"):  # pandas
    rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
import json
print(json.dumps(rows, default=str))
"""


async def _made(folder: Path, seeds: int) -> None:
    settings = SandboxSettings(queue_s=0.0, generate_s=0.0)
    clip = render(ClipRequest("a test", width=160, height=96))
    async with running(settings, render=lambda _: clip) as sandbox:
        text = JOB.format(url=sandbox.url, seeds=seeds)
        path = folder / "fox-grid.yaml"
        summary = await run_job(
            parse_job(Source(path.name, text), path, Overrides(output=folder / RUN))
        )
    assert sum(summary.counts.values()) == 4 * seeds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run directory of 8 videos."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIMLAPI_KEY", "sk-test")
        asyncio.run(_made(folder, 2))
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of 240 videos: in the first 120 rows there is no negative prompt."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIMLAPI_KEY", "sk-test")
        asyncio.run(_made(folder, 60))
    return folder


def read(code: str, folder: Path) -> list[dict[str, Any]]:
    """Run a block of the page in a folder; return the rows it has read."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code + AS_JSON],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def check(rows: list[dict[str, Any]], *, seeds: int, texts_only: bool = False) -> None:
    assert len(rows) == 4 * seeds
    assert {row["prompt_id"]: row["prompt"] for row in rows} == PROMPTS
    assert {row["var_n"] for row in rows} == {"2", "many"}
    numbers = [row["guidance_scale"] for row in rows]
    assert set(numbers) == ({"5.0", "5.5"} if texts_only else {5.0, 5.5})
    assert len({type(number) for number in numbers}) == 1


def test_the_page_has_a_block_for_each_reader_and_is_linked() -> None:
    assert set(BLOCKS) == {
        *STANDARD,
        "datasets",
        "datasets-large",
        "duckdb",
        "pandas",
        "pandas-csv",
        "polars",
    }
    assert "docs/reading-results.md" in (PAGE.parents[1] / "README.md").read_text("utf-8")


@pytest.mark.parametrize("block", STANDARD)
def test_a_block_of_the_standard_library_reads_every_row_to_the_letter(
    small: Path, block: str
) -> None:
    rows = read(BLOCKS[block], small)
    check(rows, seeds=2, texts_only=block == "csv")
    assert {row["negative_prompt"] or None for row in rows} == {None, "-blurry"}


@pytest.mark.nightly
@pytest.mark.parametrize("block", READERS)
def test_a_block_reads_every_row_to_the_letter(large: Path, block: str) -> None:
    for module in re.findall(r"^import (\w+)$", BLOCKS[block], re.MULTILINE):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: it comes with the extra `readers`")
    rows = read(BLOCKS[block], large)
    check(rows, seeds=60)
    negative = {row["negative_prompt"] for row in rows}
    assert negative == {None, "'-blurry" if block == "pandas-csv" else "-blurry"}


@pytest.mark.nightly
def test_videofolder_reads_one_split_without_the_card(large: Path) -> None:
    if find_spec("datasets") is None:
        pytest.skip("datasets is not installed: it comes with the extra `readers`")
    call = 'load_dataset("videofolder", data_dir="output/fox-grid", split="train")'
    check(read(f"import datasets\nrows = datasets.{call}\n", large), seeds=60)
