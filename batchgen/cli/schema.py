"""`batchgen schema`."""

from batchgen.cli.look import click


@click.command
def schema() -> None:
    """Print the JSON Schema of a job file, for editors.

    \b
    batchgen schema > batchgen.schema.json
    # yaml-language-server: $schema=batchgen.schema.json   (first line of a job)
    """  # noqa: D301  # click looks for the sign, not for its escape
    import json

    from batchgen.jobfile.json_schema import job_schema

    click.echo(json.dumps(job_schema(), indent=2))
