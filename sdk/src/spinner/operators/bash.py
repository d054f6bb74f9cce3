"""Shell commands as tasks.

The command runs in a process group of its own, so that cancelling it leaves nothing behind. Its last line of output is
the return value; its exit code decides the outcome.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Container, Sequence
from typing import Any, ClassVar

from spinner.core.operator import BaseOperator, Context
from spinner.exceptions import SkipTask, SpinnerDagError, SpinnerException


def run_command(
    command: Sequence[str], *, env: dict[str, str] | None, cwd: str, started: Any = None
) -> tuple[int, str]:
    """Runs ``command``, copying its output to stdout. Returns exit code and last line. Blocks.

    ``started`` is called with the process, for whoever may have to kill its group.
    """
    from spinner.runtime.output import OutputCopy

    copy = OutputCopy()
    sys.stdout.flush()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd, start_new_session=True
    ) as process:
        if started is not None:
            started(process)
        try:
            if process.stdout is not None:
                copy.run(process.stdout.fileno())
            code = process.wait()
        except BaseException:
            kill_group(process)
            raise
    return code, copy.last_line


def kill_group(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """SIGTERM to the process group, SIGKILL after ``grace`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(grace)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


class BashOperator(BaseOperator):
    """Runs ``bash_command`` with bash.

    ``env`` is added to the environment when ``append_env``, and replaces it otherwise. An exit code in
    ``skip_on_exit_code`` (99) skips the task. Without ``cwd`` it runs in a temporary folder.
    """

    template_fields: Sequence[str] = ("bash_command", "env", "cwd")
    template_fields_renderers: ClassVar[dict[str, str]] = {"bash_command": "bash", "env": "json"}
    template_ext: Sequence[str] = (".sh", ".bash")
    ui_color = "#f0ede4"

    def __init__(
        self,
        *,
        bash_command: str,
        env: dict[str, str] | None = None,
        append_env: bool = False,
        output_encoding: str = "utf-8",
        skip_on_exit_code: int | Container[int] | None = 99,
        cwd: str | None = None,
        output_processor: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command = bash_command
        self.env = env
        self.append_env = append_env
        self.output_encoding = output_encoding
        self.skip_on_exit_code: Container[int] = (
            () if skip_on_exit_code is None
            else (skip_on_exit_code,) if isinstance(skip_on_exit_code, int)
            else skip_on_exit_code
        )  # fmt: skip
        self.cwd = cwd
        self.output_processor = output_processor
        self._process: subprocess.Popen[bytes] | None = None

    def _environment(self, context: Context) -> dict[str, str]:
        base = dict(os.environ) if self.env is None or self.append_env else {}
        for name in [name for name in base if name.startswith("SPINNER_TOKEN") or name == "SPINNER_SECRET_KEY"]:
            del base[name]
        # By it the executor finds what this command leaves behind.
        mark = {name: os.environ[name] for name in ("SPINNER_WORKER",) if name in os.environ}
        return {
            **base,
            **mark,
            **{key: str(value) for key, value in (self.env or {}).items()},
            **context_variables(context),
        }

    def execute(self, context: Context) -> Any:
        if not isinstance(self.bash_command, str) or not self.bash_command.strip():
            raise SpinnerDagError(
                f"Task {self.task_id!r} has bash_command={self.bash_command!r}.", "Give a command that is not empty."
            )
        with tempfile.TemporaryDirectory(prefix="spinner_bash_") as folder:
            cwd = self.cwd or folder
            if not os.path.isdir(cwd):  # noqa: PTH112
                raise SpinnerException(f"The folder {cwd!r} of task {self.task_id!r} does not exist. Check cwd=.")
            code, last = run_command(
                ["bash", "-c", self.bash_command], env=self._environment(context), cwd=cwd, started=self._started
            )
        if code in self.skip_on_exit_code:
            raise SkipTask(f"The command ended with code {code}, which means skip.")
        if code:
            raise SpinnerException(f"Bash command failed. The command returned a non-zero exit code {code}.")
        return self.output_processor(last) if self.output_processor else last

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def on_kill(self) -> None:
        if self._process is not None:
            kill_group(self._process)


def context_variables(context: Context) -> dict[str, str]:
    """Which try it is, as environment variables for a command, under Airflow's names and ours."""
    ti = context.get("ti")
    if ti is None:
        return {}
    facts = {
        "DAG_ID": ti.dag_id, "TASK_ID": ti.task_id, "RUN_ID": ti.run_id, "TRY_NUMBER": str(ti.try_number),
        "MAP_INDEX": str(ti.map_index), "LOGICAL_DATE": context["ts"],
    }  # fmt: skip
    airflow = {"DAG_ID": ti.dag_id, "TASK_ID": ti.task_id, "DAG_RUN_ID": ti.run_id,
               "TRY_NUMBER": str(ti.try_number), "EXECUTION_DATE": context["ts"]}  # fmt: skip
    return {
        **{f"SPINNER_CTX_{name}": value for name, value in facts.items()},
        **{f"AIRFLOW_CTX_{name}": value for name, value in airflow.items()},
    }
