"""The sandbox: a local server that speaks the video API's wire format, for free and on purpose.

Imports aiohttp's server; a command that needs no sandbox should not import this package.
"""

from batchgen.sandbox.faults import FaultPlan
from batchgen.sandbox.generations import FAIL_WORD, Account, SandboxSettings
from batchgen.sandbox.journal import JournalError
from batchgen.sandbox.planfile import load_plan
from batchgen.sandbox.server import Render, Sandbox, running
from batchgen.sandbox.wire import Clock

__all__ = [
    "FAIL_WORD",
    "Account",
    "Clock",
    "FaultPlan",
    "JournalError",
    "Render",
    "Sandbox",
    "SandboxSettings",
    "load_plan",
    "running",
]
