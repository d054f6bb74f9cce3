"""Bases of the job classes of a repository."""

from __future__ import annotations

import getpass
import logging
import subprocess
from typing import Any

LOG = logging.getLogger("pinball_ext.job.basic_jobs")


class JobBase:
    """`runjob` calls the parts that subclasses override: _setup, _execute, _complete, and always _cleanup."""

    def __init__(self, params: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> None:
        self.params = params or {}
        self.settings = settings or {}
        self.user = getpass.getuser()
        self.job_name = self.params.get("job_name") or type(self).__name__
        self.job_output_dirs: list[str] = []
        self._job_output: Any = None
        self._job_stderr: Any = None

    def runjob(self, dry_run: bool = False) -> None:
        try:
            self._setup()
            self._set_output_dirs()
            if dry_run:
                LOG.info("Dry run of %s with %s", self.job_name, self.params)
                return
            self._execute()
            self._complete()
        finally:
            self._cleanup()

    def _setup(self) -> None:
        """Prepares arguments."""

    def _set_output_dirs(self) -> None:
        """Names output folders."""

    def _execute(self) -> None:
        """Does the work; raises to fail."""

    def _complete(self) -> None:
        """Publishes results."""

    def _cleanup(self) -> None:
        """Removes temporary files."""


class PythonJob(JobBase):
    """A job whose _execute is Python."""


class CommandLineJob(JobBase):
    """A job that runs the command of `_get_command` with its parameters as options."""

    def _setup(self) -> None:
        self.arguments = " ".join(f"--{key}={value}" for key, value in self.params.items())

    def _execute(self) -> None:
        command = f"{self._get_command()} {self.arguments}"
        LOG.info("Running %s", command)
        done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False)  # noqa: S602 - a shell line by contract
        self._job_output = done.stdout
        if done.stdout:
            print(done.stdout.decode(errors="replace"), end="")
        if done.returncode != 0:
            raise RuntimeError(f"Command {command} ended with {done.returncode}")

    def _get_command(self) -> str:
        raise NotImplementedError(f"{type(self).__name__} has no _get_command")


class ClusterJob(JobBase):
    """A job for a cluster. Its work needs the platform's own client, which is not part of Spinner."""
