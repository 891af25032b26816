"""A video's download: fetched, checked, recorded, named, in this order; never made again."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from batchgen.events import Level
from batchgen.ledger.tables import Record, file_name
from batchgen.mp4 import VideoInfo, inspect
from batchgen.naming import NameRefused
from batchgen.outcomes import Completed, Interrupted, Trouble, describe
from batchgen.part import Part
from batchgen.policy import Action, Phase, decide
from batchgen.run.completion import completion
from batchgen.run.means import Generation, Means
from batchgen.rundir import sync_directory
from batchgen.task import Cause, Status
from batchgen.transfer import Saved, hash_file
from batchgen.urls import host_of

FRESH_URLS: Final = 3
"""How often in a row an address may be refused that was given just before."""
YOUNG_SECONDS: Final = 60.0
"""An address refused later has expired while it was waited for a place or for its host."""
MOST_FRESH_URLS: Final = 20
"""How often an address may be asked for anew in all."""
MOST_MORE_VIDEOS: Final = 9
"""Further videos of one generation that are fetched."""
STUCK_TRIES: Final = 10
"""How often a host may begin to send a file and break off before anything new has come."""


async def download(means: Means, record: Record, generation: Generation, video: Completed) -> None:
    """Fetch a video's file until it is whole and under its name, or cannot be had.

    Cancelling it leaves the task completed; the next run fetches it by its id.
    """
    part = Part(_part_path(means, record, generation))
    began = means.clock.monotonic()
    given = began
    faults = refused = fresh = stuck = best = tries = 0
    host = _wait_at(means, record, video)
    while True:
        try:
            result = await _fetch(means, record, video.url, host, part)
            if isinstance(result, Saved):
                _compare_sizes(means, record, result, video)
                # First these: until the task's own video has its name, a run asks for all of them.
                await _fetch_more(means, record, generation, video)
                await _keep(means, record, part, result, means.clock.monotonic() - began)
                means.traffic.first_wave.arrived(record.task_id, host)
                return
        except (NameRefused, IsADirectoryError) as error:
            # Neither waiting nor another download helps: somebody must look.
            await _give_up(means, record, part, f"{record.file_name}: {error.strerror}")
            return
        except OSError as error:
            means.disk_trouble(error)
            means.check_outage()
            continue
        action = decide(Phase.DOWNLOAD, result)
        if action is Action.FRESH_URL:
            refused = refused + 1 if means.clock.monotonic() < given + YOUNG_SECONDS else 0
            fresh += 1
            if refused <= FRESH_URLS and fresh <= MOST_FRESH_URLS:
                again = await _fresh_address(means, record, generation)
                if again is None:
                    return
                video, given = again, means.clock.monotonic()
                host = _wait_at(means, record, video)
                continue
        if action in (Action.WAIT, Action.PAUSE):
            means.host_trouble(host, result, tries)
        else:
            faults += action is not Action.RETRY
            # A host that is there, and whose bytes never get further, will not mend by itself.
            stuck += isinstance(result, Interrupted) and result.begun and part.received <= best
            best = max(best, part.received)
            most = means.settings.retry.attempts if action is Action.RETRY_COUNTED else 1
            if faults >= most or stuck >= STUCK_TRIES:
                await _give_up(means, record, part, describe(result))
                return
            means.tally.say_sometimes(f"download: {describe(result)}; trying again")
            await means.clock.sleep(means.backoff(tries, result))
        means.check_outage()
        tries += 1
        if tries >= means.settings.retry.attempts:
            means.tally.troubled.add(record.task_id)
        await means.traffic.repeat(Phase.DOWNLOAD, host)


def _compare_sizes(means: Means, record: Record, saved: Saved, video: Completed) -> None:
    """Warn of a video that is whole by its structure, but not of the size that was announced."""
    for who, announced in (("its host", saved.announced), ("the provider", video.size)):
        if announced not in (None, saved.size):
            means.tally.say_sometimes(
                f"{record.file_name} has {saved.size} bytes, and {who} announced {announced}: "
                "its structure is whole, so it is kept",
                about=f"size announced by {who}",
            )


def _wait_at(means: Means, record: Record, video: Completed) -> str:
    """Note, and return, the host that a file is waited for at."""
    host = host_of(video.url)
    means.traffic.first_wave.waits(record.task_id, host)
    return host


async def _fetch(means: Means, record: Record, url: str, host: str, part: Part) -> Saved | Trouble:
    """Hold one of the places for downloads only while bytes may flow; judge the host by them."""
    fetched_before = part.durable
    when_closed = partial(means.tally.troubled.add, record.task_id)
    async with means.traffic.download(host, when_closed):
        result = await means.transfer.fetch(url, part)
    if not isinstance(result, Saved):
        means.heard(Phase.DOWNLOAD, result, host)
    elif not fetched_before:
        # A file that was here and only waits for its name says nothing of the host.
        means.tally.good()
        means.heard(Phase.DOWNLOAD, None, host)
    return result


async def _fetch_more(
    means: Means, record: Record, generation: Generation, video: Completed
) -> None:
    """Fetch the further videos that a generation made; what cannot be had is said, and left.

    Raises:
        OSError: The disk is full or fails.
    """
    kept: list[tuple[str, int, str]] = []
    for number, url in enumerate(video.more[:MOST_MORE_VIDEOS], start=2):
        part = Part(_part_path(means, record, generation, number))
        result = await _fetch_further(means, record, url, part)
        if isinstance(result, Saved):
            problem = await _name_further(means, record, part, result, number, kept)
        else:
            problem = describe(result)
            with suppress(OSError):
                await anyio.to_thread.run_sync(partial(part.path.unlink, missing_ok=True))
        if problem:
            means.tally.say(
                f"video {number} of task {record.task_id}, which made {len(video.more) + 1}, "
                f"is not kept: {problem}",
                Level.WARNING,
            )
    if len(video.more) > MOST_MORE_VIDEOS:
        means.tally.say(
            f"task {record.task_id} made {len(video.more) + 1} videos; only the first "
            f"{MOST_MORE_VIDEOS + 1} are fetched",
            Level.WARNING,
        )


async def _fetch_further(means: Means, record: Record, url: str, part: Part) -> Saved | Trouble:
    """Fetch one, with so many tries as the job allows."""
    host = host_of(url)
    tries = 0
    while True:
        result = await _fetch(means, record, url, host, part)
        tries += 1
        if isinstance(result, Saved) or tries >= means.settings.retry.attempts:
            return result
        match decide(Phase.DOWNLOAD, result):
            case Action.FRESH_URL | Action.FAIL:
                return result
            case Action.WAIT | Action.PAUSE:
                means.host_trouble(host, result, tries)
            case _:
                await means.clock.sleep(means.backoff(tries, result))
        await means.traffic.repeat(Phase.DOWNLOAD, host)


async def _name_further(
    means: Means,
    record: Record,
    part: Part,
    saved: Saved,
    number: int,
    kept: list[tuple[str, int, str]],
) -> str:
    """Record a further video and give it its name; return why it cannot have one."""
    problem = ""
    for stem in (f"{record.stem}_{number}", f"{record.stem}_{number}_{record.task_id}"):
        videos = [*kept, (stem, saved.size, saved.sha256)]
        problem = f"another video is called {stem}"
        if await means.ledger.verified_beside(record.task_id, videos, stem):
            final = means.ledger.directory.path / file_name(stem)
            try:
                await means.transfer.finish(part.path, final, saved.sha256)
            except (FileExistsError, IsADirectoryError) as error:
                problem = f"{final.name}: {error.strerror}"
            else:
                kept.append(videos[-1])
                return ""
    await means.ledger.verified_beside(record.task_id, kept, "")
    return problem


async def adopt_file(means: Means, record: Record) -> bool:
    """Take a file that got its name just before a crash, if it is the one that was recorded."""
    path = means.ledger.directory.path / record.file_name
    try:
        found = await anyio.to_thread.run_sync(hash_file, path)
        if found is None or found != record.sha256:
            return False
        info = await anyio.to_thread.run_sync(inspect, path)
        # The crash may have come before the name was durable.
        await anyio.to_thread.run_sync(sync_directory, path.parent)
    except OSError as error:
        means.tally.say_sometimes(f"cannot read {path}: {error.strerror}; fetching it again")
        return False
    await _succeed(means, record, None, info)
    means.traffic.first_wave.arrived(record.task_id, host_of(record.video_url or ""))
    return True


def _part_path(means: Means, record: Record, generation: Generation, number: int = 1) -> Path:
    """Name a part after task and generation: a part of another one is never gone on with."""
    name = hashlib.sha256(generation.id.encode()).hexdigest()[:16]
    which = f"-{number}" if number > 1 else ""
    return means.ledger.directory.parts / f"{record.task_id}-{name}{which}.part"


async def _keep(means: Means, record: Record, part: Part, saved: Saved, seconds: float) -> None:
    """Record a checked file, give it its name, record that.

    After a crash between the last two the next run finds the file by its hash. Another file that
    has the name stays: the task gets another name.
    """
    await means.ledger.verified(record.task_id, size=saved.size, sha256=saved.sha256)
    named = False
    while not named:
        final = means.ledger.directory.path / record.file_name
        try:
            await means.transfer.finish(part.path, final, saved.sha256)
            named = True
        except FileExistsError:
            record = await means.ledger.renamed(record.task_id)
            means.tally.say(
                f"{final.name} is another file, which stays; the video of task {record.task_id} "
                f"is {record.file_name}",
                Level.WARNING,
            )
    await _succeed(means, record, seconds, saved.info)


async def _succeed(means: Means, record: Record, seconds: float | None, info: VideoInfo) -> None:
    await means.ledger.succeeded(
        record.task_id,
        at=means.clock.now(),
        download_s=round(seconds, 3) if seconds is not None else None,
        width=info.width,
        height=info.height,
        fps=info.fps,
        duration_s=info.duration_s,
    )
    means.tally.moved(record, Status.COMPLETED, Status.SUCCEEDED)


async def _fresh_address(means: Means, record: Record, generation: Generation) -> Completed | None:
    """Ask for a new address of a video whose own has expired."""
    await means.ledger.expired(record.task_id)
    means.tally.moved(record, Status.COMPLETED, Status.IN_FLIGHT)
    # It is known to be done: no time to be learned, and none to wait.
    return await completion(means, record, replace(generation, resumed=True))


async def _give_up(means: Means, record: Record, part: Part, said: str) -> None:
    """Fail the download, not the generation: the next run fetches it by its id."""
    with suppress(OSError):
        # What is of no use must not take the room of others for the rest of the night.
        await anyio.to_thread.run_sync(partial(part.path.unlink, missing_ok=True))
    await means.ledger.failed(
        record.task_id, Cause.DOWNLOAD, "download_failed", said, at=means.clock.now()
    )
    means.failed(record, Status.COMPLETED, said, free=False)
