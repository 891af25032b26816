#!/usr/bin/env bash
# datasets' `videofolder` cuts 5.5 to 5 without a word.
#
# It takes the types of columns from the first 10 MB of metadata.jsonl. A number with decimals that
# comes later in a column of whole numbers so far is cut to a whole number. The `json` loader refuses
# the same file. So batchgen writes a parameter of type number as a float in every row.
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
folder = pathlib.Path("clips")
folder.mkdir()
scales = [5] * 11 + [5.5]
with (folder / "metadata.jsonl").open("w") as lines:
    for number, scale in enumerate(scales):
        (folder / f"{number:02}.mp4").touch()
        row = {"file_name": f"{number:02}.mp4", "scale": scale, "note": "x" * 1_000_000}
        lines.write(json.dumps(row) + "\n")
rows = datasets.load_dataset("videofolder", data_dir=str(folder), split="train")
read = rows.remove_columns("video")["scale"][:]
print(f"datasets {datasets.__version__}")
print(f"written: {scales}")
print(f"read:    {read}")
try:
    datasets.load_dataset("json", data_files=str(folder / "metadata.jsonl"), split="train")
    refused = "read without an error"
except datasets.exceptions.DatasetGenerationError as error:
    refused = f"refused: {error.__cause__}"
print(f"the json loader, same file: {refused}")
cut = read == [5] * 12
print("as found: 5.5 became 5" if cut else "changed: it no longer cuts 5.5 to 5")
sys.exit(not cut)
PYTHON
