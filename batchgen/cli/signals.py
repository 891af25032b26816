"""Which signals a command obeys."""

import signal
from collections.abc import Sequence


def obeyed(*signals: signal.Signals) -> Sequence[signal.Signals]:
    """Return the signals that whoever started this process lets through.

    A signal that is ignored from the start stays ignored: `nohup` asks for that with SIGHUP, a
    shell without job control with SIGINT for what it starts in the background.
    """
    return [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]
