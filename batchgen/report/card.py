"""The dataset card: which files of a run directory are one dataset, in one split."""

from pathlib import Path
from typing import Final

from batchgen.rundir import replace_file
from batchgen.terminal import printable

_MARK: Final = "<!-- batchgen writes this file anew; without this line it leaves yours alone. -->"
_CARD: Final = """\
---
task_categories:
- text-to-video
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - videos/*.mp4
---
{mark}

# {name}

Videos made by batchgen. `datasets.load_dataset` reads this folder as one split: a row for each
video that `metadata.jsonl` lists, with its prompt, its parameters and what happened to it.
`manifest.jsonl` and `manifest.csv` have a row for each task, also those without a video;
`index.html` is a page to look at them.
"""
"""In the form that the Hugging Face Hub and `datasets` read. Without it they sort the files into
splits by the words in their names."""


def write_card(folder: Path, name: str) -> None:
    """Write README.md into a run directory; one that is not ours stays as it is. Blocks.

    Args:
        folder: The run directory.
        name: The job's name.

    Raises:
        OSError: It cannot be read or written; the old one stays.
    """
    path = folder / "README.md"
    text = _CARD.format(mark=_MARK, name=printable(name))
    if path.is_file():
        there = path.read_text("utf-8", "replace")
        if there == text or _MARK not in there:
            return
    elif path.exists():
        return
    replace_file(path, lambda file: print(text, end="", file=file))
