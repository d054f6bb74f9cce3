"""What would happen: the real core on virtual time, with workers that need as long as they are said to (B9).

Nothing is read but the request and nothing written. A scheduler answers `Simulate` by a process of its own
(`process.run`), because a month of work would hold up its partitions; that process is bounded in events and time.
"""
