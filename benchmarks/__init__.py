"""Figures, as ratios to a baseline that is measured in the same run.

`python -m benchmarks` prints all tables and writes docs/performance.md. Machines are noisy: no
figure here is an absolute time, and no test depends on one.
"""
