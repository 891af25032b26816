"""The campaign: whole nights of real processes, with faults and SIGKILLs, held to the invariants.

`python -m tests.campaign` runs it; `tests/test_campaign.py` runs a small one.
"""
