"""Bases of jobs that run on Hadoop clusters."""

# The shims are imported by their own top-level names, which exist only in the child process.
# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

from pinball_ext.job.basic_jobs import ClusterJob


class HadoopJob(ClusterJob):
    """A Hadoop job."""
