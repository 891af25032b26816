"""The command `batchgen`, and how any of its verbs ends."""

import os
import sys
import traceback
from typing import Final, NoReturn

import rich_click as click
from click.exceptions import Exit

from batchgen._version import __version__
from batchgen.cli import gallery, init, plan, resolve, retry, run, schema, serve, status, validate
from batchgen.errors import BatchgenError, ExitCode, JobFileError
from batchgen.terminal import visible

ISSUE: Final = "this is a bug in batchgen; what is done so far is kept"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="batchgen")
def batchgen() -> None:
    """Batches of text-to-video generations from a YAML file.

    Write down the videos you want, start the run in the evening, look at the page in the morning.
    Every video is paid for once; whatever was interrupted goes on with the same command.

    \b
    batchgen init --grid     write a starter job
    batchgen plan JOB        what it would make
    batchgen run JOB         make it
    """  # noqa: D301  # click looks for the sign, not for its escape


for command in (
    init.init,
    validate.validate,
    plan.plan,
    run.run,
    status.status,
    retry.retry,
    resolve.resolve,
    gallery.gallery,
    serve.serve,
    schema.schema,
):
    batchgen.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    try:
        _read_dotenv()
        code = batchgen.main(arguments, prog_name="batchgen", standalone_mode=False)
    except Exit as end:
        code = end.exit_code
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BatchgenError as error:
        said = str(error)
        if not isinstance(error, JobFileError):  # which has drawn its own lines, tabs and all
            said = "\n".join(map(visible, said.split("\n")))
        print(f"batchgen: {said}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        said = f"batchgen: {error.filename or 'disk'}: {error.strerror or error}"
        print(visible(said), file=sys.stderr)
        code = ExitCode.USAGE
    except KeyboardInterrupt:
        print("batchgen: interrupted", file=sys.stderr)
        code = ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  # the last line of defence, and it is printed whole
        traceback.print_exc()
        print(f"batchgen: {ISSUE}", file=sys.stderr)
        code = ExitCode.BUG
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _read_dotenv() -> None:
    """Take keys out of a .env in the working directory; the environment outweighs it."""
    if os.path.isfile(".env"):  # noqa: PTH113  # pathlib takes longer to import than the rest
        from dotenv import load_dotenv

        load_dotenv(".env", override=False)
