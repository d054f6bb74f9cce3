"""Bases of jobs that run on Hive clusters."""

# The shims are imported by their own top-level names, which exist only in the child process.
# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

from pinball_ext.job.basic_jobs import ClusterJob


class HiveJob(ClusterJob):
    """A Hive job."""


class HiveFileJob(HiveJob):
    """A Hive job whose query is a file."""
