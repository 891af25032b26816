"""`batchgen init`."""

from pathlib import Path

from batchgen.cli.look import click


@click.command
@click.argument("file", default="job.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quickstart", "kind", flag_value="quickstart", default=True, help="One video.")
@click.option("--grid", "kind", flag_value="grid", help="Seeds x guidance, to compare.")
@click.option("--overnight", "kind", flag_value="overnight", help="Many prompts from a file.")
def init(file: Path, *, kind: str) -> None:
    """Write a commented starter job to FILE (job.yaml where left out). Replaces nothing."""
    from importlib import resources

    from batchgen.errors import UsageError
    from batchgen.terminal import visible

    starters = resources.files("batchgen.cli") / "starters"
    wanted = {file: f"{kind}.yaml"}
    if kind == "overnight":
        wanted[file.with_name("prompts.txt")] = "prompts.txt"
    for path in wanted:
        if path.exists():
            raise UsageError(f"{path} is there already; name another file")
    for path, starter in wanted.items():
        try:
            with path.open("x", encoding="utf-8") as written:
                written.write((starters / starter).read_text("utf-8"))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        click.echo(visible(f"wrote {path}"))
    click.echo(visible(f"next: batchgen plan {file}, then batchgen run {file}"))
