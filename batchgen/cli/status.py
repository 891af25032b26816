"""`batchgen status`."""

from pathlib import Path
from typing import TYPE_CHECKING

from batchgen.cli.look import click
from batchgen.cli.options import output_in_environment, run_directory

if TYPE_CHECKING:
    from batchgen.report.status import RunStatus


@click.command
@click.argument("run", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(run: Path | None, *, as_json: bool) -> None:
    """Say how RUN stands: counts and rates, while it runs or after. The latest where left out."""
    import json
    from dataclasses import asdict

    from batchgen.report.status import see
    from batchgen.rundir import RunDirectory

    if run is not None:
        directory = RunDirectory(run_directory(run))
    else:
        directory = RunDirectory(output_in_environment() or _latest())
    seen = see(directory)
    found = seen.found
    if found is None:
        from batchgen.errors import RunDirectoryError

        if directory.is_run():
            raise RunDirectoryError(
                f"{directory.status} cannot be read; the next run writes it anew"
            )
        raise RunDirectoryError(f"{directory.path} is no run directory: no run has been here")
    if as_json:
        shown = {
            **asdict(found),
            "state": seen.state,
            "running": seen.held,
            "directory": str(directory.path),
            "per_minute": found.per_minute,
            "seconds_left": found.seconds_left if seen.held else None,
        }
        click.echo(json.dumps(shown))
    else:
        click.echo(_sentences(directory.path, found, seen.state))


def _latest() -> Path:
    """Return the run directory under output/ that was written to last.

    Raises:
        UsageError: There is none.
    """
    from batchgen.errors import UsageError

    stamps = list(Path("output").glob("*/.batchgen/status.json"))
    if not stamps:
        raise UsageError("there is no run under output/: name one, `batchgen status RUN`")
    return max(stamps, key=lambda path: path.stat().st_mtime).parent.parent


def _sentences(directory: Path, found: "RunStatus", state: str) -> str:
    from batchgen.deadline import in_words
    from batchgen.report.status import KILLED, RUNNING, STARTING
    from batchgen.terminal import duration, visible

    ended = found.state.replace("_", " ")
    if found.detail.startswith(ended):
        ended = found.detail
    elif found.detail:
        ended += f" ({found.detail})"
    words = {
        RUNNING: "is running",
        STARTING: "is in use by a run that starts, or by another command; "
        f"the run before it: {ended}",
        KILLED: "was killed, or could not write how it ended; the same command goes on with it",
    }
    lines = [f"{directory} {words.get(state, f'ended: {ended}')}"]
    width = max((len(name) for name in found.counts), default=0)
    lines += [f"  {name:<{width}}  {count:>7}" for name, count in sorted(found.counts.items())]
    lines.append(f"  {'tasks':<{width}}  {found.total:>7}")
    if found.cost_usd is not None:
        lines.append(f"  ${found.cost_usd:.2f} so far")
    if found.per_minute is not None:
        lines.append(f"  {found.per_minute:.1f} videos a minute, {duration(found.seconds)} so far")
    if state == RUNNING and found.seconds_left is not None:
        lines.append(f"  about {duration(found.seconds_left)} left")
    if state == RUNNING and found.ends_at is not None:
        lines.append(f"  nothing new is submitted after {in_words(found.ends_at)} (stop_at)")
    return "\n".join(map(visible, lines))
