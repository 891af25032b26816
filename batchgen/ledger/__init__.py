"""What has happened, durably: SQLite behind one writer thread with group commit.

The ledger is the only state of a run. A coroutine that awaits one of its steps goes on when the
step is on disk, so a kill at any point leaves every step that was waited for.
"""
