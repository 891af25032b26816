"""A job of some shape, expanded and dropped: `python -m benchmarks.scripts.expand SHAPE TASKS`."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from batchgen.expansion import expand
from batchgen.job import Axis, Derived, Job, Output, Prompt

PROMPT: Final = "A red fox trots through fresh snow: slow dolly-in, morning light"


def _grid(tasks: int) -> Job:
    return _job(Prompt(PROMPT), matrix=_axes(tasks))


def _prompts(tasks: int) -> Job:
    prompts = (Prompt(f"{PROMPT}, number {number}") for number in range(tasks // 10))
    return _job(*prompts, matrix=(Axis("seed", Derived(10)),))


def _variables(tasks: int) -> Job:
    animals = Axis("animal", ("a fox", "an owl"))
    return _job(Prompt(f"${{animal}}, {PROMPT}"), matrix=(animals, *_axes(tasks // 2)))


def _axes(tasks: int) -> tuple[Axis, ...]:
    ten = tuple(range(1, 11))
    return Axis("seed", tuple(range(tasks // 100))), Axis("guidance_scale", ten), Axis("shift", ten)


def _job(*prompts: Prompt, matrix: tuple[Axis, ...]) -> Job:
    return Job("job", prompts, Output(Path("out")), matrix=matrix)


SHAPES: Final[Mapping[str, Callable[[int], Job]]] = {
    "one prompt, three axes": _grid,
    "many prompts, ten seeds each": _prompts,
    "a variable in the prompt": _variables,
}


def main() -> None:
    print(sum(1 for _ in expand(SHAPES[sys.argv[1]](int(sys.argv[2])))))


if __name__ == "__main__":
    main()
