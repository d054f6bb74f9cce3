"""Spinner beside its peers: the same workloads, on the same machine, taking turns. See `__main__`."""
