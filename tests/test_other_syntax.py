"""Prompt syntax of other programs is pointed out; prose that looks a little like it passes."""

from pathlib import Path
from typing import Any

import pytest

from batchgen.job import Axis, Job, Output, Prompt
from batchgen.lint import warnings_of

JOBS = Path(__file__).parents[1] / "jobs"


def warnings(*prompts: str, **job: Any) -> list[str]:
    return warnings_of(Job("j", tuple(map(Prompt, prompts)), Output(Path("o")), **job))


@pytest.mark.parametrize(
    ("prompt", "found", "advice"),
    [
        ("a {red|blue} fox", "{red|blue}", "write ${name} instead"),
        ("a {red|{dark|light} blue} fox", "{dark|light}", "under matrix"),
        ("a {2$$red|blue|green} fox", "{2$$red|blue|green}", "under matrix"),
        ("a {|very} red fox", "{|very}", "under matrix"),
        ("a {red, green} fox", "{red, green}", "under matrix"),
        ("a __color__ fox", "__color__", "write ${color} instead"),
        ("a __colors/warm-*__ fox", "__colors/warm-*__", "write ${colors_warm} instead"),
        ("a fox, <wildcard:color>", "<wildcard:color>", "write ${name} instead"),
        ("a <random:red,blue> fox", "<random:red,blue>", "write ${name} instead"),
        ("a fox <lora:wan_style:0.8>", "<lora:wan_style:0.8>", "nothing is loaded by it"),
        ("a fox<LoRA:x:1>", "<LoRA:x:1>", "nothing is loaded by it"),
        ("a fox --ar 16:9", "--ar 16:9", "write aspect_ratio: 16:9 under defaults"),
        ("a fox --aspect 9:16 --v 6", "--aspect 9:16", "write aspect_ratio: 9:16"),
        ("a fox --seed=5", "--seed=5", "write seed: 5"),
        ("a fox --v 6.1", "--v 6.1", "no flag is read in a prompt"),
        ("a fox --steps 30", "--steps 30", "write inference_steps: 30"),
        ("a fox --dur 5 --rs 720p", "--dur 5", "no flag is read"),
        ("a fox --no text, people", "--no text, people", "write negative_prompt: text, people"),
        ("a fox --no text --tile", "--no text", "write negative_prompt: text"),
        ("a fox --style raw", "--style raw", "no flag is read"),
        ("Negative prompt: blurry", "Negative prompt: blurry", "write it as negative_prompt"),
        (
            "a fox\nNegative prompt: text\nSteps: 20, Seed: 5",
            "Steps: 20, Seed: 5",
            "inference_steps",
        ),
        ("a (red:1.3) fox", "(red:1.3)", "say in words what matters"),
        ("(a red, furry fox:.7)", "(a red, furry fox:.7)", "say in words"),
        ("a ((red)) fox", "((red))", "say in words"),
        ("hot::2 dog", "hot::2", "say in words"),
        ("a [dog:fox:0.5]", "[dog:fox:0.5]", "say in words"),
        ("a fox [in snow:0.25]", "[in snow:0.25]", "say in words"),
        ("a [cow|horse] in a field", "[cow|horse]", "write ${name} instead"),
        ("a fox, BREAK a hare", "BREAK", "nothing is cut there"),
        ("a fox\nBREAK\na hare", "BREAK", "nothing is cut there"),
    ],
)
def test_syntax_of_another_program_is_warned_of(prompt: str, found: str, advice: str) -> None:
    (warning,) = [
        text for text in warnings(prompt) if text.startswith(f"{found} in a prompt is sent")
    ]
    assert advice in warning


@pytest.mark.parametrize(
    "prompt",
    [
        "A model railway (1:50), a screen of 16:9, (at 12:30) sharp; a verse (John 3:16)",
        "Lens (35mm, f/1.4), zoom (2.5x), mood (calm: 2 of 5) and (light: 1.5 stops)",
        "[00:00-00:05] wide shot [00:05-00:10] close-up [0:12.5] [EXT. STREET - NIGHT]",
        "[Scene: night] [Camera: dolly in] [wide | slow]",
        "A fox -- red as rust -- runs; dogs --three of them-- follow",
        "He shouts --no one answers. He runs --style is all he has!",
        "Subtitles: 'git log --oneline', then rm -rf; --verbose",
        '{"scene": "a fox", "camera": {"move": "dolly", "speed": [1, 2]}}',
        '{"shots": ["a | b"], "n": 5}',
        "A form: name ____ age __ and _emphasis_ and snake_case__here__",
        "A heart <3, x < y > z, <br>, <a fox>, 3 :: 4, a sign: '::'",
        "std::vector, ::before, half-life::",
        "A sign reads BREAK GLASS; they BREAK in; A BREAK, A PAUSE; BREAKFAST, break",
        "A set { }, a cup {x}, a brace { and a pipe |",
        "Markdown: __two words__, *one*, **two** and a [link](https://a.b/c?d=1)",
        "Text (in (nested) brackets) (a) ((",
        "A negative of a film; prompt: a stage whisper. Steps: stone, 20 of them, wet",
        "$${a} ${{b}} costs $5 | or {less",
    ],
)
def test_prose_passes(prompt: str) -> None:
    assert [text for text in warnings(prompt) if "is sent as it stands" in text] == []


@pytest.mark.parametrize("file", sorted(JOBS.glob("*.txt")), ids=lambda path: path.name)
def test_our_own_prompts_pass(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert warnings(*filter(None, lines)) == []


def test_each_notation_is_said_once_with_its_first_place_and_how_many_more() -> None:
    said = warnings("{a|b}", "{c|d} {e|f}", "an owl", "{g|h} --ar 1:1", defaults={"shift": 5})
    assert [text.split(" is sent")[0] for text in said] == [
        "{a|b} in a prompt (and in 2 more)",
        "--ar 1:1 in a prompt",
    ]


def test_values_are_read_as_well_for_some_are_filled_into_prompts() -> None:
    said = warnings(
        "${animal}",
        matrix=(Axis("animal", ("an owl", "a {red|blue} fox", 5)),),
        defaults={"negative_prompt": "(worst quality:1.4), text", "seed": 7},
        include=({"prompt": "a fox, BREAK, a hare", "shift": 5}, {"animal": "__animal__"}),
    )
    assert [text.split(" is sent")[0] for text in said] == [
        "BREAK in a prompt",
        "(worst quality:1.4) in negative_prompt",
        "{red|blue} in animal",
        "__animal__ in animal",
    ]


@pytest.mark.parametrize(
    "unit", ["{a|", "{a,", "__a", "<lora:", "(a:", "((", "[a:", "[a|", "a::", "--no "]
)
def test_a_long_text_of_notations_that_never_end_is_read_in_no_time(unit: str) -> None:
    for text in (unit * 50_000, unit + unit[-1] * 100_000, unit + " " * 100_000 + "x."):
        warnings(text)
