"""`batchgen init`."""

from pathlib import Path
from typing import Final

from batchgen.cli.look import click

SCHEMA: Final = "batchgen.schema.json"
"""What the first line of a starter names, and an editor reads: it lies beside the job."""
_BESIDE: Final = {"overnight": "prompts.txt", "csv": "prompts.csv"}


@click.command
@click.argument("file", default="job.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quickstart", "kind", flag_value="quickstart", default=True, help="One video.")
@click.option("--grid", "kind", flag_value="grid", help="Seeds x guidance, to compare.")
@click.option("--csv", "kind", flag_value="csv", help="Prompts from a table, with their values.")
@click.option("--overnight", "kind", flag_value="overnight", help="Many prompts from a file.")
def init(file: Path, *, kind: str) -> None:
    """Write a commented starter job to FILE (job.yaml where left out). Replaces nothing.

    Beside it goes batchgen.schema.json, one for all jobs of the folder: with it an editor that
    knows YAML completes keys, explains them and underlines mistakes. A prompts.txt or prompts.csv
    that is there already is kept, and the job reads it.
    """
    import json
    from importlib import resources

    from batchgen.errors import UsageError
    from batchgen.jobfile.json_schema import job_schema
    from batchgen.terminal import visible

    if file.exists():
        raise UsageError(f"{file} is there already; name another file")
    starters = resources.files("batchgen.cli") / "starters"
    wanted = {file: (starters / f"{kind}.yaml").read_text("utf-8")}
    beside = [file.with_name(_BESIDE[kind])] if kind in _BESIDE else []
    kept = [path for path in beside if path.exists()]
    wanted |= {
        path: (starters / path.name).read_text("utf-8") for path in beside if path not in kept
    }
    schema = file.with_name(SCHEMA)
    if not schema.exists():
        wanted[schema] = json.dumps(job_schema(), indent=2) + "\n"
    for path, text in wanted.items():
        try:
            with path.open("x", encoding="utf-8") as written:
                written.write(text)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        click.echo(visible(f"wrote {path}"))
    for path in kept:
        click.echo(visible(f"kept {path}, which was there already: {file} reads it"))
    click.echo(visible(f"next: batchgen plan {file}, then batchgen run {file}"))
