#!/usr/bin/env bash
# webdataset reads two videos as one sample when their names differ after the first dot only.
#
# A sample's key ends at the first dot of a name, so fox_g5.5_s1.mp4 and fox_g5.5_s2.mp4 are one sample
# with two fields, "5_s1.mp4" and "5_s2.mp4", and neither is found as "mp4". So batchgen gives names of
# new videos no dot but the last.
#
# Makes a temporary folder, installs webdataset there, and exits 0 if it still does so, 1 if not.
set -euo pipefail
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -q webdataset==1.0.2
cd "$home"
mkdir clips
touch clips/fox_g5_s1.mp4 clips/fox_g5_s2.mp4 clips/fox_g5.5_s1.mp4 clips/fox_g5.5_s2.mp4
tar --sort=name -cf clips.tar -C clips .
"$home/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import webdataset

print(f"webdataset {version('webdataset')}")
samples = [
    (sample["__key__"], sorted(name for name in sample if not name.startswith("__")))
    for sample in webdataset.WebDataset("clips.tar", shardshuffle=False)
]
for key, fields in samples:
    print(f"{key}: {fields}")
merged = len(samples) == 3 and samples[0][1] == ["5_s1.mp4", "5_s2.mp4"]
print("as found: 4 videos are 3 samples" if merged else "changed")
sys.exit(not merged)
PYTHON
