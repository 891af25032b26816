#!/usr/bin/env bash
# datasets' `videofolder` drops rows and columns when one file's name holds the word "train".
#
# Files are sorted into splits by words in their names before anything else. One name with such a word
# makes a split of that file alone; the others and metadata.jsonl, which have none, are in no split.
# So batchgen gives new videos no such word of its own, and writes a dataset card that names the files.
#
# Makes a temporary folder, installs datasets there, and exits 0 if it still does so, 1 if not.
set -euo pipefail
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -q datasets==5.2.0
cd "$home"
HF_HOME="$home/hf" HF_HUB_OFFLINE=1 "$home/venv/bin/python" - <<'PYTHON'
import json
import pathlib
import sys

import datasets

datasets.disable_progress_bars()


def seen(*names):
    """Return how many rows are read of a folder with these clips, and which columns."""
    folder = pathlib.Path(f"clips-{len(list(pathlib.Path().glob('clips-*')))}")
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as lines:
        for name in names:
            (folder / name).touch()
            lines.write(json.dumps({"file_name": name, "prompt": name}) + "\n")
    splits = datasets.load_dataset("videofolder", data_dir=str(folder))
    return {split: (rows.num_rows, rows.column_names) for split, rows in splits.items()}


print(f"datasets {datasets.__version__}")
without = seen("1_a-fox.mp4", "2_a-tram-at-dusk.mp4", "3_an-owl.mp4")
print(f"fox, tram, owl:  {without}")
with_one = seen("1_a-fox.mp4", "2_a-train-at-dusk.mp4", "3_an-owl.mp4")
print(f"fox, train, owl: {with_one}")
dropped = without["train"] == (3, ["video", "prompt"]) and with_one == {"train": (1, ["video"])}
print("as found: 2 of 3 rows and the prompts are gone" if dropped else "changed")
sys.exit(not dropped)
PYTHON
