"""Figures, as ratios to a baseline that is measured in the same run.

`python -m benchmarks` prints all tables and writes docs/performance.md. Machines are noisy: what
is given in seconds is only for a sense of scale, and no test depends on a time.
"""
