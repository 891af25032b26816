"""The measure of expansion: a row built, written as JSON and hashed, in a bare loop.

`python -m benchmarks.scripts.rows TASKS`.
"""

import hashlib
import json
import sys

from benchmarks.scripts.expand import PROMPT

MODEL = "wan/v2.1/1.3b/text-to-video"


def main() -> None:
    for number in range(int(sys.argv[1])):
        row = {
            "model": MODEL,
            "seed": number,
            "guidance_scale": number % 10,
            "shift": number % 7,
            "prompt": PROMPT,
        }
        hashlib.sha256(json.dumps(row).encode()).hexdigest()


if __name__ == "__main__":
    main()
