"""`batchgen serve`."""

from pathlib import Path
from typing import TYPE_CHECKING

from batchgen.cli.look import click

if TYPE_CHECKING:
    from batchgen.sandbox import FaultPlan, SandboxSettings


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--key",
    envvar="BATCHGEN_SANDBOX_KEY",
    help="Take this key only; else any key. A run finds it in BATCHGEN_SANDBOX_KEY.",
)
@click.option("--queue", default="0.5s", show_default=True, help="Mean time in the queue.")
@click.option("--generate", default="2s", show_default=True, help="Mean time of a generation.")
@click.option("--slots", default=0, help="How many generate at once; 0 for any number.")
@click.option("--max-in-flight", default=0, help="More than so many unfinished answer 429.")
@click.option("--rate-limit", metavar="RATE", help="Requests such as 5/s; more answer 429.")
@click.option("--balance", default=100.0, show_default=True, help="US dollars in the account.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps the account, so that a restart knows every generation.",
)
@click.option(
    "--faults",
    metavar="PLAN",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Fault plan, YAML or JSON: rehearse a bad night (docs/faults.md).",
)
def serve(
    *,
    host: str,
    port: int,
    key: str | None,
    queue: str,
    generate: str,
    slots: int,
    max_in_flight: int,
    rate_limit: str | None,
    balance: float,
    state: Path | None,
    faults: Path | None,
) -> None:
    """Serve the sandbox: the same API on this machine, with real clips.

    Point a job at it with `--base-url http://127.0.0.1:8765`, or in its file with
    `provider: {kind: sandbox, base_url: http://127.0.0.1:8765}`.
    """
    import anyio

    from batchgen.errors import UsageError
    from batchgen.jobfile import values
    from batchgen.sandbox import SandboxSettings, load_plan

    plan = None if faults is None else load_plan(faults)
    try:
        settings = SandboxSettings(
            host=host,
            port=port,
            key=key,
            queue_s=values.duration(queue),
            generate_s=values.duration(generate),
            slots=slots,
            max_in_flight=max_in_flight,
            requests_per_s=values.rate(rate_limit) if rate_limit else 0.0,
            balance_usd=balance,
            journal=state,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    anyio.run(_serve, settings, plan)


async def _serve(settings: "SandboxSettings", plan: "FaultPlan | None") -> None:
    import signal

    import anyio

    from batchgen.cli.signals import obeyed
    from batchgen.errors import UsageError
    from batchgen.sandbox import running

    try:
        async with running(settings, faults=plan) as sandbox:
            click.echo(f"sandbox at {sandbox.url} (Ctrl-C ends it)")
            with anyio.open_signal_receiver(*obeyed(signal.SIGINT, signal.SIGTERM)) as signals:
                async for _ in signals:
                    break
    except OSError as error:
        raise UsageError(f"cannot listen on {settings.host}:{settings.port}: {error}") from None
    click.echo(f"{sandbox.account.submits} submits taken")
