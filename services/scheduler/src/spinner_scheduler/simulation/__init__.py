"""A whole installation in one process on virtual time and one seed: partitions, log, executor, people, faults.

`python -m spinner_scheduler.simulation --seeds N --first-seed S` runs a range of seeds; the same seed always does the
same. What must hold whatever happens is in `invariants`.
"""
