"""The .env of the working directory: what it holds, and what its bytes are read as.

Nothing of it enters the process's environment: a variable has an effect only where it is asked for
by its name. `environment` says which are.
"""

import codecs
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

PATH: Final = ".env"
MAX_BYTES: Final = 1 << 20
_BYTE_ORDER_MARKS: Final = {
    # Longest first: that of UTF-32 begins with that of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OPTIONS: Final = {
    "BATCHGEN_BASE_URL": "base_url",
    "BATCHGEN_CONCURRENCY": "concurrency",
    "BATCHGEN_DISPLAY": "display",
    "BATCHGEN_OUTPUT": "output",
    "BATCHGEN_PROVIDER": "provider",
    "BATCHGEN_SANDBOX_KEY": "key",
}
"""The options of verbs that the file may set, by the name of the variable."""


class EnvFile(NamedTuple):
    """A .env file.

    Attributes:
        values: What it holds, by name; empty values are left out.
        complaint: What is wrong with it, a sentence without its content; empty where nothing is.
    """

    values: Mapping[str, str] = {}
    complaint: str = ""

    @property
    def options(self) -> dict[str, str]:
        """Return the options that it sets, by their names in click."""
        return {
            option: self.values[name] for name, option in OPTIONS.items() if name in self.values
        }


def read_env_file(path: str = PATH) -> EnvFile:
    """Read the file. No trouble with it may stop a command, so nothing is raised."""
    if not os.path.isfile(path):  # noqa: PTH113  # pathlib takes longer to import than the rest
        return EnvFile()
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        return EnvFile(complaint=f"cannot be read: {error.strerror}")
    if len(raw) > MAX_BYTES:
        return EnvFile(complaint=f"is not read: it is larger than {MAX_BYTES >> 20} MiB")
    return parse(raw)


def parse(raw: bytes) -> EnvFile:
    """Take the variables out of a file's bytes. Never raises.

    `${NAME}` stays as it is written: the environment may hold secrets, and the file may name an
    address.
    """
    from io import StringIO

    from dotenv import dotenv_values

    text, complaint = _decoded(raw)
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    given = {name: value for name, value in values.items() if value}
    sound = {name: value for name, value in given.items() if "\0" not in name + value}
    if "\0" in text:
        complaint = "holds NUL characters, and the lines with them are not used: save it as UTF-8"
    return EnvFile(sound, complaint)


def _decoded(raw: bytes) -> tuple[str, str]:
    """Return the text and what is wrong with it. A byte order mark is no part of the first name."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "")
    try:
        return raw.decode(encoding or "utf-8"), ""
    except UnicodeDecodeError as error:
        if encoding:
            return "", f"is not read: it begins as {encoding.upper()} and goes on as something else"
        line = raw.count(b"\n", 0, error.start) + 1
        # Names and keys are ASCII, and the line at fault may be another program's.
        return raw.decode("latin-1"), f"is not UTF-8 (line {line}), and is read as Latin-1"
