"""Which provider a job means, and with which key."""

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from batchgen.errors import ProviderRefused
from batchgen.job import Job, ProviderSettings
from batchgen.models import TABLES, Table
from batchgen.providers.aimlapi import Secret, connect
from batchgen.providers.base import BASE_URLS, Provider
from batchgen.rundir import RunDirectory
from batchgen.urls import base_url_objection

KEY_NAMES: Final = {
    "aimlapi": ("AIMLAPI_KEY", "AIML_API_KEY"),
    "sandbox": ("BATCHGEN_SANDBOX_KEY",),
}
"""Where keys are looked for when the job names no place: the documentation's, the client's."""
REHEARSAL_USD: Final = 1e6
"""A run's own sandbox bills, so that sums are seen, but no rehearsal ends for lack of credits."""


@asynccontextmanager
async def open_provider(
    job: Job,
    directory: RunDirectory,
    environment: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Provider]:
    """Open the job's provider and close it at the end.

    The kind `sandbox` without a base URL starts a server in this process; it keeps its account in
    the run directory, so that a run that was killed finds its generations again.

    Raises:
        ProviderRefused: There is no key, or it cannot be one, or the address is not one to send it
            to.
        UsageError: The sandbox's extra `media` is not installed.
    """
    settings = job.provider
    async with AsyncExitStack() as stack:
        if settings.in_process:
            # Only who needs the sandbox pays for importing it.
            from batchgen.sandbox import SandboxSettings, running  # noqa: PLC0415

            key = Secret(secrets.token_hex(16))
            sandbox = await stack.enter_async_context(
                running(
                    SandboxSettings(
                        key=key.value,
                        journal=directory.sandbox_journal,
                        balance_usd=REHEARSAL_USD,
                        tables=_tables(job),
                    )
                )
            )
            base_url = sandbox.url
        else:
            key = find_key(settings, environment)
            base_url = settings.base_url or BASE_URLS[settings.kind]
            # A job file's was checked when it was read; this may be a program's.
            if objection := base_url_objection(base_url):
                raise ProviderRefused(objection)
        yield await stack.enter_async_context(
            connect(base_url, key, settings.model, job.run.timeout, now)
        )


def described(settings: ProviderSettings, base_url: str) -> str:
    """Say in a line whom a run talks to.

    Args:
        settings: The job's provider.
        base_url: Root of its API, once it is open.
    """
    if settings.in_process:
        return f"sandbox, inside this run at {base_url}: no key is used and nothing is paid"
    return f"{settings.kind} at {base_url}"


def _tables(job: Job) -> Mapping[str, Table]:
    """Return the models' tables as the job sees them: what it declares is taken in a rehearsal."""
    own = job.parameters
    return TABLES if own is None else {**TABLES, job.provider.model: own}


def key_names(settings: ProviderSettings) -> tuple[str, ...]:
    """Return the environment variables a provider's key is looked for in, in order."""
    return (settings.api_key_env,) if settings.api_key_env else KEY_NAMES[settings.kind]


def key_hint(settings: ProviderSettings) -> str:
    """Say, as the end of a sentence, where the key is read from."""
    return f"; it is read from {' or '.join(key_names(settings))}"


def find_key(settings: ProviderSettings, environment: Mapping[str, str]) -> Secret:
    """Take the key out of the environment.

    Raises:
        ProviderRefused: There is none, or it holds what no key holds. The text names the variable
            and never the key.
    """
    names = key_names(settings)
    for name in names:
        key = environment.get(name, "").strip()
        if not key:
            continue
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ProviderRefused(
                f"the key in {name} holds a space or a sign that no key has: copy it again"
            )
        return Secret(key)
    if settings.kind == "sandbox":
        return Secret("sandbox")
    raise ProviderRefused(
        f"no key: set {' or '.join(names)} (`export {names[0]}=...`, or a line in .env); "
        "to rehearse without one: --provider sandbox"
    )
