"""Few file descriptors: a run keeps within them, raises its limit where it may, and says so."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.descriptors import AtOnce, narrowed, raise_limit
from batchgen.job import Job, Output, Prompt, ProviderSettings, RunSettings

counts = st.integers(1, 2000)


@given(
    wanted=st.builds(AtOnce, counts, counts, counts),
    free=st.integers(-10, 20_000),
    sockets=st.sampled_from([1, 2]),
)
@example(wanted=AtOnce(50, 200, 200), free=24, sockets=1)
def test_what_is_made_at_once_fits_or_is_one_of_each_kind(
    wanted: AtOnce, free: int, sockets: int
) -> None:
    fitted = wanted.fitted(free, sockets)
    least = AtOnce(1, 1, 1).cost(sockets)
    assert fitted.cost(sockets) <= max(free, 0) + least
    assert 1 <= fitted.submits <= wanted.submits
    assert 1 <= fitted.polls <= wanted.polls
    assert 1 <= fitted.downloads <= wanted.downloads
    if wanted.cost(sockets) <= free:
        assert fitted == wanted


def job(folder: Path, *, concurrency: int = 8, downloads: int = 4) -> Job:
    run = RunSettings(concurrency=concurrency, downloads=downloads)
    return Job("few", (Prompt("a fox"),), Output(folder), run=run, provider=_AWAY)


_AWAY = ProviderSettings(kind="aimlapi")


@contextmanager
def limited(soft: int) -> Iterator[int]:
    """Lower this process's own limit for a while; yield how far it may be raised again."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_usual_settings_narrow_nothing_and_leave_the_limit_as_it_is(tmp_path: Path) -> None:
    with limited(256):
        raise_limit(job(tmp_path))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256
        assert narrowed(job(tmp_path)) is None


def test_a_limit_that_is_too_low_narrows_the_settings_and_is_raised_where_it_may_be(
    tmp_path: Path,
) -> None:
    many = job(tmp_path, concurrency=100, downloads=100)
    with limited(256) as most:
        found = narrowed(many)
        assert found is not None
        fitted, said = found
        assert fitted.downloads < 100
        assert "256 files and sockets" in said
        assert f"{fitted.downloads} downloads at once instead of" in said
        if most != resource.RLIM_INFINITY and most < 1000:
            pytest.skip("the limit of this machine cannot be raised")
        raise_limit(many)
        assert narrowed(many) is None


def test_a_run_with_64_descriptors_makes_everything(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "version: 1\nprompts: [a fox]\nmatrix: {seed: 1-24}\n"
        "run: {concurrency: 200, submits: 50, downloads: 200, poll: {first: 0.2s, every: 0.2s}}\n"
    )

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    run = subprocess.run(
        [sys.executable, "-m", "batchgen", "run", str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=few,
    )
    assert run.returncode == os.EX_OK, run.stderr
    assert "64 files and sockets" in run.stderr
    assert "Too many open files" not in run.stderr
    assert len(list(tmp_path.rglob("*.mp4"))) == 24
