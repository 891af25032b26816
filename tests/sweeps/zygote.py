"""A warm process that forks one child a run: 10 ms, where a start from nothing takes a second.

Reads orders from standard input and writes how each run ended to standard output, a JSON object a
line. It stays single-threaded, so that a fork copies a whole process.
"""

import gc
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Final

from batchgen.report.gallery import _template
from tests.sweeps.child import Order, carry_out
from tests.sweeps.points import Plan

BROKEN: Final = 70
"""Exit status of a child that could not even say how its run ended."""


def main() -> None:
    """Serve orders until there are no more."""
    _template()  # compiled once, for all children
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        plan = order.pop("plan")
        plan["only"] = tuple(plan["only"])
        for name in ("directory", "log"):
            order[name] = order[name] and Path(order[name])
        print(json.dumps(_forked(Order(plan=Plan(**plan), **order))), flush=True)


def _forked(order: Order) -> dict[str, Any]:
    assert threading.active_count() == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            carry_out(order, writing)
        except BaseException:  # noqa: BLE001  # the process ends here, whatever it is
            traceback.print_exc()
            os._exit(BROKEN)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        words = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    end: dict[str, Any] = {"status": os.waitstatus_to_exitcode(status)}
    for word in words:
        end |= json.loads(word)
    return end


if __name__ == "__main__":
    main()
