"""The click that commands are made of: rich-click where a person looks, plain click elsewhere.

Scripts, CI and shell completion ask for help and usage errors too, and rich takes longer to import
than all else that these need.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or sys.stdout.isatty() or sys.stderr.isatty():
    import rich_click as click
    from rich_click import RichGroup as Group
else:
    import click
    from click import Group

__all__ = ["Group", "click"]
