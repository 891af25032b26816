"""From a YAML file to a Job, or to every mistake in it at once."""

import itertools
import json
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchgen.errors import ExitCode, JobFileError, Place, Problem, UsageError
from batchgen.expansion import count, expand
from batchgen.job import (
    Axis,
    Budget,
    Derived,
    Job,
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
from batchgen.jobfile import Overrides, load_job
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.schema import JobDocument
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import ALIASES, did_you_mean
from batchgen.models import TABLES, WAN_1_3B

FOX = "prompts: [A fox]\n"


def load(text: str, overrides: Overrides | None = None, folder: Path = Path()) -> Job:
    path = folder / "job.yaml"
    return parse_job(Source("job.yaml", text), path, overrides or Overrides())


def mistakes(text: str, overrides: Overrides | None = None) -> tuple[Problem, ...]:
    with pytest.raises(JobFileError) as caught:
        load(text, overrides)
    return caught.value.problems


# The examples of the contract, as they stand there.

QUICKSTART = """\
version: 1
prompts:
  - A red fox trots through fresh snow, slow dolly-in
"""
OVERNIGHT = """\
version: 1
prompts: {file: prompts.txt}      # .txt: a line a prompt, blank and # lines skipped
matrix: {seed: {random: 2}}
"""
GRID = """\
version: 1
prompts: ["Paper boat in a drain: macro, rain"]
matrix:
  seed: 1-4                       # inclusive range
  guidance_scale: 3-9 (+2)        # with a step
  sampler: [unipc, dpm+]
exclude: [{guidance_scale: 9, sampler: dpm+}]
include: [{seed: 42, guidance_scale: 12, sampler: unipc}]
"""
VARIABLES = """\
version: 1
prompts: ["${animal} made of ${material}"]
matrix: {animal: [an owl, a fox]}
zip: {material: [paper, clay], shift: [3, 8]}
repeat: 2                         # each copy its own seed
"""
OWN_VALUES = """\
version: 1
defaults: {aspect_ratio: 16:9, inference_steps: 30}
prompts:
  - A tram at dusk
  - {id: portrait, prompt: A dancer, aspect_ratio: 9:16, seed: 7}
matrix: {seed: 1-3}
"""
EVERYTHING_ELSE = """\
prompts: [A fox]
name: fox-grid                    # the file's stem
provider:                         # or just its kind: `provider: sandbox`
  kind: aimlapi                   # sandbox when left out: nothing is spent by accident
  base_url: https://api.aimlapi.com
  model: wan/v2.1/1.3b/text-to-video
  api_key_env: AIMLAPI_KEY        # the key itself is refused in a job file
run:
  concurrency: 8      # generations in flight at the provider, at most
  submits: 4                      # POSTs in flight, at most
  downloads: 4
  rate_limit: 60/min              # requests of all kinds; none when left out
  order: sequential               # interleaved | shuffled
  poll: {first: auto, every: auto, max: 30s}
  retry: {attempts: 3, backoff: 1s-60s}
  timeout: {request: 30s, submit: 120s, generation: 30m, download: 10m}
  on_ambiguous: evidence          # hold | resubmit
  stop_at: "07:30"                # or none
  stop_if_failures: 10 in a row   # or none
  give_up_after: 12h
budget: {max_tasks: none, max_usd: none, usd_per_video: none}
output:
  dir: output/${job}
  name: ${index}_${slug}_s${seed}   # the task's id is added where two names would meet
"""


def test_the_quickstart_is_one_task() -> None:
    (task,) = expand(load(QUICKSTART))
    assert task.prompt == "A red fox trots through fresh snow, slow dolly-in"


def test_every_line_of_a_prompt_file_times_two_seeds(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("A fox\n\n# a note\n  An owl  \nA tram\n", "utf-8")
    job = load(OVERNIGHT, folder=tmp_path)
    assert [prompt.template for prompt in job.prompts] == ["A fox", "An owl", "A tram"]
    assert job.matrix == (Axis("seed", Derived(2)),)
    assert count(job) == 6


def test_the_grid_is_twenty_nine_tasks() -> None:
    tasks = list(expand(load(GRID)))
    assert len(tasks) == len({task.task_id for task in tasks}) == count(load(GRID)) == 29
    assert tasks[-1].params["guidance_scale"] == 12


def test_variables_and_axes_that_move_together_are_eight_tasks() -> None:
    tasks = list(expand(load(VARIABLES)))
    assert len(tasks) == len({task.task_id for task in tasks}) == 8
    assert {(task.variables["material"], task.params["shift"]) for task in tasks} == {
        ("paper", 3),
        ("clay", 8),
    }
    assert len({task.params["seed"] for task in tasks}) == 2


def test_a_prompt_with_its_own_values_is_four_tasks() -> None:
    tasks = list(expand(load(OWN_VALUES)))
    assert [(t.prompt, t.params["seed"], t.params["aspect_ratio"]) for t in tasks] == [
        ("A tram at dusk", 1, "16:9"),
        ("A tram at dusk", 2, "16:9"),
        ("A tram at dusk", 3, "16:9"),
        ("A dancer", 7, "9:16"),
    ]
    assert tasks[-1].prompt_id == "portrait"


def test_everything_written_with_its_default_is_the_default() -> None:
    written, left_out = load(EVERYTHING_ELSE), load(FOX)
    assert written.run == replace(RunSettings(), rate_limit=1.0, stop_at=(7, 30))
    assert written.budget == left_out.budget == Budget()
    assert written.output.name == left_out.output.name
    assert (written.name, written.output.dir) == ("fox-grid", Path("output/fox-grid"))
    assert (left_out.name, left_out.output.dir) == ("job", Path("output/job"))
    assert left_out.run == RunSettings()
    assert left_out.provider == ProviderSettings()
    assert written.provider == ProviderSettings(
        "aimlapi", WAN_1_3B, "https://api.aimlapi.com", "AIMLAPI_KEY"
    )
    assert not written.warnings


def test_a_job_of_the_smallest_file_is_the_job_a_program_would_build() -> None:
    built = Job(name="job", prompts=(Prompt("A fox"),), output=Output(Path("output/job")))
    assert replace(load(FOX), source="") == built


def test_everything_that_can_be_set_is_set() -> None:
    job = load(
        FOX
        + """\
salt: 5
repeat: 2
run:
  concurrency: 3
  submits: 2
  downloads: 1
  rate_limit: 5/s
  order: shuffled
  poll: {first: 2s, every: 5s, max: 1m}
  retry: {attempts: 7, backoff: 500ms-2m}
  timeout: {request: 1, submit: 2, generation: 3, download: 4}
  on_ambiguous: resubmit
  stop_at: none
  stop_if_failures: none
  give_up_after: 1h30m
budget: {max_tasks: 5, max_usd: 2, usd_per_video: 0}
output: {dir: "../${job}", name: "${task_id}"}
"""
    )
    assert job.run == RunSettings(
        concurrency=3,
        submits=2,
        downloads=1,
        rate_limit=5.0,
        order=Order.SHUFFLED,
        poll=PollSettings(2.0, 5.0, 60.0),
        retry=RetrySettings(7, 0.5, 120.0),
        timeout=TimeoutSettings(1.0, 2.0, 3.0, 4.0),
        on_ambiguous=OnAmbiguous.RESUBMIT,
        stop_at=None,
        stop_if_failures=None,
        give_up_after=5400.0,
    )
    assert job.budget == Budget(5, 2.0, 0.0)
    assert job.output == Output(Path("../job"), "${task_id}")
    assert (job.salt, job.repeat) == ("5", 2)


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        (FOX + "matrix: {seed: [1, 2,]}", 2),
        (FOX + 'matrix: {seed: "1-4"}', 4),
        (FOX + "matrix: {seed: 7}", 1),
        (FOX + "matrix:\n  seed: 1-9 [3]", 3),
        (FOX + "defaults: {aspect_ratio: 16:9}", 1),
        (FOX + "defaults:\n  aspect_ratio: 9:16", 1),
        (FOX + "defaults: {negative_prompt: no}", 1),
        (FOX + "defaults: {guidance_scale: 5.0, seed: 1e3}", 1),
        (FOX + "provider: sandbox", 1),
        (FOX + "provider: {model: somebody/else}\ndefaults: {anything: 1, key: x}", 1),
        (FOX + "output: {dir: ../elsewhere}", 1),
        (FOX + "run: {stop_at: 07:30}", 1),
        ("prompts: [16:9, no, 1:30:00]", 3),
        ("prompts: ['$${animal} for $5']", 1),
        ("prompts:\n- |\n  two\n  lines\n- >-\n  one\n  line", 2),
        ("prompts:\n- A fox # a note somebody meant", 1),
        ("include: [{prompt: A fox}, {prompt: An owl, seed: 1}]", 2),
        ("prompts: ['${key} light']\nmatrix: {key: [high, low]}", 2),
        ("prompts: ['shift ${shift}, seed ${seed}']\ndefaults: {shift: 3}", 1),
        (FOX.replace("\n", "\r\n") + "matrix:\r\n  seed: 1-4\r\n", 4),
        ("%YAML 1.2\n---\nprompts: [A fox]\n...\n", 1),
        ('{"version": 1, "prompts": ["A fox"], "matrix": {"seed": "1-2"}}', 2),
    ],
)
def test_odd_but_plausible_files_load(text: str, tasks: int) -> None:
    job = load(text)
    assert count(job) == len(list(expand(job))) == tasks


def test_values_are_what_they_look_like() -> None:
    job = load(FOX + "defaults: {negative_prompt: no, guidance_scale: 5.0, seed: 010}")
    assert job.defaults == {"negative_prompt": "no", "guidance_scale": 5, "seed": 10}
    assert type(job.defaults["guidance_scale"]) is int


def test_five_and_five_point_nothing_are_one_task_wherever_they_stand() -> None:
    texts = (
        FOX + "defaults: {shift: 5}",
        FOX + "defaults: {shift: 5.0}",
        FOX + "matrix: {shift: [5.0]}",
        "prompts: [{prompt: A fox, shift: 5.0}]",
        FOX + "matrix: {shift: 5.0-5.0}",
    )
    assert len({task.task_id for text in texts for task in expand(load(text))}) == 1


# Wrong files. Each mistake: where it is, words of what is said, words of the hint.


@dataclass(frozen=True)
class Wrong:
    text: str
    line: int
    column: int
    said: str
    hint: str = ""


WRONG = [
    # The file as a whole.
    Wrong("", 0, 0, "is empty", "batchgen init"),
    Wrong("hello", 0, 0, "is the text 'hello', not a mapping", "begin with"),
    Wrong("[1]", 0, 0, "is a list, not a mapping", "begin with"),
    Wrong("prompts [A]", 0, 0, "not a mapping", "`prompts:`"),
    Wrong("version: 1", 1, 1, "there is no prompt", "add one under prompts:"),
    Wrong(FOX + "---\nprompts: [B]", 2, 1, "a second document begins here"),
    Wrong(FOX + "prompts: [B]", 2, 1, "'prompts' is written twice, first in line 1", "keep one"),
    # YAML that is none.
    Wrong("prompts:\n\t- A fox", 2, 1, "this is no YAML", "no tabs for indentation: use spaces"),
    Wrong("prompts:\n  - A fox\n\trepeat: 2", 3, 1, "this is no YAML", "use spaces"),
    Wrong("prompts: [A fox", 1, 10, "the [ here is not closed", "put ] behind its last value"),
    Wrong("prompts: ['A fox]", 1, 11, "this quote is not closed", "close it"),
    Wrong("prompts:\n- 'tis a fox", 2, 3, "this quote is not closed", "write ' twice"),
    Wrong("prompts: [${x} runs]", 1, 12, "this is no YAML", "text with ${...} in quotes"),
    Wrong("prompts:\n- {prompt: ${x} runs}", 2, 13, "this is no YAML", "in quotes inside [ ]"),
    Wrong("prompts:\n- @home", 2, 3, "text cannot begin with @", "put the text in quotes"),
    Wrong("prompts:\n- `x`", 2, 3, "text cannot begin with `", "put the text in quotes"),
    Wrong("prompts:\n- *slow* motion", 2, 8, "text cannot begin with *", "put the text in quotes"),
    Wrong("prompts:\n- [wide shot] a fox", 2, 15, "behind a closing quote or bracket", "quotes"),
    Wrong('prompts:\n- "A fox" runs', 2, 11, "behind a closing quote", "the whole text in quotes"),
    Wrong("prompts:\n- Boat: macro: rain", 2, 14, "the end of a key", "put the text in quotes"),
    Wrong("prompts:\n- A fox\n seed: 1", 3, 6, "as a part of the value above", "indentation"),
    Wrong("prompts:\n - A fox\n- B", 3, 1, "does not go with those above", "the indentation"),
    Wrong("prompts:\n- !wow", 2, 3, "the tag !wow is not read", "quote it"),
    Wrong(FOX + "matrix: {seed: 1-4 [3]}", 2, 20, "',' or '}'", "in quotes"),
    # Prompts.
    Wrong("prompts: A fox", 1, 10, "prompts: expected a list (put `- ` before each prompt)"),
    Wrong("prompts: p.txt", 1, 10, "not the text 'p.txt'", "write prompts: {file: p.txt}"),
    Wrong("prompts: p.CSV", 1, 10, "not the text 'p.CSV'", "write prompts: {file: p.CSV}"),
    Wrong("prompts:", 1, 9, "prompts: expected a list", ""),
    Wrong("prompts: []", 1, 1, "there is no prompt", "add one"),
    Wrong("prompts: [1984]", 1, 11, "not the number 1984", 'write it in quotes: "1984"'),
    Wrong("prompts: [true]", 1, 11, "not true", 'write it in quotes: "true"'),
    Wrong("prompts:\n- A fox\n-", 3, 2, "this prompt is empty"),
    Wrong("prompts:\n- #hashtag fox", 2, 2, "this prompt is empty", "YAML took #"),
    Wrong("prompts: ['']", 1, 11, "this prompt is empty"),
    Wrong("prompts: [{prompt: ' '}]", 1, 20, "this prompt is empty"),
    Wrong("prompts: [{prompt: 5}]", 1, 20, "expected text, not the number 5", "in quotes"),
    Wrong("prompts: [{prompt: x, id: 7}]", 1, 27, "prompts.id: expected text", "in quotes"),
    Wrong("prompts: [[a, b]]", 1, 11, "not a list", "in quotes: YAML reads [ ] as a list"),
    Wrong("prompts:\n- Paper boat: macro", 2, 3, 'took "Paper boat" for a key', "in quotes"),
    Wrong("prompts:\n- {animal}", 2, 3, 'took "animal" for a key', "put the prompt in quotes"),
    Wrong("prompts: [{promt: A fox}]", 1, 11, "became a mapping", 'did you mean "prompt"?'),
    Wrong("prompts:\n- A fox #5 runs", 2, 8, "this prompt was cut", "in quotes"),
    Wrong("prompts:\n- A fox in\n  snow #5", 3, 7, "this prompt was cut", "in quotes"),
    Wrong("prompts:\n- prompt: A fox #5", 2, 16, "this prompt was cut", "in quotes"),
    Wrong("prompts: [{prompt: x, sed: 1}]", 1, 23, '"sed" in prompts is no', '"seed"?'),
    Wrong("prompts: ['${animl}']\ndefaults: {shift: 3}", 1, 12, "${animl} in this prompt", "$$"),
    Wrong("prompts: ['${}']", 1, 12, "${} in this prompt has no value"),
    Wrong("prompts: {fle: p.txt}", 1, 11, '"fle" is not known in prompts', '"file"?'),
    Wrong("prompts: {file: p.doc}", 1, 17, "and .yaml files, not from .doc", ".txt"),
    Wrong("prompts: {file: p.xlsx}", 1, 17, "files, not from .xlsx", "save it as CSV"),
    Wrong("prompts: {file: p.json}", 1, 17, "files, not from .json", "into a .jsonl file"),
    Wrong("prompts: {file: p}", 1, 17, "files, not from this", ".txt"),
    Wrong("prompts: {file: nope.txt}", 1, 17, "nope.txt: cannot be read: No such file"),
    Wrong("prompts: {file: }", 1, 17, "prompts.file: expected text, not nothing"),
    # Keys.
    Wrong("promts: [A]", 1, 1, '"promts" is not known', 'did you mean "prompts"?'),
    Wrong(FOX + "Seed: 5", 2, 1, '"Seed" is not known', ""),
    Wrong(FOX + "seed: 5", 2, 1, '"seed" is not known', "goes under defaults, or under matrix"),
    Wrong(FOX + "steps: 30", 2, 1, '"steps" is not known', '"inference_steps"? a parameter'),
    Wrong(FOX + "concurrency: 4", 2, 1, "is not known", "it goes under run"),
    Wrong(FOX + "model: wan", 2, 1, "is not known", "it goes under provider"),
    Wrong(FOX + "run: {workers: 4}", 2, 7, '"workers" is not known in run', '"concurrency"?'),
    Wrong(FOX + "run: {generation: 4}", 2, 7, "not known in run", "goes under run.timeout"),
    Wrong(FOX + "run: {poll: {evry: 4s}}", 2, 14, "not known in run.poll", '"every"?'),
    Wrong(FOX + "provider: {kindd: x}", 2, 12, "not known in provider", '"kind"?'),
    Wrong(FOX + "<<: [repeat, 1]", 2, 1, "the merge key << takes a mapping or a list of them"),
    # Parameters and axes.
    Wrong(FOX + "matrix: [seed]", 2, 9, "matrix: expected a mapping (key: value), not a list"),
    Wrong(FOX + "matrix:", 2, 8, "not nothing", "put something under it, or take the key away"),
    Wrong(FOX + "matrix: {cfg: [1]}", 2, 10, '"cfg" in matrix', '"guidance_scale"?'),
    Wrong(FOX + "matrix: {animal: [a]}", 2, 10, "no ${animal} stands in a prompt", "known here"),
    Wrong(FOX + "matrix: {seed: [1-4]}", 2, 17, "not the text '1-4'", "without brackets"),
    Wrong(FOX + "defaults: {seed: 1-4}", 2, 18, "not the text '1-4'", "a range goes under matrix"),
    Wrong(FOX + "defaults: {seed: '5'}", 2, 18, "a whole number", "without quotes: seed: 5"),
    Wrong(FOX + "defaults: {seed: -1}", 2, 18, "seed takes 0 or more, not the number -1"),
    Wrong(FOX + "defaults: {seed: .inf}", 2, 18, "defaults.seed: expected a finite number"),
    Wrong(FOX + "defaults: {shift: .nan}", 2, 19, "expected a finite number"),
    Wrong(FOX + "defaults: {seed: }", 2, 18, "defaults.seed: expected text, a number"),
    Wrong(FOX + "defaults: {sampler: 5}", 2, 21, "sampler takes text", "known here: dpm+, unipc"),
    Wrong(FOX + "defaults: {negative_prompt: 5}", 2, 29, "takes text", 'write it in quotes: "5"'),
    Wrong(FOX + "defaults: {aspect_ratio: 1:1}", 2, 26, "takes 16:9 or 9:16", "known here"),
    Wrong(FOX + "defaults: {model: x}", 2, 12, "the model is not a parameter", "provider: model:"),
    Wrong(FOX + "defaults: {prompt: x}", 2, 12, "defaults holds no prompt", "use prompts:"),
    Wrong(FOX + "matrix: {sampler: unipc}", 2, 19, "matrix.sampler: expected a list, a range"),
    Wrong(FOX + "matrix: {sampler: [uni_pc]}", 2, 20, "unipc or dpm+", '"unipc"?'),
    Wrong(FOX + "matrix: {seed: 4-1}", 2, 16, "runs backwards; write 1-4"),
    Wrong(FOX + "matrix: {seed: 1..4}", 2, 16, "a range such as 1-4"),
    Wrong(FOX + "matrix: {seed: []}", 2, 16, "the list is empty"),
    Wrong(FOX + "matrix: {seed: [1, ~]}", 2, 20, "matrix.seed: expected text"),
    Wrong(FOX + "matrix: {seed: [1, 1]}", 2, 20, "1 is in this list twice", "keep one"),
    Wrong(FOX + "matrix: {seed: 0.5-2}", 2, 16, "seed takes a whole number, not the number 0.5"),
    Wrong(FOX + "matrix: {seed: {randm: 3}}", 2, 16, "{random: 4}"),
    Wrong(FOX + "matrix: {seed: {random: 0}}", 2, 16, "random takes how many values"),
    Wrong(FOX + "matrix: {seed: {random: 2, per: x}}", 2, 16, "only `per: prompt` is known"),
    Wrong(
        FOX + "matrix: {inference_steps: {random: 3}}", 2, 10, "makes seeds", "a list or a range"
    ),
    Wrong(FOX + "zip: {seed: 1-4, shift: [1, 2]}", 2, 7, "seed has 4, shift has 2"),
    Wrong(FOX + "zip: {seed: 1-4}\nmatrix: {seed: 1-4}", 2, 7, "of matrix and of zip", "keep one"),
    Wrong(FOX + "exclude: {seed: 1}", 2, 10, "exclude: expected a list", "put brackets around it"),
    Wrong(FOX + "defaults: {shift: 3}\nexclude: [{shift: 3}]", 3, 1, "nothing is to be made"),
    Wrong(FOX + "include: [seed]", 2, 11, "expected a mapping"),
    Wrong(FOX + "include: [{}]", 2, 11, "a row of include is empty"),
    Wrong(FOX + "include: [{prompt: 5}]", 2, 20, "expected text", 'write it in quotes: "5"'),
    Wrong(FOX + "include: [{prompt: ''}]", 2, 20, "this prompt is empty"),
    Wrong(FOX + "include: [{prompt: A, id: 5}]", 2, 27, "expected text", 'in quotes: "5"'),
    Wrong(FOX + "include: [{prompt: A, id: ''}]", 2, 27, "expected 1 to 100 characters"),
    Wrong(FOX + "include: [{id: owl}]", 2, 12, '"id" in include is no parameter'),
    Wrong(FOX + "include: [{prompt: '${x}'}]", 2, 11, "${x} in this row's prompt has no value"),
    Wrong(
        "prompts: ['${x}']\nmatrix: {x: [1]}\ninclude: [{seed: 4}]",
        3,
        11,
        "this row gives no value for ${x}",
    ),
    Wrong(
        "provider: {model: m}\nprompts: ['${seed}']\nmatrix: {seed: [1]}\ninclude: [{q: 1}]",
        4,
        11,
        "this row gives no value for ${seed}",
    ),
    # Settings.
    Wrong(FOX + 'version: "1"', 2, 10, "expected 1, not the text '1'", "without quotes: 1"),
    Wrong(FOX + "version: 2", 2, 10, "expected 1, not the number 2"),
    Wrong(FOX + "name: a/b", 2, 7, "name: expected letters, digits", "output: dir:"),
    Wrong(FOX + "name: 5", 2, 7, "name: expected text, not the number 5", 'in quotes: "5"'),
    Wrong(FOX + "repeat: 0", 2, 9, "repeat: expected 1 or more, not the number 0"),
    Wrong(FOX + "repeat: two", 2, 9, "repeat: expected a whole number"),
    Wrong(FOX + "provider: openai", 2, 11, "provider: expected 'sandbox' or 'aimlapi'"),
    Wrong(FOX + "provider: {kind: AIMLAPI}", 2, 18, "not the text 'AIMLAPI'", '"aimlapi"?'),
    Wrong(FOX + "provider: {base_url: http://x.example}", 2, 22, "in the clear; use https"),
    Wrong(FOX + "provider: {base_url: x.example}", 2, 22, "starts with https://"),
    Wrong(FOX + 'run: {concurrency: "8"}', 2, 20, "expected a whole number", "without quotes: 8"),
    Wrong(FOX + "run: {concurrency: 100000}", 2, 20, "expected 10000 or less"),
    Wrong(FOX + "run: {timeout: 30}", 2, 16, "expected a mapping", "request, submit, generation"),
    Wrong(FOX + "run: {timeout: {submit: 30 min}}", 2, 25, "a duration such as 30s, 1m30s or 2h"),
    Wrong(FOX + "run: {timeout: {submit: 0}}", 2, 25, "expected more than 0, not the number 0"),
    Wrong(FOX + "run: {rate_limit: 60}", 2, 19, "a rate such as 60/min or 5/s, not the number 60"),
    Wrong(FOX + "run: {order: shufled}", 2, 14, "'interleaved' or 'shuffled'", '"shuffled"?'),
    Wrong(FOX + "run: {poll: 5s}", 2, 13, "expected a mapping", "first, every, max"),
    Wrong(FOX + "run: {poll: {every: 0s}}", 2, 21, "expected a duration above zero"),
    Wrong(FOX + "run: {retry: {backoff: 60s}}", 2, 24, "durations such as 1s-60s"),
    Wrong(FOX + "run: {retry: {backoff: 0s-60s}}", 2, 24, "expected a duration above zero"),
    Wrong(FOX + "run: {stop_at: 25:00}", 2, 16, 'a time of day such as "07:30"'),
    Wrong(FOX + "run: {stop_if_failures: ten}", 2, 25, "a count such as 10 in a row"),
    Wrong(FOX + "budget: {max_usd: $5}", 2, 19, "expected a number, not the text '$5'"),
    Wrong(FOX + "budget: {max_usd: '5'}", 2, 19, "expected a number", "without quotes: 5"),
    Wrong(FOX + "budget: {max_usd: 0}", 2, 19, "expected more than 0"),
    Wrong(FOX + "output: out", 2, 9, "expected a mapping", "dir, name"),
    Wrong(FOX + "output: {dir: ''}", 2, 15, "output.dir: expected text, this is empty"),
    Wrong(FOX + "output: {dir: 'o/${date}'}", 2, 15, "${date} is not known", "use ${job}"),
    Wrong(FOX + "output: {name: '${indx}'}", 2, 16, "not known in a video's name", '"index"?'),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.text[-40:])
def test_a_mistake_is_shown_with_its_place_and_its_mend(wrong: Wrong) -> None:
    (problem,) = mistakes(wrong.text)
    assert (problem.place.line, problem.place.column) == (wrong.line, wrong.column)
    assert wrong.said in problem.message
    assert wrong.hint in problem.hint
    assert bool(problem.hint) or not wrong.hint
    assert "pydantic" not in str(problem)


def test_no_message_speaks_pydantic() -> None:
    for wrong in WRONG:
        for problem in mistakes(wrong.text):
            assert "Input" not in problem.message
            assert "input should" not in problem.message
            assert "string should" not in problem.message


def test_every_mistake_is_shown_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: 2
prompts:
  - A fox
  - Paper boat: macro
  - "${animal}"
defaults: {aspect_ratio: 4:3, cfg: 5}
matrix:
  seed: 4-1
  sampler: [unipc, euler]
run: {concurrency: many, workers: 3}
output: {name: "${indx}"}
extra: 1
"""
    found = mistakes(text)
    places = [(problem.place.line, problem.place.column) for problem in found]
    assert places == sorted(places)
    assert places == [
        (1, 10),
        (4, 5),
        (5, 6),
        (6, 26),
        (6, 31),
        (8, 9),
        (9, 20),
        (10, 20),
        (10, 26),
        (11, 16),
        (12, 1),
    ]


def test_a_prompt_that_cannot_be_read_puts_no_blame_on_the_variables_it_may_use() -> None:
    (problem,) = mistakes("prompts: {file: nope.txt}\nmatrix: {animal: [an owl]}")
    assert "nope.txt" in problem.message
    (problem,) = mistakes("prompts:\n- A: ${animal}\nmatrix: {animal: [an owl]}")
    assert "became a mapping" in problem.message
    assert [
        problem.place.line for problem in mistakes("prompts: {file: x.txt}\ndefaults: {cfg: 1}")
    ] == [1, 2]


def test_a_mistake_in_a_prompt_file_names_that_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("A fox\n\n${animal} runs\n", "utf-8")
    with pytest.raises(JobFileError) as caught:
        load("prompts: {file: p.txt}", folder=tmp_path)
    (problem,) = caught.value.problems
    assert problem.place == Place(str(tmp_path / "p.txt"), 3, 1)
    assert "${animal} in this prompt has no value" in problem.message


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "holds no prompt"), (b"# only\n\n", "holds no prompt")],
)
def test_a_prompt_file_that_holds_nothing_to_read_is_a_mistake_where_it_is_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(JobFileError, match=said) as caught:
        load("prompts: {file: p.txt}", folder=tmp_path)
    assert caught.value.problems[0].place == Place("job.yaml", 1, 17)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_prompt_file_may_have_any_line_ending_and_a_mark(tmp_path: Path, ending: bytes) -> None:
    (tmp_path / "p.txt").write_bytes(
        b"\xef\xbb\xbf" + ending.join([b"A fox", b"#x", b"An owl", b""])
    )
    job = load("prompts: {file: p.txt}", folder=tmp_path)
    assert [prompt.template for prompt in job.prompts] == ["A fox", "An owl"]


# Secrets.

CANARY = "0fCANARY5e8a11d0c4b7f3e2"


@pytest.mark.parametrize(
    "text",
    [
        "api_key: {}",
        "provider: {{api_key: {}}}",
        "provider: {{api_key: '{}', kindd: x}}",
        "provider: {{kindd: x, api_key: '{}'}}",
        "provider: {{API-KEY: {}}}",
        "provider: {{Authorization: Bearer {}}}",
        "provider: {{token: {}}}",
        "provider: {{api_key_env: {}}}",
        "provider: {{api_key_env: 'sk-{}', kindd: x}}",
        "provider: {{base_url: 'https://u:{}@h'}}",
        "provider: {{kindd: x, base_url: 'https://u:{}@h'}}",
        "provider: {{kind: {{api_key: {}}}}}",
        "provider:\n  api_key: {}: x",
        "provider:\n  api_key:\n    {}: x",
        "provider:\n  api_key: {}\n  api_key: {}",
        "run: {{api_key: {}}}",
        "run: {{poll: {{secret: {}}}}}",
        "defaults: {{api_key: {}}}",
        "defaults: {{key: {}}}",
        "matrix: {{api_key: {}}}",
        "matrix: {{token: {}}}",
        "matrix: {{token: [{}, {}]}}",
        "zip: {{api_key: {}}}",
        "exclude: [{{api_key: {}}}]",
        "include: [{{api_key: {}, seed: x}}]",
        "provider: {{model: m}}\ndefaults: {{api_key: {}}}",
        "provider: {{model: m}}\nmatrix: {{token: {}}}",
    ],
)
def test_a_key_written_into_the_file_never_appears_in_a_message(text: str) -> None:
    text = FOX + text.replace("{}", CANARY).replace("{{", "{").replace("}}", "}")
    assert CANARY in text
    for problem in mistakes(text):
        assert CANARY not in str(problem)
        assert CANARY not in repr(problem)


def test_a_key_in_the_file_says_where_it_belongs() -> None:
    (problem,) = mistakes(FOX + "provider: {api_key: " + CANARY + "}")
    assert problem.message == "a key does not belong in a job file"
    assert "environment variable" in problem.hint


def test_a_key_in_the_place_of_its_name_is_refused() -> None:
    for key in ("c0ffee00c0ffee00c0ffee00c0ffee00", "sk-abc", "a b", "1ABC"):
        (problem,) = mistakes(FOX + f"provider: {{api_key_env: {key}}}")
        assert "the NAME of an environment variable" in problem.message
        assert key not in str(problem)


def test_a_key_on_the_command_line_never_appears_in_a_message() -> None:
    (problem,) = mistakes(FOX, Overrides(defaults=(f"api_key={CANARY}",)))
    assert CANARY not in str(problem)
    with pytest.raises(UsageError) as caught:
        load(FOX, Overrides(defaults=(CANARY,)))
    assert CANARY not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        load(FOX, Overrides(base_url=f"https://u:{CANARY}@h"))
    assert CANARY not in str(caught.value)


# Drawing.


def terminal_column(line: str, index: int) -> int:
    """Return the column of a terminal at which the character at `index` stands, tabs as one."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line[:index])


def test_a_problem_is_drawn_with_its_line_a_caret_and_its_hint() -> None:
    (problem,) = mistakes(FOX + "defaults: {cfg: 7}")
    assert str(problem).splitlines() == [
        (
            f'job.yaml:2:12: "cfg" in defaults is no parameter of {WAN_1_3B} and no ${{cfg}} '
            "stands in a prompt"
        ),
        "  2 | defaults: {cfg: 7}",
        "    |            ^^^",
        '    did you mean "guidance_scale"?',
    ]


def test_carets_stand_under_wide_characters() -> None:
    text = "prompts: [狐狸, {prompt: 狗, 种子: 1}]\n"
    (problem,) = mistakes(text)
    _, shown, carets, *_ = str(problem).splitlines()
    assert terminal_column(shown, shown.index("种")) == carets.index("^")
    assert carets.count("^") == 4


def test_carets_stand_under_what_follows_marks_of_no_width() -> None:
    problem = Problem(Place("f", 1, 4), "wrong", source="e\u0301 x", width=1)
    assert str(problem).splitlines()[-1] == "    |   ^"


def test_a_tab_before_the_place_is_kept_so_that_the_caret_moves_with_it() -> None:
    (problem,) = mistakes('{"prompts":\t["A fox"],\t"sed": 1}')
    shown, carets = str(problem).splitlines()[1:3]
    assert shown.expandtabs().index('"sed"') == carets.expandtabs().index("^")


def test_carets_do_not_run_past_the_line() -> None:
    problem = Problem(Place("f", 10, 3), "wrong", source="abcd", width=99)
    assert str(problem).splitlines()[-1] == "     |   ^^"


def test_a_place_behind_the_line_still_has_a_caret() -> None:
    problem = Problem(Place("f", 1, 6), "wrong", source="a: 1")
    assert str(problem).splitlines()[-1] == "    |     ^"


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (Place("job.yaml"), "job.yaml"),
        (Place("job.yaml", 3), "job.yaml:3"),
        (Place("job.yaml", 3, 7), "job.yaml:3:7"),
    ],
)
def test_a_place_is_written_as_editors_understand_it(place: Place, shown: str) -> None:
    assert str(place) == shown


def test_control_characters_in_a_message_are_spelled_out() -> None:
    (problem,) = mistakes(FOX + '"\\e[31mx\\n": 1')
    assert "\x1b" not in str(problem)
    assert str(problem).count("\n") == str(problem).count("\n  ")


def test_an_error_holds_its_problems_in_the_order_of_the_file() -> None:
    places = [Place("b", 1, 1), Place("a", 2, 5), Place("a", 2, 1), Place("a", 10, 1), Place("a")]
    error = JobFileError([Problem(place, "wrong") for place in places])
    assert [str(problem.place) for problem in error.problems] == [
        "a",
        "a:2:1",
        "a:2:5",
        "a:10:1",
        "b:1:1",
    ]
    assert error.exit_code is ExitCode.INVALID_JOB


# Overrides.


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("seed=7", "seed", 7),
        ("seed = 7", "seed", 7),
        ("seed=010", "seed", 10),
        ("aspect_ratio=9:16", "aspect_ratio", "9:16"),
        ("aspect_ratio='9:16'", "aspect_ratio", "9:16"),
        ("negative_prompt=no", "negative_prompt", "no"),
        ('negative_prompt="7"', "negative_prompt", "7"),
        ("negative_prompt=a=b", "negative_prompt", "a=b"),
        ("negative_prompt=blurry: bad, #1 [x]", "negative_prompt", "blurry: bad, #1 [x]"),
        ("enable_safety_checker=true", "enable_safety_checker", True),
        ("guidance_scale=7.50", "guidance_scale", 7.5),
        ("guidance_scale=5.0", "guidance_scale", 5),
    ],
)
def test_set_is_typed_as_yaml_types_a_scalar(written: str, name: str, value: object) -> None:
    job = load(FOX, Overrides(defaults=(written,)))
    assert job.defaults == {name: value}
    assert type(job.defaults[name]) is type(value)


def test_set_outweighs_defaults_and_yields_to_axes_and_own_values() -> None:
    text = "defaults: {seed: 1, shift: 3}\nprompts: [A fox, {prompt: An owl, seed: 4}]"
    job = load(text, Overrides(defaults=("seed=2", "seed=9")))
    assert [task.params["seed"] for task in expand(job)] == [9, 4]
    assert job.defaults["shift"] == 3
    grid = load(FOX + "matrix: {seed: 1-2}", Overrides(defaults=("seed=9",)))
    assert [task.params["seed"] for task in expand(grid)] == [1, 2]


def test_set_changes_defaults_and_nothing_that_shares_their_anchor() -> None:
    text = FOX + "defaults: &same {shift: 3}\ninclude: [*same]"
    job = load(text, Overrides(defaults=("shift=8",)))
    assert job.defaults == {"shift": 8}
    assert job.include == ({"shift": 3},)


@pytest.mark.parametrize("empty", ["defaults:\n", "defaults: {}\n", "defaults: ~\n"])
def test_set_fills_defaults_that_are_empty(empty: str) -> None:
    assert load(FOX + empty, Overrides(defaults=("seed=9",))).defaults == {"seed": 9}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("cfg=7", '--set cfg: "cfg" in defaults is no parameter(.|\n)*guidance_scale'),
        ("seed=x", "--set seed: seed takes a whole number, not the text 'x'"),
        ("seed=", "--set seed: .*not nothing"),
        ("model=x", "--set model: the model is not a parameter"),
    ],
)
def test_a_set_that_does_not_fit_is_a_mistake_placed_on_the_command_line(
    written: str, said: str
) -> None:
    with pytest.raises(JobFileError, match=said):
        load(FOX, Overrides(defaults=(written,)))


@pytest.mark.parametrize("written", ["", "seed", "=7", " = 7", "negative_prompt='a' b", "x='a"])
def test_a_set_without_key_or_value_is_a_usage_error(written: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        load(FOX, Overrides(defaults=(written,)))


AIMLAPI = FOX + "provider: {kind: aimlapi, base_url: https://x.example, api_key_env: MY_KEY}\n"


def test_a_rehearsal_has_a_directory_of_its_own_and_no_address_and_key_of_the_real_one() -> None:
    job = load(AIMLAPI, Overrides(provider="sandbox"))
    assert job.provider == ProviderSettings("sandbox")
    assert job.output.dir == Path("output/job-sandbox")


@pytest.mark.parametrize(
    ("folder", "rehearsed"),
    [
        ("out/", "out-sandbox"),
        ("a/b", "a/b-sandbox"),
        (".", "sandbox"),
        ("..", "../sandbox"),
        ("/x/${job}", "/x/job-sandbox"),
    ],
)
def test_a_rehearsal_goes_beside_the_directory_that_is_written(folder: str, rehearsed: str) -> None:
    job = load(AIMLAPI + f"output: {{dir: '{folder}'}}", Overrides(provider="sandbox"))
    assert job.output.dir == Path(rehearsed)


def test_the_other_way_round_has_another_directory_too_but_is_no_rehearsal() -> None:
    job = load(FOX, Overrides(provider="aimlapi"))
    assert job.output.dir == Path("output/job-aimlapi")


def test_the_provider_the_file_names_already_changes_nothing() -> None:
    assert load(AIMLAPI, Overrides(provider="aimlapi")) == load(AIMLAPI)
    assert load(FOX, Overrides(provider="sandbox")) == load(FOX)


def test_an_output_that_is_asked_for_is_taken_as_it_is() -> None:
    overrides = Overrides(provider="sandbox", output=Path("here"))
    assert load(AIMLAPI, overrides).output.dir == Path("here")


def test_a_rehearsal_s_tasks_have_ids_of_their_own() -> None:
    (real,) = expand(load(AIMLAPI))
    (rehearsed,) = expand(load(AIMLAPI, Overrides(provider="sandbox")))
    assert real.params == rehearsed.params
    assert real.task_id != rehearsed.task_id


def test_a_base_url_and_a_concurrency_are_laid_over_the_file_s() -> None:
    job = load(AIMLAPI, Overrides(base_url="http://127.0.0.1:8000/", concurrency=3))
    assert job.provider.base_url == "http://127.0.0.1:8000"
    assert job.provider.api_key_env == "MY_KEY"
    assert job.run.concurrency == 3
    bare = load(FOX, Overrides(base_url="https://proxy.example/aiml"))
    assert bare.provider.base_url == "https://proxy.example/aiml"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (Overrides(base_url="http://far.example"), "--base-url is http: the key would travel"),
        (Overrides(base_url="far.example"), "--base-url starts with https://"),
        (Overrides(provider="AIMLAPI"), 'did you mean "aimlapi"'),
        (Overrides(provider="openai"), "known here: aimlapi, sandbox"),
        (Overrides(concurrency=0), "concurrency is 1 to 10000, not 0"),
        (Overrides(concurrency=-4), "concurrency is 1 to 10000, not -4"),
    ],
)
def test_an_override_that_makes_no_sense_is_a_usage_error(overrides: Overrides, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load(FOX, overrides)
    assert caught.value.exit_code is ExitCode.USAGE


# Files.


def test_a_file_is_loaded_by_its_path_and_named_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "night sweep (2).yaml"
    path.write_text(FOX, "utf-8")
    job = load_job(path)
    assert (job.name, job.source) == ("night-sweep--2", FOX)
    assert load_job(str(path)) == job


def test_a_prompt_file_is_looked_for_beside_the_job_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs" / "lists").mkdir(parents=True)
    (tmp_path / "jobs" / "lists" / "p.txt").write_text("A fox\n", "utf-8")
    (tmp_path / "jobs" / "j.yaml").write_text("prompts: {file: lists/p.txt}", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_job("jobs/j.yaml").prompts == (Prompt("A fox"),)
    monkeypatch.chdir("/")
    assert load_job(tmp_path / "jobs" / "j.yaml").prompts == (Prompt("A fox"),)


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.txt").write_text("A fox\n", "utf-8")
    job = load("prompts: {file: ~/p.txt}\noutput: {dir: ~/videos}")
    assert job.output.dir == tmp_path / "videos"
    assert job.prompts == (Prompt("A fox"),)


def test_a_missing_file_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nope\.yaml: No such file or directory"):
        load_job(tmp_path / "nope.yaml")


def test_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        load_job(tmp_path)


def test_an_encoding_that_cannot_be_read_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes("version: 1\nprompts: [Füchse]\n".encode("latin-1"))
    with pytest.raises(
        JobFileError, match=r"job\.yaml:2: is not UTF-8 text here(.|\n)*save the file"
    ):
        load_job(path)


@pytest.mark.parametrize("name", ["quickstart", "overnight-sweep", "seed-guidance-grid"])
def test_the_jobs_that_come_with_the_project_load(name: str) -> None:
    job = load_job(Path(__file__).parents[1] / "jobs" / f"{name}.yaml")
    assert not job.warnings
    assert count(job) == {"quickstart": 1, "overnight-sweep": 200, "seed-guidance-grid": 29}[name]


# Warnings.


def test_a_prompt_that_stands_there_twice_is_made_once_with_a_warning() -> None:
    job = load("prompts:\n- A fox\n- An owl\n- A fox\n")
    assert [prompt.template for prompt in job.prompts] == ["A fox", "An owl"]
    (warning,) = job.warnings
    assert warning.startswith("job.yaml:4:3: repeats the prompt of line 2")


def test_a_prompt_that_an_alias_repeats_is_made_once_too() -> None:
    job = load("prompts:\n- &fox {prompt: A fox, seed: 7}\n- *fox\n")
    assert job.prompts == (Prompt("A fox", None, {"seed": 7}),)
    assert len(job.warnings) == 1


@pytest.mark.parametrize("model", ["wan/v2.1/1.3b/text-to-video", "somebody/else"])
def test_a_row_with_a_prompt_may_name_it(model: str) -> None:
    head = f"provider: {{model: {model}}}\ndefaults: {{seed: 3}}\n"
    (named,) = expand(load(f"{head}include: [{{prompt: An owl, id: owl}}]"))
    (listed,) = expand(load(f"{head}prompts: [{{prompt: An owl, id: owl}}]"))
    assert named == listed
    assert named.prompt_id == "owl"


@pytest.mark.parametrize(
    "job",
    [
        "include: [{prompt: '${id}', id: 7}]",
        "include: [{prompt: An owl, id: 7}]\nmodel_parameters: {id: integer}",
    ],
)
def test_an_id_that_is_a_value_of_the_job_s_own_stays_one(job: str) -> None:
    (task,) = expand(load(job))
    assert task.prompt_id is None
    assert {**task.params, **task.variables}["id"] == 7


def test_the_same_text_with_other_values_is_another_prompt() -> None:
    assert len(load("prompts: [A fox, {prompt: A fox, seed: 7}]").prompts) == 2
    job = load("prompts: [{prompt: '${x}', x: true}, {prompt: '${x}', x: 1}]")
    assert [task.prompt for task in expand(job)] == ["true", "1"]
    assert job.warnings == ()


@pytest.mark.parametrize(
    ("rest", "warned"),
    [
        ("matrix: {seed: 1-4}\nexclude: [{seed: 5}]", True),
        ("matrix: {seed: 1-4}\nexclude: [{seed: 4}]", False),
        ("defaults: {shift: 3}\nmatrix: {seed: 1-2}\nexclude: [{shift: 3, seed: 1}]", False),
        ("defaults: {shift: 3}\nexclude: [{shift: 4}]", True),
        ("matrix: {seed: {random: 2}}\nexclude: [{seed: 4}]", True),
    ],
)
def test_an_exclude_that_matches_nothing_is_warned_of(rest: str, *, warned: bool) -> None:
    warnings = load(FOX + rest).warnings
    assert warnings == (("exclude row 1 matches nothing",) if warned else ())


def test_prompt_expansion_with_several_seeds_is_warned_of() -> None:
    rest = "defaults: {enable_prompt_expansion: true}\nmatrix: {seed: 1-2}"
    assert "seeds cannot be compared" in load(FOX + rest).warnings[0]
    assert not load(FOX + rest.replace("1-2", "[1]")).warnings


def test_a_key_that_begins_with_x_is_a_place_for_anchors_and_is_not_read() -> None:
    shared = "x-shared: &shared {shift: 3, inference_steps: 20}\nx-notes: [for Anna]\n"
    job = load(shared + FOX + "defaults: {<<: *shared, shift: 5}\n")
    assert job.defaults == {"shift": 5, "inference_steps": 20}
    assert job.warnings == ()


# Whatever is written.


@given(
    st.dictionaries(
        st.sampled_from([*JobDocument.model_fields, "notify", "", "<<"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=8)
            | st.sampled_from(["1-4", "${x}", "16:9", "auto", "1s-2s", "sandbox", "none"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "seed",
                            "prompt",
                            "id",
                            "file",
                            "random",
                            "per",
                            "poll",
                            "dir",
                            "name",
                            "kind",
                            "shift",
                            "x",
                            "timeout",
                            "base_url",
                            "api_key",
                            "max_usd",
                            "model",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=10,
        ),
        max_size=6,
    )
)
@example({"prompts": [{"prompt": "${seed}"}], "provider": {"model": "m"}})
@example({"prompts": ["${prompt}"]})
@example({"prompts": ["a"], "matrix": {"seed": "100000000000000000000-100000000000000000001"}})
@example({"prompts": ["a"], "include": [{"prompt": []}]})
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_is_a_job_that_expands_or_mistakes(document: dict[str, object]) -> None:
    text = json.dumps(document)
    try:
        job = load(text)
    except JobFileError:
        return
    for task in itertools.islice(expand(job), 50):
        assert json.loads(task.body)["prompt"] == task.prompt


_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$\ufffe\uffff")
    | st.sampled_from('\x85\u2028\u2029\t\n\\"\N{FOX FACE}#:'),
    max_size=12,
).map(lambda text: f"A {text} fox")
_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "shift": st.floats(0, 100) | st.integers(0, 100),
        "aspect_ratio": st.sampled_from(["16:9", "9:16"]),
        "enable_safety_checker": st.booleans(),
        "negative_prompt": _TEXT,
    },
)


@given(
    st.fixed_dictionaries(
        {
            "version": st.just(1),
            "prompts": st.lists(
                _TEXT | st.builds(lambda text, own: {"prompt": text, **own}, _TEXT, _VALUES),
                min_size=1,
                max_size=3,
            ),
            "defaults": _VALUES,
            "matrix": st.just({"guidance_scale": "3-9 (+2)", "sampler": ["unipc", "dpm+"]}),
            "run": st.just({"stop_at": "07:30", "rate_limit": None}),
        }
    ),
    st.fixed_dictionaries(
        {"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 2, "\t"])}
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_job_that_json_wrote_is_the_job_that_yaml_wrote(
    document: dict[str, Any], form: dict[str, Any]
) -> None:
    texts = (json.dumps(document, **form), yaml.safe_dump(document, sort_keys=False))
    # Their places differ, and so may what is said of them.
    written, same = (replace(load(text), source="", warnings=()) for text in texts)
    assert written == same
    prompts = [item if isinstance(item, str) else item["prompt"] for item in document["prompts"]]
    assert {prompt.template for prompt in written.prompts} == {text.strip() for text in prompts}


def test_did_you_mean_knows_other_tools_names() -> None:
    known = {name for table in TABLES.values() for name in table}
    known |= {*JobDocument.model_fields, "concurrency", "kind", "model"}
    assert set(ALIASES.values()) <= known
    assert did_you_mean("CFG", known) == 'did you mean "guidance_scale"?'
    assert did_you_mean("sede", ["seed", "shift"]) == 'did you mean "seed"?'
    assert did_you_mean("zzz", ["b", "a"]) == "known here: a, b"
    assert did_you_mean("zzz", []) == ""


def test_a_column_of_zip_may_repeat_a_value_and_a_row_may_not() -> None:
    job = load(FOX + "zip: {inference_steps: [20, 20, 40], shift: [3, 5, 3], seed: 1-3}")
    rows = [(task.params["inference_steps"], task.params["shift"]) for task in expand(job)]
    assert rows == [(20, 3), (20, 5), (40, 3)]
    assert count(load(FOX + "zip: {shift: [3, 3], seed: {random: 2}}")) == 2
    for axes in ("{shift: [3, 5, 3.0]}", "{shift: [3, 5, 3], guidance_scale: [1, 2, 1]}"):
        (problem,) = mistakes(FOX + f"zip: {axes}")
        assert problem.message == "row 3 of zip is the same as row 1"


@pytest.mark.parametrize(
    ("rest", "changes"),
    [
        ("matrix: {seed: 1-2}", False),
        ("zip: {seed: 1-2}", False),
        ("matrix: {shift: [3]}", True),
        ("matrix: {seed: 1-2}\ninclude: [{shift: 3}]", True),
        ("matrix: {seed: 1-2}\ninclude: [{seed: 3}]", False),
        ("matrix: {seed: 1-2}\ninclude: [{prompt: An owl}]", True),
        ("include: [{prompt: An owl, seed: 3}]", True),
    ],
)
def test_a_default_of_the_command_line_that_no_video_has_is_pointed_out(
    rest: str, *, changes: bool
) -> None:
    warnings = load(FOX + rest, Overrides(defaults=("seed=9", "seed = 10"))).warnings
    said = "--set seed changes nothing: seed is an axis, which is stronger than defaults"
    assert warnings == (() if changes else (said,))


def test_a_default_of_the_command_line_against_values_of_every_prompt_is_pointed_out() -> None:
    pinned = "prompts: [{prompt: A fox, seed: 1}, {prompt: An owl, seed: 2}]\n"
    (warning,) = load(pinned, Overrides(defaults=("seed=9",))).warnings
    assert warning.startswith("--set seed changes nothing: every prompt has a value of its own")
    assert not load(pinned.replace("seed: 1", "shift: 3"), Overrides(defaults=("seed=9",))).warnings


@pytest.mark.parametrize("name", ["Füchse", "Fu\u0308chse", "狐", "лисы 2", "_a.b-c d", "हिन्दी"])
def test_a_job_may_be_named_in_any_script(name: str) -> None:
    assert load(FOX + f"name: {name}").name == name


@pytest.mark.parametrize("name", ["a/b", "a\\b", "-a", ".a", "a:b", '"a\\tb"', "…", "a?", "'*'"])
def test_a_job_s_name_is_a_folder_s(name: str) -> None:
    (problem,) = mistakes(FOX + f"name: {name}")
    assert "expected letters, digits" in problem.message


def test_spaces_around_a_prompt_do_not_count_in_whatever_form_it_stands(tmp_path: Path) -> None:
    forms = {
        "a.txt": "  A fox \n",
        "a.csv": 'prompt,seed\n"  A fox ",\n',
        "a.jsonl": '"  A fox\\n"\n',
        "b.jsonl": '{"prompt": " A fox ", "seed": null, "id": null}\n',
        "a.yaml": "- ' A fox '\n",
        "b.yaml": "- prompt: |\n    A fox\n",
    }
    ids = set()
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        ids |= {task.task_id for task in expand(load(f"prompts: {{file: {name}}}", None, tmp_path))}
    for text in ("prompts: ['A fox ']", "prompts: [{prompt: ' A fox'}]", FOX):
        ids |= {task.task_id for task in expand(load(text))}
    (task_id,) = ids
    rows = "include: [{prompt: ' A fox '}]"
    assert [task.prompt for task in expand(load(rows))] == ["A fox"]
    assert {task.task_id for task in expand(load(rows))} == {task_id}
