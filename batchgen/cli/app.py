"""The command `batchgen`, and how any of its verbs ends."""

import sys
from typing import Final, NoReturn

from click.core import ParameterSource
from click.exceptions import Exit

from batchgen._version import __version__
from batchgen.cli.env_file import PATH, EnvFile, read_env_file
from batchgen.cli.look import Group, click
from batchgen.cli.streams import discard_unwritten, optional_output

ISSUE: Final = "this is a bug in batchgen; what is done so far is kept"
VERBS: Final = {
    "init": "Write a commented starter job to FILE (job.yaml where left out). Replaces nothing.",
    "validate": "Check JOB, offline; show every mistake at once.",
    "plan": "Say what `run` would do against what the run directory already holds.",
    "run": "Make the videos of JOB that are not made yet.",
    "status": "Say how RUN stands: counts and rates, while it runs or after.",
    "retry": "Run the failed tasks of RUN again, and only those.",
    "resolve": "Settle submits of RUN whose answer was lost.",
    "gallery": "Build the manifest and the page of RUN again.",
    "schema": "Print the JSON Schema of a job file, for editors.",
    "serve": "Serve the sandbox: the same API on this machine, with real clips.",
}
"""Each verb and the beginning of its help. It lives in the module of its name."""


class _Verbs(Group):
    """The verbs, each imported when it is called: the list of them needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the verbs in the order in which they are used."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a verb."""
        from importlib import import_module

        if cmd_name not in self.commands:
            return None
        verb: click.Command = getattr(import_module(f"batchgen.cli.{cmd_name}"), cmd_name)
        return verb

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; a reader that has seen enough ends it well. Click would exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            discard_unwritten()
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs for plain click; rich-click has a way of its own."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_Verbs,
    commands={name: click.Command(name, short_help=said) for name, said in VERBS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="batchgen")
@click.pass_obj
def batchgen(file: EnvFile) -> None:
    """Batches of text-to-video generations from a YAML file.

    Write down the videos you want, start the run in the evening, look at the page in the morning.
    Every video is paid for once; whatever was interrupted goes on with the same command.

    \b
    batchgen init --grid     write a starter job
    batchgen plan JOB        what it would make
    batchgen run JOB         make it
    """  # noqa: D301  # \b is the sign by which click keeps lines apart
    if file.complaint:
        click.echo(f"batchgen: {PATH} {file.complaint}", err=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    try:
        file = read_env_file()
        code = batchgen.main(
            arguments,
            prog_name="batchgen",
            standalone_mode=False,
            obj=file,
            default_map=dict.fromkeys(VERBS, file.options),
        )
    except Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        code = error.exit_code
        with optional_output():
            error.show()
            if _is_of_file(error):
                print(f"This value is from {PATH}.", file=sys.stderr)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last line of defence
        code, words = _told(error)
        with optional_output():
            print(words, end="", file=sys.stderr)
    discard_unwritten()
    sys.exit(code if isinstance(code, int) else 0)


def _is_of_file(error: click.ClickException) -> bool:
    """Tell whether the value that click refuses is from the .env."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return False
    source = error.ctx.get_parameter_source(error.param.name or "")
    return source is ParameterSource.DEFAULT_MAP


def _told(error: BaseException) -> tuple[int, str]:
    """Return the exit code of what ended a verb, and what is said of it, in whole lines."""
    # Only who fails pays for the import.
    from batchgen.errors import BatchgenError, ExitCode, JobFileError
    from batchgen.terminal import visible

    match error:
        case click.Abort():
            return ExitCode.INTERRUPTED, ""
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, "batchgen: interrupted\n"
        case BatchgenError():
            said = str(error)
            if not isinstance(error, JobFileError):  # which has drawn its own lines, tabs and all
                said = "\n".join(map(visible, said.split("\n")))
            return error.exit_code, f"batchgen: {said}\n"
        case OSError():
            said = f"batchgen: {error.filename or 'disk'}: {error.strerror or error}"
            return ExitCode.USAGE, f"{visible(said)}\n"
        case _:
            import traceback

            trace = "".join(traceback.format_exception(error))
            return ExitCode.BUG, f"{trace}batchgen: {ISSUE}\n"
