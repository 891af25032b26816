"""The environment that a run sees: the process's, and what the .env of the directory may add.

Whoever wrote the .env of a directory need not be whoever runs batchgen there. So a key of the
process's environment goes to no address, and pays at no provider, that only the file names.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from batchgen.cli.env_file import EnvFile
from batchgen.cli.look import click
from batchgen.errors import ProviderRefused
from batchgen.job import Job, ProviderSettings
from batchgen.providers.base import BASE_URLS
from batchgen.providers.opening import key_names
from batchgen.terminal import visible

NOT_FROM_A_FILE: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What decides by which way requests go, and whom they trust."""


class Combined(NamedTuple):
    """What a run sees of its environment.

    Attributes:
        variables: The process's environment, and what the file adds to it.
        own_key: The variable of the process's environment that holds the key in use; None where
            there is none.
        unused: Variables of the file that would have an effect in the process's environment.
    """

    variables: Mapping[str, str]
    own_key: str | None
    unused: tuple[str, ...]


def combine(job: Job, process: Mapping[str, str], file: Mapping[str, str]) -> Combined:
    """Take from the file the key, where the process has none, and the address to notify. Pure.

    The address to notify is taken only where no key of the process's environment is in use: a file
    without the key may be a stranger's.
    """
    names = key_names(job.provider)
    own_key = next((name for name in names if process.get(name, "").strip()), None)
    notify = job.notify.url_env
    wanted = (*names, notify) if own_key is None else ()
    added = {name: file[name] for name in wanted if name in file and not process.get(name)}
    unused = [name for name in NOT_FROM_A_FILE if name in file and name not in process]
    if own_key is not None and notify in file and not process.get(notify):
        unused.append(notify)
    return Combined({**process, **added}, own_key, tuple(unused))


def environment_of(job: Job, without_file: ProviderSettings, file: EnvFile) -> Mapping[str, str]:
    """Return the environment that a run of a job sees.

    Args:
        job: The job as it is to run.
        without_file: Its provider as it would be without the file.
        file: The .env.

    Raises:
        ProviderRefused: The file sends a key of the process's environment elsewhere, and there is
            no terminal to ask at.
        click.Abort: Whoever was asked does not want that.
    """
    combined = combine(job, os.environ, file.values)
    for name in combined.unused:
        click.echo(f"batchgen: {name} in .env is not used: set it in the environment", err=True)
    if combined.own_key is not None and (said := _redirected(job.provider, without_file, file)):
        _agree(f"{said}, but the key in {combined.own_key} is not from that file")
    return combined.variables


def _redirected(provider: ProviderSettings, without_file: ProviderSettings, file: EnvFile) -> str:
    """Say where the file sends a key; empty where nowhere else than it would go anyway."""
    address = _address(provider)
    same_key = provider.api_key_env == without_file.api_key_env
    if provider.kind != without_file.kind:
        named = f"BATCHGEN_PROVIDER in .env asks for {provider.kind} at {address}"
    elif address == _address(without_file) and same_key:
        return ""
    elif "BATCHGEN_BASE_URL" in file.values:
        named = f"BATCHGEN_BASE_URL in .env sends requests to {address}"
    else:
        named = f"BATCHGEN_OUTPUT in .env names a run of {provider.kind} at {address}"
    return "" if address is None else named


def _address(provider: ProviderSettings) -> str | None:
    """Return where a provider is; None for the sandbox inside a run."""
    return provider.base_url or BASE_URLS.get(provider.kind)


def _agree(said: str) -> None:
    if not sys.stdin.isatty():
        raise ProviderRefused(
            f"{said}, and is not sent there: put it into the same .env, or name the provider and "
            "its address on the command line or in the environment"
        )
    click.confirm(f"{visible(said)}. Send it there?", default=False, abort=True, err=True)
