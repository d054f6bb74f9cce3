"""Whether what the topics say is consistent: an independent reading of the log.

Nothing here knows how the scheduler decides. The records of an installation are read once, in the order of their
times, and held against promises that anybody may rely on (`findings.INVARIANTS`). What is kept is the state of live
runs; an ended run shrinks to the numbers of its latest tries.
"""
