"""`batchgen retry`."""

from pathlib import Path

from batchgen.cli.look import click
from batchgen.cli.options import run_argument, run_to_go_on
from batchgen.cli.run import display_option, quiet_option, verbose_option


@click.command
@run_argument
@click.option(
    "--only",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Only tasks that ended so: an error code such as moderation, a status (failed, timed_out) "
    "or a phase (submit, generation, fetch, download). Several with commas, or given again.",
)
@click.option(
    "--new-seed",
    is_flag=True,
    help="Submit them with another seed, as tasks of their own; the failed ones stay in the "
    "manifest and name their replacement.",
)
@display_option
@quiet_option
@verbose_option
def retry(
    run: Path, *, reasons: tuple[str, ...], new_seed: bool, display: str, quiet: bool, verbose: bool
) -> int:
    """Run the failed tasks of RUN again, and only those.

    Failed generations are submitted anew. What is paid for already, a generation that took too long
    or a video that could not be fetched, is asked for by its id; one whose id the provider has
    forgotten is submitted anew, and may then be paid for twice.
    """
    from batchgen.again import Again
    from batchgen.cli.driving import drive
    from batchgen.display import Kind

    named = tuple(
        reason for text in reasons for word in text.split(",") if (reason := word.strip())
    )
    job, environment = run_to_go_on(run)
    return drive(
        job,
        environment=environment,
        display=Kind.NONE if quiet else Kind(display),
        verbose=verbose,
        again=Again(named, alone=True, new_seed=new_seed),
    )
