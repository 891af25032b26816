"""The benchmarks in their small size: they run, and the server they stand on keeps true books."""

import json
import shutil
import sys
import urllib.error
import urllib.request
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip("uvloop", reason="the benchmarks need the extra `bench`")

from benchmarks.__main__ import NAMES, page, sections
from benchmarks.account import Account, Terms
from benchmarks.dialects import PATH
from benchmarks.server import serving


def asked(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
        return json.load(answer)


def test_the_server_counts_what_is_paid_for_twice() -> None:
    with serving(Terms(pending=1)) as server:
        prompts = ("a fox", "a tram", "a fox")
        ids = [asked(f"{server.url}{PATH}", {"prompt": prompt})["id"] for prompt in prompts]
        place = f"{server.url}{PATH}?generation_id={ids[0]}"
        assert [asked(place)["status"] for _ in range(2)] == ["generating", "completed"]
        counts = server.counts()
    assert (counts["submits"], counts["duplicates"], counts["polls"]) == (3, 1, 2)


def test_the_server_refuses_what_is_over_its_cap() -> None:
    with serving(Terms(service=60.0, cap=1)) as server:
        asked(f"{server.url}{PATH}", {"prompt": "a fox"})
        with pytest.raises(urllib.error.HTTPError, match="429"):
            asked(f"{server.url}{PATH}", {"prompt": "a tram"})
        assert server.counts()["refusals"] == 1


def test_a_place_under_the_cap_is_free_again_once_a_generation_is_done() -> None:
    account = Account(Terms(service=2.0, cap=1))
    taken = [account.submit(str(now), "", now) is not None for now in (0.0, 1.9, 2.0)]
    assert taken == [True, False, True]


def test_a_fifth_of_the_answers_is_lost_and_the_same_ones_each_time() -> None:
    first, second = (
        [account.loses_this() for _ in range(1_000)]
        for account in (Account(Terms(lost=0.2)), Account(Terms(lost=0.2)))
    )
    assert first == second
    assert 150 < sum(first) < 250


def test_a_lost_answer_is_a_submit_that_was_taken() -> None:
    with serving(Terms(lost=1.0)) as server:
        with pytest.raises(OSError, match=r"reset|closed"):
            asked(f"{server.url}{PATH}", {"prompt": "a fox"})
        assert server.counts()["submits"] == 1


def test_a_benchmark_that_ran_again_replaces_its_own_part_of_the_page_and_no_other() -> None:
    first = {name: f"## {name}\n\n| a |" for name in NAMES}
    assert sections(page(first)) == first
    again = sections(page(sections(page(first)) | {"slots": "## anew"}))
    assert again == first | {"slots": "## anew"}
    assert sections("") == {}


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are measured as Linux tells of them")
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_in_its_small_size(name: str) -> None:
    if name == "downloads" and shutil.which("nginx") is None:
        pytest.skip("nginx is not here")
    quick = True
    for table in import_module(f"benchmarks.{name}").tables(quick):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
