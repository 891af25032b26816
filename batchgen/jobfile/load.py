"""A job file becomes a Job, or every mistake in it is said at once.

Reads the job file and the prompt file it names; touches nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

from batchgen import templates
from batchgen.errors import JobFileError, Place, Problem, UsageError
from batchgen.expansion import expand
from batchgen.job import (
    Axis,
    Budget,
    Job,
    NotifySettings,
    Occasion,
    OnAmbiguous,
    Order,
    Output,
    PollSettings,
    Prompt,
    ProviderSettings,
    RetrySettings,
    RunSettings,
    TimeoutSettings,
)
from batchgen.jobfile.check import Checker, variables_of_rows
from batchgen.jobfile.explain import explain
from batchgen.jobfile.extensions import set_aside
from batchgen.jobfile.mistakes import SHOWN
from batchgen.jobfile.overrides import Overrides, check_overrides, lay_over, without_effect
from batchgen.jobfile.own_parameters import own_parameters
from batchgen.jobfile.prompts import (
    PromptReader,
    WrittenPrompt,
    read_list,
    read_prompt_file,
)
from batchgen.jobfile.schema import JobDocument
from batchgen.jobfile.source import Source, decode, read_bounded
from batchgen.jobfile.syntax import strange_sign
from batchgen.jobfile.yaml12 import Node, read
from batchgen.lint import warnings_of
from batchgen.models import Parameter, describe, parameters_of, told_apart


def load_job(path: str | Path, overrides: Overrides | None = None) -> Job:
    """Read and check a job file.

    Raises:
        UsageError: There is no such file, or an override makes no sense.
        JobFileError: The file has mistakes; the error holds them all.
    """
    path = Path(path)
    overrides = overrides or Overrides()
    try:
        raw = read_bounded(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    return parse_job(decode(str(path), raw), path, overrides)


def parse_job(source: Source, path: Path, overrides: Overrides) -> Job:
    """Check a job file's text; `path` gives the job its name and prompt files their folder.

    Raises:
        UsageError: An override makes no sense.
        JobFileError: The text has mistakes.
    """
    check_overrides(overrides)
    root = read(source)
    if not isinstance(root.value, dict):
        raise JobFileError([_not_a_job(source, root)])
    secrets = set_aside(source, root)
    lay_over(root, overrides)
    model = _text_at(root, "provider", "model") or ProviderSettings().model
    declared, problems = own_parameters(source, root, model)
    written = PromptReader(parameters_of(model, declared))
    problems += _read_prompts(source, root, path, written)
    checker = Checker(source, root, written, model)
    problems += checker.check()
    document: JobDocument | None = None
    try:
        document = JobDocument.model_validate(_without_listed_prompts(root))
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_input=True)
        mistyped = {detail["loc"][:-1] for detail in details if detail["type"] == "extra_forbidden"}
        explained = (
            explain(source, root, detail)
            for detail in details
            # What is missing beside a mistyped key is that key.
            if (detail["type"] != "missing" or detail["loc"][:-1] not in mistyped)
            and not _said_value_by_value(detail)
        )
        problems += [problem for problem in explained if problem.place not in checker.moot]
    alone = any("prompt" in row.value for row in _rows(root, "include"))
    if not written.prompts and not alone and not problems and not written.mistakes:
        problems.append(_no_prompts(source, root))
    problems = [*_most_telling([*secrets, *problems]), *written.mistakes.problems()]
    if problems or document is None:
        raise JobFileError(problems)
    job = _job(document, source, path, written, declared, overrides)
    if job.exclude and next(expand(job), None) is None:
        raise JobFileError([_nothing_left(source, root)])
    return job


def _said_value_by_value(detail: ErrorDetails) -> bool:
    """Tell whether it is an axis' list, of whose values the checker says which cannot be."""
    match detail["loc"], detail["input"]:
        case ("matrix" | "zip", _), [_, *_]:
            return True
        case _:
            return False


def _not_a_job(source: Source, root: Node) -> Problem:
    strange = strange_sign(source, root.last)
    if strange is not None:
        return strange
    said = "is empty" if root.value is None else f"is {describe(root.value)}, not a mapping"
    hint = "begin with `version: 1` and `prompts:`; `batchgen init` writes a starter"
    return Problem(Place(source.name), said, hint=hint)


def _no_prompts(source: Source, root: Node) -> Problem:
    place = root.keys.get("prompts", root.place)
    return source.problem(place, "there is no prompt", hint="add one under prompts:")


def _nothing_left(source: Source, root: Node) -> Problem:
    said = "every cell is left out, and nothing is to be made"
    hint = (
        "a row leaves out the cells that match all of its keys; give it more keys, or take it away"
    )
    place = root.keys["exclude"]
    return source.problem(place, said, hint=hint, width=len("exclude"))


def _read_prompts(source: Source, root: Node, path: Path, into: PromptReader) -> list[Problem]:
    """Take the prompts of the job file or of the file it names; return what keeps them from it."""
    node = root.value.get("prompts")
    if node is None:
        return []
    if isinstance(node.value, list):
        read_list(source, node.value, into)
        return []
    named = node.value.get("file") if isinstance(node.value, dict) else None
    if named is None or not isinstance(named.value, str) or not named.value:
        into.complete = not isinstance(node.value, dict)
        return []
    file = path.parent / _at_home(named.value)
    into.ignored = _names(node.value.get("ignore")) - {"prompt"}
    # A name beside a key that was meant for `ignore` may be one of those to be ignored.
    into.complete = node.value.keys() <= {"file", "ignore"}
    try:
        read_prompt_file(file, str(file), into, variables_of_rows(root))
    except JobFileError as error:
        into.complete = False
        return [_where_it_is_named(source, named, problem) for problem in error.problems]
    into.warnings += (
        f"prompts.ignore: no prompt of {file} has a value named {name}"
        for name in sorted(into.ignored - into.left_out)
    )
    return []


def _names(node: Node | None) -> set[str]:
    """Return the names of a list, or the only one."""
    items = node.value if node is not None and isinstance(node.value, list) else [node]
    return {item.value for item in items if item is not None and isinstance(item.value, str)}


def _where_it_is_named(source: Source, named: Node, problem: Problem) -> Problem:
    """Place what is wrong with a prompt file as a whole where the job file names it."""
    if problem.place.line:
        return problem
    said = f"{problem.place}: {problem.message}"
    return source.problem(named.place, said, hint=problem.hint, width=named.width)


def _without_listed_prompts(root: Node) -> dict[str, Any]:
    """Return the document without the prompts of a list, which have been checked one by one."""
    return {
        key: [] if key == "prompts" and isinstance(node.value, list) else node.bare()
        for key, node in root.value.items()
    }


def _rows(root: Node, section: str) -> Iterable[Node]:
    node = root.value.get(section)
    items = node.value if node is not None and isinstance(node.value, list) else []
    return (item for item in items if isinstance(item.value, dict))


def _text_at(root: Node, *keys: str) -> str | None:
    node: Node | None = root
    for key in keys:
        node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
    return node.value if node is not None and isinstance(node.value, str) else None


def _most_telling(problems: Sequence[Problem]) -> list[Problem]:
    """Keep one problem a place: the first, which is the one that explains most."""
    kept: dict[Place, Problem] = {}
    for problem in problems:
        kept.setdefault(problem.place, problem)
    return list(kept.values())


def _job(
    document: JobDocument,
    source: Source,
    path: Path,
    written: PromptReader,
    declared: tuple[Parameter, ...],
    overrides: Overrides,
) -> Job:
    name = document.name or _safe_name(path.stem)
    provider = _provider(document, overrides)
    output = overrides.output or _at_home(templates.fill(document.output.dir, {"job": name}))
    if overrides.output is None and provider.kind != document.provider.kind:
        # A run directory holds one provider's tasks; a rehearsal goes beside the real run.
        output = _beside(output, provider.kind)
    prompts, repeated = _distinct(written.prompts)
    run = document.run
    job = Job(
        name=name,
        prompts=prompts,
        output=Output(output)
        if document.output.name is None
        else Output(output, document.output.name),
        defaults=document.defaults,
        matrix=tuple(Axis(axis, values) for axis, values in document.matrix.items()),
        zip=tuple(Axis(axis, values) for axis, values in document.zip.items()),
        exclude=tuple(document.exclude),
        include=tuple(document.include),
        repeat=document.repeat,
        salt=document.salt,
        provider=provider,
        model_parameters=declared,
        run=RunSettings(
            concurrency=overrides.concurrency or run.concurrency,
            submits=run.submits,
            downloads=run.downloads,
            rate_limit=run.rate_limit,
            order=Order(run.order),
            poll=PollSettings(run.poll.first, run.poll.every, run.poll.max),
            retry=RetrySettings(run.retry.attempts, *run.retry.backoff),
            timeout=TimeoutSettings(**dict(run.timeout)),
            on_ambiguous=OnAmbiguous(run.on_ambiguous),
            stop_at=run.stop_at,
            stop_if_failures=run.stop_if_failures,
            give_up_after=run.give_up_after,
        ),
        budget=Budget(**dict(document.budget)),
        notify=NotifySettings(
            url_env=document.notify.url_env,
            on=tuple(Occasion(word) for word in dict.fromkeys(document.notify.on)),
            asked="notify" in document.model_fields_set,
        ),
        source=source.text,
    )
    idle = without_effect(job, overrides)
    return replace(job, warnings=(*written.warnings, *repeated, *warnings_of(job), *idle))


def _provider(document: JobDocument, overrides: Overrides) -> ProviderSettings:
    part = document.provider
    kind = overrides.provider or part.kind
    # A rehearsal must not reach the address and the key that were meant for the real provider.
    same = kind == part.kind
    base_url = overrides.base_url or (part.base_url if same else None)
    return ProviderSettings(
        kind=kind,
        model=part.model,
        base_url=base_url.rstrip("/") if base_url else None,
        api_key_env=part.api_key_env if same else None,
    )


def _at_home(written: str) -> Path:
    """Read `~/` as a shell does."""
    return Path.home() / written[2:] if written.startswith("~/") else Path(written)


def _beside(folder: Path, kind: str) -> Path:
    return folder / kind if folder.name in ("", "..") else folder.with_name(f"{folder.name}-{kind}")


def _safe_name(stem: str) -> str:
    """Make a job's name of a file's stem: what is no letter, digit, dot or dash becomes a dash."""
    kept = "".join(
        character if character.isalnum() or character in "._-" else "-" for character in stem
    )
    return kept.strip(".-")[:100] or "job"


def _distinct(written: Sequence[WrittenPrompt]) -> tuple[tuple[Prompt, ...], list[str]]:
    """Drop prompts that stand there twice: the same request is one video, made once."""
    seen: dict[tuple[str, frozenset[tuple[str, object]]], Place] = {}
    prompts: list[Prompt] = []
    warnings: list[str] = []
    more = 0
    for prompt in written:
        own = frozenset((name, told_apart(value)) for name, value in prompt.own.items())
        key = (prompt.template, own)
        if key not in seen:
            seen[key] = prompt.place
            prompts.append(Prompt(prompt.template, prompt.id, prompt.own))
        elif len(warnings) < SHOWN:
            warnings.append(
                f"{prompt.place}: repeats the prompt of line {seen[key].line}; it is made once "
                "(repeat: 2 makes copies)"
            )
        else:
            more += 1
    if more:
        warnings.append(f"{more:,} more prompts repeat one that stands above them")
    return tuple(prompts), warnings
