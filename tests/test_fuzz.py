"""Whatever is read from outside, broken in a hundred thousand ways, is a value or our own error.

Servers' answers, videos, people's files and our own files after a crash: mutated from sound ones by
a seeded generator, so that a failure can be had again by its number.
"""

import json
import random
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from batchgen import names
from batchgen.errors import JobFileError, RunDirectoryError
from batchgen.expansion import expand
from batchgen.headers import content_range, retry_after, strong_etag
from batchgen.job import Job, Output, Prompt
from batchgen.jobfile import Overrides
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.source import Source, decode
from batchgen.ledger.rescue import ROOM, Rescue
from batchgen.models import WAN_1_3B, Scalar
from batchgen.mp4 import NotAVideo, VideoInfo, inspect
from batchgen.outcomes import (
    MESSAGE_CHARACTERS,
    Accepted,
    Answered,
    Completed,
    GenerationFailed,
    NoVideo,
    Pending,
    Unusable,
)
from batchgen.providers import wire
from batchgen.report.status import read_status
from batchgen.rundir import RunDirectory
from batchgen.sandbox import journal
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.savedjob import save_job, saved_job
from batchgen.task import Task

REPO: Final = Path(__file__).parent.parent
FEW: Final = 400
MANY: Final = 100_000

Attempt = Callable[[bytes], None]
"""Reads an input; raises where anything but a value or our own error comes of it."""


@dataclass(frozen=True)
class Target:
    """Something that reads.

    Attributes:
        seeds: Sound inputs, or nearly so.
        words: What its format is made of, to be put anywhere.
        open: Given a directory, returns what reads one input.
    """

    seeds: Sequence[bytes]
    words: Sequence[bytes]
    open: Callable[[Path], Attempt]


def mutated(rng: random.Random, target: Target) -> bytes:
    """Break a sound input in one to eight places."""
    data = bytearray(rng.choice(target.seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 64)))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.choice((1, 2, 50))
            case 3 | 4:
                data[at:at] = rng.choice(target.words)
            case 5:
                data[at:end] = rng.choice(target.words)
            case 6:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8)))
            case _:
                other = rng.choice(target.seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)


def words(text: str) -> list[bytes]:
    """Return the words of a text."""
    return text.encode().split()


# Answers of servers.

JSON_WORDS: Final = [
    *words("null true false NaN Infinity -Infinity 1e999 -1 0 1 999999999999999999999 0.06"),
    *words('"" "completed" "error" "queued" "\\ud800" "\\u0000" [] {} [{}] [[]] , : { } [ ]'),
    *words('"id": "generation_id": "status": "video": "url": "error": "message": "detail":'),
    *words('"meta": "usage": "usd_spent": "data": "pagination": "has_more": "created":'),
    *words('"client_request_id": "inference_id": "pricing": "kind": "units": "price": "per":'),
    *words('"https://h/x.mp4" "http://[" "file:///etc" "//h" "2026-08-01T00:00:00Z" "fixed"'),
    b'"' + b"x" * 9_000 + b'"',
    b"[" * 2_000,
    b'{"id":' * 2_000,
    b"9" * 5_000,
    b"\xff\xfe",
    b"\xef\xbb\xbf",
]
ANSWERS: Final = [
    json.dumps(answer).encode()
    for answer in (
        {"id": "961fc4df:wan", "status": "queued"},
        {"generation_id": "x", "meta": {"usage": {"usd_spent": 0.06}}},
        {"id": "x", "status": "completed", "video": {"url": "https://h/x.mp4?sig=1"}},
        {"status": "completed", "video": [{"url": "https://h/x.mp4"}], "error": None},
        {"status": "error", "error": {"name": "ModerationError", "message": "no", "code": 4}},
        {"status": "failed", "error": {"detail": [{"msg": "too long", "loc": ["body"]}]}},
        {"message": "Body validation error!", "statusCode": "400", "path": "/v2", "requestId": "r"},
        {"error": {"message": ["one", {"msg": "two"}], "type": "x"}},
        {
            "data": [
                {
                    "client_request_id": "task.1",
                    "inference_id": "id:1",
                    "created": "2026-08-01T00:00:00Z",
                },
                {"client_request_id": None, "created": 5},
            ],
            "pagination": {"has_more": True, "limit": 100, "offset": 0},
        },
        {
            "data": [
                {
                    "id": WAN_1_3B,
                    "pricing": {
                        "kind": "fixed",
                        "currency": "USD",
                        "units": [{"price": "0.06", "per": "video"}],
                    },
                }
            ]
        },
    )
]


def _visible(text: str) -> None:
    assert text.isprintable()
    assert len(text) <= MESSAGE_CHARACTERS


def _answer(body: bytes) -> None:
    match submitted := wire.read_submit(201, {}, body):
        case Accepted(generation_id=taken):
            assert wire.usable_id(taken)
            wire.fetch_path(WAN_1_3B, taken).encode("ascii")
        case _:
            assert isinstance(submitted, Unusable)
    match fetched := wire.read_fetch(200, {}, body):
        case Completed(url=url, cost_usd=cost):
            assert url.split(":")[0].lower() in ("http", "https")
            assert url.isprintable()
            assert cost is None or 0 < cost < 1e6
        case GenerationFailed(code=code, message=message):
            _visible(message)
            assert code.replace("_", "").isalnum()
        case Pending(status=word):
            _visible(word)
        case _:
            assert isinstance(fetched, NoVideo | Unusable)
    for refused in (wire.read_submit(400, {}, body), wire.read_fetch(503, {}, body)):
        assert isinstance(refused, Answered)
        _visible(refused.message)
    page = wire.read_log(body)
    if page is not None:
        listed, more, oldest = page
        assert all(given is None or wire.usable_id(given) for given in listed.values())
        assert isinstance(more, bool)
        assert oldest is None or isinstance(oldest, float)
    price = wire.read_price(body, WAN_1_3B)
    assert price is None or 0 <= price < 1e6


HEADERS: Final = [
    b"120",
    b"Fri, 31 Dec 2027 23:59:59 GMT",
    b"Friday, 31-Dec-27 23:59:59 GMT",
    b"31 Dec 2027 23:59:59 -0130",
    b"bytes 0-1023/146515",
    b"bytes 500-999/*",
    b'"33a64df5"',
    b'W/"33a64df5"',
]
HEADER_WORDS: Final = [
    *words('- / * bytes " W/ 99999999999999999999 -1 0 GMT UTC EST +9999 -2400 Dec Feb 30'),
    *words("½ ٣ \uff10 ² "),
    b"\r\n",
    b"\0",
    b" ",
    b"9" * 400,
]


def _header(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    seconds = retry_after({"retry-after": text, "date": text, "age": text})
    assert seconds is None or 0 <= seconds < 1e13
    span = content_range(text)
    assert span is None or (span[0] >= 0 and (span[1] is None or span[1] > span[0]))
    etag = strong_etag(text)
    # It is sent back: it must fit into one line of a head.
    assert etag is None or (etag.isascii() and etag.isprintable() and len(etag) <= 300)


# Videos.


@cache
def clip() -> bytes:
    return render(ClipRequest("fuzz", width=160, height=96))


def _boxes_of(data: bytes) -> bytes:
    """Return a clip without its pictures: what is left is structure, and breaks the easier."""
    at, kept = 0, []
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        kept.append(data[at : at + size] if kind != b"mdat" else struct.pack(">I4s", 8, b"mdat"))
        at += size
    return b"".join(kept)


BOX_KINDS: Final = (
    b"ftyp styp moov mdat trak mdia minf stbl stts hdlr tkhd mdhd free vide soun".split()
)


def _random_box(rng: random.Random, depth: int = 0) -> bytes:
    """Return a box of boxes whose sizes and kinds are sometimes lies."""
    inner = b"".join(_random_box(rng, depth + 1) for _ in range(rng.randrange(4 - min(depth, 3))))
    inner = inner or rng.randbytes(rng.choice((0, 4, 8, 12, 24, 32, 84, 100)))
    size = 8 + len(inner) + rng.choice((0, 0, 0, 0, 0, 0, 1, -1, 8, -8, 1 << 20))
    match rng.randrange(12):
        case 0:
            size = rng.choice((0, 1, 7, 0xFFFFFFFF))
        case 1:
            return (
                struct.pack(
                    ">I4sQ",
                    1,
                    rng.choice(BOX_KINDS),
                    rng.choice((16 + len(inner), 0, 15, (1 << 64) - 1)),
                )
                + inner
            )
    return struct.pack(">I4s", max(0, size) & 0xFFFFFFFF, rng.choice(BOX_KINDS)) + inner


def _video(folder: Path) -> Attempt:
    file = folder / "clip.mp4"

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        with suppress(NotAVideo):
            info = inspect(file)
            assert isinstance(info, VideoInfo)
            for number in (info.width, info.height, info.fps, info.duration_s):
                assert number is None or 0 <= number < float("inf")

    return attempt


# What people write.

JOBS: Final = [
    *(path.read_bytes() for path in sorted((REPO / "jobs").glob("*.yaml"))),
    (
        b'version: 1\nprompts: ["${animal} of ${material}"]\nmatrix: {animal: [an owl, a fox]}\n'
        b"zip: {material: [paper, clay], shift: [3, 8]}\nrepeat: 2\n"
    ),
    (
        b"version: 1\ndefaults: {aspect_ratio: 16:9, inference_steps: 30}\nprompts:\n  - A tram\n"
        b"  - {id: portrait, prompt: A dancer, aspect_ratio: 9:16, seed: 7}\nmatrix: {seed: 1-3}\n"
    ),
    (
        b"version: 1\nprompts: [a]\nexclude: [{guidance_scale: 9, sampler: dpm+}]\n"
        b"include: [{seed: 42, guidance_scale: 12}, {prompt: b, seed: 3}]\nmatrix:\n"
        b"  guidance_scale: 3-9 (+2)\n  sampler: [unipc, dpm+]\n  seed: {random: 2, per: prompt}\n"
    ),
    (
        b"name: x\nprovider: {kind: aimlapi, base_url: https://h, api_key_env: K, model: m}\n"
        b"prompts: &p [a, b]\nrun: {concurrency: 8, rate_limit: 60/min, order: shuffled,\n"
        b"  poll: {first: auto, max: 30s}, retry: {attempts: 3, backoff: 1s-60s}, stop_at: 9:30\n"
        b"  , timeout: {request: 30s, generation: 30m}, on_ambiguous: hold, give_up_after: 12h,\n"
        b"  stop_if_failures: 10 in a row}\nbudget: {max_tasks: none, max_usd: 5}\n"
        b"output: {dir: 'output/${job}', name: '${index}_${slug}'}\n"
    ),
]
JOB_WORDS: Final = [
    *words("version: 1 prompts: matrix: zip: exclude: include: defaults: repeat: provider: run:"),
    *words(
        "output: budget: notify: poll: timeout: seed prompt id file: random: per: *p &p <<: !!int"
    ),
    *words(
        "[ ] { } : - ? | > ' \" # % @ ` , ${x} $$ ${ } 1-3 16:9 no 010 0x1F 1e999 .nan .inf ~ null"
    ),
    *words("-1 99999999999999999999 1-99999999999 3-9 [4] (+0) (+1e-300) 1s-0s 5/s 0/min 25:99"),
    b"\n",
    b"\n  - ",
    b"\n\t",
    b": ",
    b" #",
    b"--- ",
    b"\n...\n",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b'"\\ud83e\\udd8a"',
    b"\\ud83e\\udd8a",
    "\ue000\ue001".encode(),
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\0",
    b"\x1b[2J",
    "狐 🦊 ".encode(),
    b"[" * 300,
    b"{a: " * 300,
    b"- " * 300,
]


TABLES: Final = [
    b'prompt,seed,aspect_ratio,id\nA fox,7,16:9,one\n"An owl, at dusk",,9:16,\n',
    b'\xef\xbb\xbfid, prompt, sampler\r\n1, "a ""${animal}""",dpm+\r\n, "two\r\nlines",\r\n,,\r\n',
    b"prompt\nA fox\n",
]
TABLE_WORDS: Final = [
    *words(', ,, " "" ; prompt seed id key api_key animal material sampler 007 1e3 1-4 16:9 TRUE'),
    *words("-1 nan null 99999999999999999999 ${animal} ${} $$ # unipc enable_safety_checker"),
    b"\n",
    b"\r",
    b"\t",
    b'","',
    b'"\n"',
    b"\0",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\x1b[2J",
    b"x" * 140_000,
    b"," * 300,
]
RECORDS: Final = [
    b'{"prompt": "A fox", "seed": 7}\n"An owl"\n\n{"id": "x", "prompt": "${animal}", "shift": 3}\n',
    b'{"prompt": "A \\ud83e\\udd8a", "enable_safety_checker": false}\r\n{"prompt":"b","animal":1}',
]
LISTS: Final = [
    b"- A fox\n- {prompt: An owl, seed: 7, id: one}\n- '${animal} at dusk'\n- |\n  two\n  lines\n",
    b"- &p {prompt: a, shift: 3}\n- {prompt: b, <<: *p}\n- prompt: c\n  sampler: unipc\n",
]


def _mistakes(error: JobFileError, *files: str) -> None:
    """See to it that every mistake says what is wrong and where."""
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert problem.place.file in files
        assert problem.place.line >= 0
        assert str(problem).startswith(files)


def _job(folder: Path) -> Attempt:
    path = folder / "job.yaml"
    (folder / "prompts.txt").write_text("a\nb\n")
    (folder / "overnight-prompts.txt").write_text("a\nb\n")

    def attempt(text: bytes) -> None:
        try:
            job = parse_job(decode("job.yaml", text), path, Overrides())
        except JobFileError as error:
            _mistakes(error, "job.yaml")
            return
        for task in islice(expand(job), 5):
            assert json.loads(task.body)["prompt"] == task.prompt
            _one_segment(names.stem(job.output.name, task, job.name))

    return attempt


def _prompt_file(ending: str) -> Callable[[Path], Attempt]:
    def opened(folder: Path) -> Attempt:
        path = folder / f"prompts{ending}"
        job = folder / "job.yaml"
        written = Source("job.yaml", f"prompts: {{file: {path.name}}}\ndefaults: {{animal: a fox}}")

        def attempt(text: bytes) -> None:
            path.write_bytes(text)
            try:
                prompts = parse_job(written, job, Overrides()).prompts
            except JobFileError as error:
                _mistakes(error, "job.yaml", str(path))
                return
            assert prompts
            for prompt in prompts:
                assert prompt.template.strip()
                prompt.template.encode("utf-8")
                assert all(isinstance(value, str | int | float) for value in prompt.own.values())

        return attempt

    return opened


def _one_segment(name: str) -> None:
    assert name
    assert not {"/", "\\", "\0", "\n", ":"} & set(name)
    assert name not in (".", "..")
    assert not name.startswith(".")
    assert len(name.encode()) <= names.STEM_BYTES


def _name(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    short = names.slug(text)
    _one_segment(short)
    assert len(short.encode()) <= names.SLUG_BYTES
    plain = names.safe(text)
    if plain:
        _one_segment(plain)
        assert names.safe(plain) == plain
    half = len(text) // 2
    params: dict[str, Scalar] = {"model": "m", "prompt": text[:half], "seed": 7}
    _one_segment(names.stem(text[half:], Task("abcdefghijkl", 3, params, text), text))


# Our own files, damaged.


def _journal(data: bytes) -> None:
    try:
        reading = journal.read(data)
    except ValueError:
        return
    assert 0 <= reading.length <= len(data)
    for generation in reading.generations:
        assert isinstance(generation.generation_id, str)


JOURNAL: Final = b"".join(
    json.dumps(line, separators=(",", ":")).encode() + b"\n"
    for line in (
        {"kind": "account", "version": 1, "secret": "ab" * 32},
        *(
            {
                "kind": "generation",
                "generation_id": f"id:{number}",
                "client_request_id": None,
                "model": "m",
                "body": {"prompt": "a"},
                "created": 1.0,
                "started": 2,
                "finished": 3.5,
                "price": 120000,
            }
            for number in range(2)
        ),
    )
)


def _rescue(folder: Path) -> Attempt:
    path = folder / "rescued-ids"

    def attempt(data: bytes) -> None:
        path.write_bytes(data[:ROOM])
        rescue = Rescue(path)
        rescue.close()
        for task_id, generation_id in rescue.found:
            # They go into the ledger.
            (task_id + generation_id).encode("utf-8")

    return attempt


def _saved_job(folder: Path) -> Attempt:
    directory = RunDirectory(folder)
    directory.create()
    directory.ledger.touch()

    def attempt(data: bytes) -> None:
        directory.settings.write_bytes(data)
        with suppress(RunDirectoryError):
            job = saved_job(directory)
            assert job.output.dir == folder
            assert job.prompts == ()

    return attempt


@cache
def _settings_as_saved() -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        directory.create()
        save_job(directory, Job("j", (Prompt("a"),), Output(Path("out")), defaults={"seed": 1}))
        return directory.settings.read_bytes()


def _status(folder: Path) -> Attempt:
    directory = RunDirectory(folder)
    directory.create()

    def attempt(data: bytes) -> None:
        directory.status.write_bytes(data)
        status = read_status(directory)
        if status is not None:
            # What people are shown of it; damaged numbers make odd ones, but numbers.
            assert isinstance(status.per_minute, float | None)
            assert isinstance(status.seconds_left, float | None)
            assert all(isinstance(count, int) for count in status.counts.values())
            assert isinstance(status.detail + status.state, str)

    return attempt


STATUS: Final = json.dumps(
    {
        "state": "running",
        "counts": {"succeeded": 5, "pending": 7},
        "total": 12,
        "started_at": 1.8e9,
        "updated_at": 1.8e9,
        "seconds": 60.0,
        "done_before": 2,
        "cost_usd": 0.3,
        "detail": "",
        "pid": 4711,
    }
).encode()
OWN_WORDS: Final = [
    *JSON_WORDS,
    *words('"state": "counts": "total": "seconds": "done_before": "succeeded": "run": "prompts":'),
    *words('"matrix": "values": "kind": "version": "secret": "price": ["a","b"] "ab" 5'),
    b"\n",
    b"\0" * 30,
]
TEXTS: Final = [
    b"A red fox trots through fresh snow, slow dolly-in",
    "狐が雪の中を走る 🦊 ${index}_${slug}_s${seed}".encode(),
    b"../../etc/passwd\r\nCON.txt",
    "é̂ สวัสดี हिन्दी ﬁ Ⅳ".encode(),
    b"# a comment\n\nA tram: at dusk\r\nB\rC\n",
]
TEXT_WORDS: Final = [
    *words(".. / \\ : * ? < > | NUL con lpt1 ${x} ${ } $$ . - _ =cmd|' @"),
    *words("\ufdfd \u337f \u0130 \xdf \u0301 \xad \u202e \u3000 \U000103ff \xb2 \xb9"),
    b"\0",
    b"\n",
    b"\xed\xa0\x80",
    b"\xff",
    b"x" * 500,
]


def _always(attempt: Attempt) -> Callable[[Path], Attempt]:
    return lambda _: attempt


TARGETS: Final[dict[str, Target]] = {
    "an answer": Target(ANSWERS, JSON_WORDS, _always(_answer)),
    "a header": Target(HEADERS, HEADER_WORDS, _always(_header)),
    "a job file": Target(JOBS, JOB_WORDS, _job),
    "a .txt of prompts": Target(TEXTS, TEXT_WORDS, _prompt_file(".txt")),
    "a .csv of prompts": Target(TABLES, TABLE_WORDS, _prompt_file(".csv")),
    "a .jsonl of prompts": Target(RECORDS, [*JSON_WORDS, *TABLE_WORDS], _prompt_file(".jsonl")),
    "a .yaml of prompts": Target(LISTS, [*JOB_WORDS, *TABLE_WORDS], _prompt_file(".yaml")),
    "a name": Target(TEXTS, TEXT_WORDS, _always(_name)),
    "a sandbox's journal": Target([JOURNAL, JOURNAL[:30]], OWN_WORDS, _always(_journal)),
    "rescued ids": Target(
        [b'["task1","id:1"]\n\n["task2","id:2"]\n' + b" " * 200, b" " * 100],
        OWN_WORDS,
        _rescue,
    ),
    "a status": Target([STATUS], OWN_WORDS, _status),
}


def later_targets() -> dict[str, Target]:
    """Return the targets whose seeds have to be made first."""
    return {
        "a video": Target(
            [clip(), *[_boxes_of(clip())] * 3],
            [*BOX_KINDS, *(struct.pack(">I", size) for size in (0, 1, 7, 8, 16, 2**31, 2**32 - 1))],
            _video,
        ),
        "a saved job": Target([_settings_as_saved()], OWN_WORDS, _saved_job),
    }


NAMES: Final = [*TARGETS, "a video", "a saved job"]


def fuzz(name: str, folder: Path, count: int) -> None:
    target = TARGETS.get(name) or later_targets()[name]
    attempt = target.open(folder)
    for seed in target.seeds:
        attempt(seed)
    for number in range(count):
        data = mutated(random.Random(f"{name} {number}"), target)
        try:
            attempt(data)
        except Exception as error:
            error.add_note(f"{name}, input {number}: {data[:2000]!r}")
            raise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory in memory where there is one: half a million files are written."""
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_broken_a_little_is_read_or_refused(name: str, folder: Path) -> None:
    fuzz(name, folder, FEW)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_thousand_broken_inputs_are_read_or_refused(name: str, folder: Path) -> None:
    fuzz(name, folder, MANY)


def fuzz_boxes(folder: Path, count: int) -> None:
    attempt = _video(folder)
    for number in range(count):
        rng = random.Random(number)
        head = struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\2\0"
        attempt(head + b"".join(_random_box(rng) for _ in range(rng.randrange(1, 5))))


def test_boxes_in_boxes_of_any_shape_are_a_video_or_none(folder: Path) -> None:
    fuzz_boxes(folder, FEW)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_hundred_thousand_trees_of_boxes_are_a_video_or_none(folder: Path) -> None:
    fuzz_boxes(folder, MANY)
