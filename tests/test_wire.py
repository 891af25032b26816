"""Any answer a server can give becomes an outcome, and none of them raises."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.models import WAN_1_3B
from batchgen.outcomes import (
    MESSAGE_CHARACTERS,
    Accepted,
    Answered,
    Completed,
    GenerationFailed,
    Interrupted,
    NotSent,
    NoVideo,
    Pending,
    Unusable,
)
from batchgen.providers import wire

ID = "961fc4df-c678-433b-bb60-7ec2734c6ec1:wan/v2.1/1.3b/text-to-video"
URL = "https://cdn.example/x.mp4?Signature=abc"
STATUSES = st.integers(100, 599)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=20,
)
WORDS = ("id", "generation_id", "status", "video", "url", "error", "message", "detail", "meta")
MORE_WORDS = ("usage", "usd_spent", "data", "pagination", "has_more", "created", "name", "code")
LIKELY = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["completed", "error", "queued", URL, ID, "2026-08-01T00:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS + MORE_WORDS), inner, max_size=6)
    ),
    max_leaves=25,
)
BODIES = st.one_of(st.binary(max_size=300), JSON.map(json.dumps).map(str.encode))
BODIES |= LIKELY.map(json.dumps).map(str.encode)

NASTY = {
    "nothing": b"",
    "null": b"null",
    "NaN": b'{"status": NaN, "meta": {"usage": {"usd_spent": NaN}}, "id": NaN}',
    "infinite": b'{"status": "completed", "meta": {"usage": {"usd_spent": 1e999}}}',
    "a number of 10,000 digits": b'{"id": ' + b"9" * 10_000 + b"}",
    "arrays 100,000 deep": b"[" * 100_000,
    "objects 100,000 deep": b'{"id":' * 100_000,
    "an error 100,000 deep": b'{"error": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "5 MB": json.dumps({"message": "x" * 5_000_000}).encode(),
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"id": "x"}',
    "no UTF-8": b'{"message": "\xff\xfe"}',
    "half a surrogate": b'{"id": "\\ud800", "message": "\\udc00"}',
    "HTML": b"<!DOCTYPE html><h1>502 Bad Gateway</h1>",
    "cut": b'{"id": "961fc4df-c678',
}


def body(**content: Any) -> bytes:
    return json.dumps(content).encode()


def fetched(**content: Any) -> Any:
    return wire.read_fetch(200, {}, body(**content))


def test_the_first_model_has_a_path_of_its_own_and_every_other_shares_one() -> None:
    assert wire.path_for(WAN_1_3B) == "/v2/generate/video/alibaba/generation"
    assert wire.path_for("alibaba/wan2.1-t2v-turbo") == "/v2/video/generations"
    assert wire.path_for("a model of tomorrow") == "/v2/video/generations"


def test_every_sign_of_an_id_is_encoded_in_the_path_of_a_fetch() -> None:
    path = wire.fetch_path(WAN_1_3B, "a:b/c%2f?d&e=f#g\r\n ü")
    query = path.removeprefix("/v2/generate/video/alibaba/generation?generation_id=")
    assert query == "a%3Ab%2Fc%252f%3Fd%26e%3Df%23g%0D%0A%20%C3%BC"


@given(STATUSES, BODIES, st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
def test_any_answer_to_a_submit_is_an_outcome(
    status: int, content: bytes, headers: dict[str, str]
) -> None:
    outcome = wire.read_submit(status, headers, content)
    if 200 <= status < 300:
        assert isinstance(outcome, Accepted | Unusable)
    else:
        assert isinstance(outcome, Answered)
        assert outcome.message.isprintable()
        assert len(outcome.message) <= MESSAGE_CHARACTERS


@given(STATUSES, BODIES)
@example(200, b'{"status": "error", "error": "\\u001b"}')
def test_any_answer_to_a_fetch_is_an_outcome(status: int, content: bytes) -> None:
    outcome = wire.read_fetch(status, {}, content)
    if not 200 <= status < 300:
        assert isinstance(outcome, Answered)
    else:
        assert not isinstance(outcome, Answered | Interrupted | NotSent)
    if isinstance(outcome, GenerationFailed):
        assert outcome.code
        assert outcome.message
        assert outcome.message.isprintable()


@given(BODIES)
def test_any_page_of_the_log_and_any_price_list_is_read(content: bytes) -> None:
    page = wire.read_log(content)
    if page is not None:
        listed, more, oldest = page
        assert all(given is None or given for given in listed.values())
        assert isinstance(more, bool)
        assert oldest is None or isinstance(oldest, float)
    price = wire.read_price(content, WAN_1_3B)
    assert price is None or 0 <= price < 1e6


@pytest.mark.parametrize("kind", NASTY)
def test_a_nasty_body_is_an_outcome_in_every_place(kind: str) -> None:
    content = NASTY[kind]
    assert isinstance(wire.read_submit(200, {}, content), Accepted | Unusable)
    assert not isinstance(wire.read_fetch(200, {}, content), Completed)
    answered = wire.read_submit(500, {}, content)
    assert isinstance(answered, Answered)
    assert answered.message.isprintable()
    assert len(answered.message) <= MESSAGE_CHARACTERS
    page = wire.read_log(content)
    assert page is None or not any(page[0].values())
    assert wire.read_price(content, WAN_1_3B) is None


@pytest.mark.parametrize("depth", [10, 300, 600, 800, 900, 940, 960, 980, 1_000, 1_100])
def test_a_body_as_deep_as_can_just_be_parsed_is_an_outcome(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for content in (
        b'{"status": "error", "error": ' + deep + b"}",
        b'{"status": "error", "error": {"detail": ' + deep + b"}}",
        b'{"id": ' + deep + b', "video": ' + deep + b', "status": "completed"}',
        b'{"pricing": {"kind": "fixed", "units": {"per": ' + deep + b', "price": 1}}}',
        b'{"pricing": {"kind": "fixed", "currency": ' + deep + b"}}",
    ):
        wire.read_fetch(200, {}, content)
        wire.read_submit(400, {}, content)
        wire.read_submit(200, {}, content)
        wire.read_price(content, WAN_1_3B)


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("name", ["id", "generation_id"])
def test_a_submit_is_accepted_under_either_name_of_the_id(status: int, name: str) -> None:
    assert wire.read_submit(status, {}, body(**{name: ID, "status": "queued"})) == Accepted(ID)


@pytest.mark.parametrize("content", [b"", b'{"id": "961f', b"<html>", b"[]", body(id=None)])
def test_the_head_s_id_serves_where_the_body_has_none(content: bytes) -> None:
    assert wire.read_submit(200, {"x-inference-id": ID}, content) == Accepted(ID)


@pytest.mark.parametrize("bare", [ID, ID.partition(":")[0]])
def test_an_answer_that_names_the_generation_once_with_its_model_and_once_without_is_believed(
    bare: str,
) -> None:
    assert wire.read_submit(201, {"x-inference-id": bare}, body(id=ID)) == Accepted(ID)
    assert wire.read_fetch(200, {}, body(id=bare, status="queued"), generation_id=ID) == Pending(
        "queued", queued=True
    )


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"x-inference-id": "another"}, body(id=ID)),
        ({}, body(id=ID, generation_id="another")),
    ],
)
def test_an_answer_to_a_submit_that_names_two_generations_is_not_believed(
    headers: dict[str, str], content: bytes
) -> None:
    assert isinstance(wire.read_submit(201, headers, content), Unusable)


@pytest.mark.parametrize("name", ["id", "generation_id"])
@pytest.mark.parametrize("status", ["queued", "error", "completed"])
def test_an_answer_about_another_generation_is_not_an_answer_about_this_one(
    name: str, status: str
) -> None:
    other = ID.replace("9", "8", 1)
    content = body(**{name: other, "status": status, "video": {"url": "https://h/x.mp4"}})
    outcome = wire.read_fetch(200, {}, content, generation_id=ID)
    assert outcome == Unusable(f"an answer about another generation, {other}")


@pytest.mark.parametrize("strange", [None, 7, "", "x" * 10_000, ["x"]])
def test_a_fetch_whose_answer_names_no_generation_is_about_the_one_that_was_asked_for(
    strange: object,
) -> None:
    outcome = wire.read_fetch(200, {}, body(id=strange, status="queued"), generation_id=ID)
    assert outcome == Pending("queued", queued=True)


@pytest.mark.parametrize(
    "unusable",
    [
        "",
        " ",
        " x",
        "x\n",
        "x\r\nSet-Cookie: a",
        "x\0y",
        "\ud800",
        "x" * 10_000,
        7,
        None,
        ["x"],
        {},
    ],
)
def test_an_id_that_cannot_be_one_is_not_accepted(unusable: object) -> None:
    assert isinstance(wire.read_submit(200, {}, body(id=unusable)), Unusable)


def test_a_refusal_carries_the_server_s_words_and_its_wait() -> None:
    content = body(message="Too many\x1b[31m requests\r\n", statusCode="429", path="/v2")
    assert wire.read_submit(429, {"retry-after": "7"}, content) == Answered(
        429, "Too many [31m requests", 7.0
    )


OWN_ERROR = {
    "message": "Overloaded.",
    "path": "/v2/video/generations",
    "requestId": "7b0c",
    "statusCode": 503,
    "timestamp": "2026-11-28T03:00:00Z",
}


@pytest.mark.parametrize("status", [503, "503"])
def test_a_refusal_in_the_api_s_own_form_is_told_from_a_proxy_s(status: object) -> None:
    said = wire.read_submit(503, {}, body(**{**OWN_ERROR, "statusCode": status}))
    assert said == Answered(503, "Overloaded.", from_api=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no healthy upstream",
        b"<html><title>503 Service Temporarily Unavailable</title></html>",
        b"[]",
        body(message="Service Unavailable"),
        body(message="Too many requests", statusCode=503),
        body(**{**OWN_ERROR, "statusCode": 502}),
        body(**{**OWN_ERROR, "requestId": None}),
        *(
            body(**{key: OWN_ERROR[key] for key in OWN_ERROR if key != name})
            for name in ("message", "path", "requestId", "statusCode")
        ),
    ],
)
def test_no_other_body_of_an_error_is_the_api_s_own(content: bytes) -> None:
    for said in (
        wire.read_submit(503, {"retry-after": "5"}, content),
        wire.read_fetch(503, {"retry-after": "5"}, content),
    ):
        assert isinstance(said, Answered)
        assert said.retry_after == 5.0
        assert not said.from_api


@pytest.mark.parametrize(
    "content",
    [
        {"message": "no credits"},
        {"error": {"message": "no credits"}},
        {"error": "no credits"},
        {"detail": [{"loc": ["body"], "msg": "no credits"}]},
        {"detail": "no credits"},
        {"message": ["no credits", "more"]},
        {"error": {"detail": [{"message": "no credits"}]}},
        {"message": "\x1b", "error": {"msg": "no credits"}},
    ],
)
def test_the_words_of_a_refusal_are_found_wherever_servers_put_them(
    content: dict[str, object],
) -> None:
    assert wire.answered(403, {}, body(**content)).message == "no credits"


def test_a_plain_text_is_quoted_and_a_page_for_people_is_not() -> None:
    assert wire.answered(502, {}, b"upstream gone\n").message == "upstream gone"
    assert wire.answered(502, {}, b"\n<html>Bad Gateway</html>").message == ""


@pytest.mark.parametrize("word", sorted(wire.PENDING_WORDS))
def test_a_known_pending_status_is_pending_in_any_case(word: str) -> None:
    assert fetched(id=ID, status=f" {word.upper()} ") == Pending(
        word, queued=word in wire.QUEUE_WORDS
    )


@given(st.text(max_size=80))
def test_an_unknown_status_is_still_pending(word: str) -> None:
    outcome = wire.read_fetch(200, {}, body(id=ID, status=word))
    known = wire.DONE_WORDS | wire.FAILED_WORDS.keys() | wire.PENDING_WORDS
    if "_".join(word.lower().replace("-", " ").split()) not in known:
        assert isinstance(outcome, Pending)
        assert not outcome.known
        assert len(outcome.status) <= 50
        assert outcome.status.isprintable()


@pytest.mark.parametrize("status", [None, 3, True, [], {"a": 1}, 1.5])
def test_a_status_that_is_no_word_is_still_pending(status: object) -> None:
    assert fetched(id=ID, status=status) == Pending("", known=False)


def test_a_missing_status_is_still_pending() -> None:
    assert fetched(id=ID, progress=0.5, brand_new={"field": 1}) == Pending("", known=False)


def test_further_videos_of_an_answer_are_taken_with_the_first_each_once() -> None:
    other, third = f"{URL}&n=2", f"{URL}&n=3"
    listed = [
        {"url": URL, "file_size": 5},
        {"url": other, "file_size": 6},
        {"url": URL, "file_size": 7},
        {"url": "/relative.mp4"},
        {},
        None,
        {"url": third},
    ]
    whole = Completed(URL, size=5, more=(other, third))
    assert fetched(status="completed", video=listed) == whole
    # The first that can be used is the task's own.
    assert fetched(status="completed", video=listed[3:4] + listed[:3]) == replace(
        whole, more=(other,)
    )


@pytest.mark.parametrize("size", [None, 0, -5, "5", 5.5, True, [], {}, float("nan")])
def test_a_size_that_is_none_is_not_announced(size: object) -> None:
    assert fetched(status="completed", video={"url": URL, "file_size": size}) == Completed(URL)


@pytest.mark.parametrize("word", ["in-progress", "IN PROGRESS", "In_Progress"])
def test_a_status_of_two_words_is_known_however_they_are_joined(word: str) -> None:
    assert fetched(id=ID, status=word) == Pending(word.lower())


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("cancelled", "cancelled"),
        ("CANCELED", "cancelled"),
        ("rejected", "rejected"),
        ("Expired", "expired"),
        ("aborted", "aborted"),
        ("failed", "generation_failed"),
    ],
)
def test_a_generation_that_ended_without_a_video_has_failed_under_the_word_for_it(
    word: str, code: str
) -> None:
    reason = "the provider gave no reason"
    assert fetched(status=word) == GenerationFailed(code, reason)
    assert fetched(status=word, error="too old") == GenerationFailed(code, "too old")
    own = {"name": "Policy Violation", "message": "no"}
    assert fetched(status=word, error=own) == GenerationFailed("policy_violation", "no")


@pytest.mark.parametrize(
    "word",
    ["completed", "COMPLETED", "Succeeded", " complete\n", "done", "Success", "finished"],
)
@pytest.mark.parametrize("many", [False, True])
def test_a_done_status_gives_the_video_s_address(word: str, *, many: bool) -> None:
    video = {"url": URL, "file_size": 5}
    assert fetched(status=word, video=[video, {}] if many else video) == Completed(URL, size=5)


@pytest.mark.parametrize(
    "video",
    [None, [], {}, "", "x", [None], {"url": None}, {"url": ""}, {"url": 7}, {"url": "/x.mp4"}]
    + [
        {"url": url}
        for url in (
            "file:///etc/passwd",
            "data:video/mp4;base64,AAAA",
            "ftp://host/x",
            "https://",
            "https://[bad/x",
            "https://host/x\r\nA: b",
            "https://host/\ud800",
            "https://host/" + "x" * 10_000,
            "javascript:alert(1)",
        )
    ],
)
def test_a_completed_generation_without_a_usable_address_has_no_video(video: object) -> None:
    assert isinstance(fetched(status="completed", video=video), NoVideo)


@pytest.mark.parametrize(
    ("spent", "cost"),
    [
        (0.06, 0.06),
        ("0.06", 0.06),
        (0, None),
        (-1, None),
        (True, None),
        ("x", None),
        (1e9, None),
        (float("nan"), None),
        (float("inf"), None),
        (None, None),
        ([], None),
        ("nan", None),
    ],
)
def test_the_cost_is_what_was_booked_and_nothing_where_nothing_is_yet(
    spent: object, cost: float | None
) -> None:
    outcome = fetched(status="completed", video={"url": URL}, meta={"usage": {"usd_spent": spent}})
    assert outcome == Completed(URL, cost)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"name": "Content Policy!", "message": "no"}, GenerationFailed("content_policy", "no")),
        ({"detail": [{"msg": "bad seed"}]}, GenerationFailed("generation_failed", "bad seed")),
        ("out of memory", GenerationFailed("generation_failed", "out of memory")),
        (None, GenerationFailed("generation_failed", "the provider gave no reason")),
        ({}, GenerationFailed("generation_failed", "the provider gave no reason")),
        ({"name": "***"}, GenerationFailed("generation_failed", "the provider gave no reason")),
        ("\x1b\r", GenerationFailed("generation_failed", "the provider gave no reason")),
        ({"message": "a\x1b[2J\nb"}, GenerationFailed("generation_failed", "a [2J b")),
    ],
)
def test_a_failed_generation_says_why_in_one_visible_line(
    error: object, failure: GenerationFailed
) -> None:
    assert fetched(status="Failed", error=error) == failure
    assert fetched(status="error", error=error) == failure


def test_a_fetch_with_a_body_that_is_no_object_is_unusable_and_not_final() -> None:
    for content in (b"", b"[]", b"{}", b"7", b"<html>", b'{"status": "comp'):
        assert isinstance(wire.read_fetch(200, {}, content), Unusable)


def log_row(client: object, inference: object, created: object = None) -> dict[str, object]:
    return {"client_request_id": client, "inference_id": inference, "created": created}


def test_a_page_of_the_log_gives_ids_more_pages_and_the_time_of_its_oldest_row() -> None:
    content = body(
        data=[
            log_row("a", "id-a", "2026-08-01T00:00:10Z"),
            "no row",
            log_row(None, "id-x"),
            log_row("b", None),
            log_row("c", "x\n"),
            log_row("a", "id-older", "2026-08-01T00:00:00+00:00"),
            log_row("d", "id-d", "yesterday"),
        ],
        pagination={"has_more": True},
    )
    listed = {"a": "id-a", "b": None, "c": None, "d": "id-d"}
    assert wire.read_log(content) == (listed, True, 1_785_542_400.0)


def test_a_row_with_an_id_counts_before_one_of_the_same_submit_without() -> None:
    for rows in ([None, "id-a"], ["id-a", None]):
        content = body(data=[log_row("a", given) for given in rows])
        assert wire.read_log(content) == ({"a": "id-a"}, False, None)


def test_an_empty_page_of_the_log_is_the_last_one_whatever_it_says() -> None:
    assert wire.read_log(body(data=[], pagination={"has_more": True})) == ({}, False, None)


def pricing(**more: object) -> dict[str, object]:
    return {"id": WAN_1_3B, "pricing": {"kind": "fixed", "currency": "USD", **more}}


@pytest.mark.parametrize("per", ["video", "Generation", "request", "1", 1, "unit"])
def test_a_fixed_price_a_video_is_read_from_a_list_or_from_one_entry(per: object) -> None:
    entry = pricing(units=[{"price": "0.06", "per": per}])
    assert wire.read_price(body(data=[{"id": "other"}, entry]), WAN_1_3B) == 0.06
    assert wire.read_price(body(**entry), WAN_1_3B) == 0.06
    assert wire.read_price(body(**pricing(units={"price": 0.06, "per": per})), WAN_1_3B) == 0.06


@pytest.mark.parametrize(
    "entry",
    [
        pricing(units=[{"price": 0.06, "per": "second"}]),
        pricing(units=[{"price": 0.06, "per": "video"}, {"price": 1, "per": "video"}]),
        pricing(units=[{"price": -1, "per": "video"}]),
        pricing(units=[{"price": None, "per": "video"}]),
        pricing(units=[{"price": 0.06, "per": "video"}], currency="EUR"),
        pricing(units=[{"price": 0.06, "per": "video"}], kind="variable"),
        pricing(),
        {"id": "another", "pricing": {"kind": "fixed", "units": {"price": 1, "per": "video"}}},
    ],
)
def test_any_other_price_is_no_price(entry: dict[str, object]) -> None:
    assert wire.read_price(body(data=[entry]), WAN_1_3B) is None
