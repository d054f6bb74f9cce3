"""Jobs of workflows that were migrated from Pinball: the order carries the command, and no DAG file is read.

A line ``PINBALL:EVENT_ATTR:key=value`` in the output is kept as an XCom of the key ``event_attributes``. Before it
runs, a command is rendered as a Jinja template when it looks like one (its dates come from the run, as ``{{ ds }}``),
and then %-formatted with the event attributes of the job's direct predecessors, as Pinball did: the same key from
several of them is comma-joined, and an attribute that is not known is an empty string.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox

from spinner.exceptions import SpinnerException
from spinner.operators.bash import kill_group
from spinner.runtime import legacy
from spinner.runtime.output import OutputCopy

if TYPE_CHECKING:
    from spinner.runtime.runner import Work

_ATTRIBUTES_KEY = "event_attributes"
_EVENT_ATTRIBUTE = re.compile(rb"^PINBALL:EVENT_ATTR:\s*([^=\s]+)=(.*?)\s*$")


def run_command_job(work: Work) -> inbox.TaskEnded:
    """Runs the order's command with bash in the bundle's folder."""
    order = work.order
    if not order.command.strip():
        raise SpinnerException(f"Job {order.try_key.task_id!r} has no command.")
    timeout = order.execution_timeout.ToTimedelta().total_seconds() if order.HasField("execution_timeout") else None
    with (
        work.stages.stage(common.STAGE_TASK_EXEC, f"Running job {order.try_key.task_id}") as stage,
        work.control.timeout(timeout),
    ):
        command = formatted(templated(work), event_attributes(work))
        try:
            code, attributes, out_of_memory = _run(command, work.bundle_path or None)
        except legacy.ContainerLost as error:
            stage.outcome, stage.message = common.STAGE_OUTCOME_FAILED, str(error)
            return inbox.TaskEnded(outcome=common.OUTCOME_CRASHED, message=str(error), exit_code=1, return_length=-1)
        if attributes:
            work.api.set_xcom(_ATTRIBUTES_KEY, attributes, "The event attributes")
        if out_of_memory:
            stage.outcome = common.STAGE_OUTCOME_FAILED
            stage.message = "The kernel killed the command because its container's memory ran out; raise limit_memory."
        elif code:
            stage.outcome = common.STAGE_OUTCOME_FAILED
            stage.message = f"The command ended with exit code {code}."
    work.rendered = {"command": command}
    outcome = common.OUTCOME_FAILED if code else common.OUTCOME_SUCCESS
    if out_of_memory:
        outcome = common.OUTCOME_OUT_OF_MEMORY
    return inbox.TaskEnded(outcome=outcome, message=stage.message, exit_code=code, return_length=-1)


def templated(work: Work) -> str:
    """The order's command with its templates filled in. Raises what Jinja2 raises for a bad template."""
    command = work.order.command
    if "{{" not in command and "{%" not in command:
        return command
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    from spinner import macros

    order = work.order
    date = order.logical_date if order.HasField("logical_date") else order.run_after
    at = date.ToDatetime(tzinfo=UTC)
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    names = {"ds": f"{at:%Y-%m-%d}", "ds_nodash": f"{at:%Y%m%d}", "ts": at.isoformat(), "logical_date": at}
    return environment.from_string(command).render(**names, macros=macros, run_id=order.try_key.run_id)


def event_attributes(work: Work) -> dict[str, str]:
    """The attributes that the job's direct predecessors printed."""
    joined: dict[str, list[str]] = defaultdict(list)
    for task_id in work.order.upstream_task_ids:
        found = work.api.get_xcoms(task_id, _ATTRIBUTES_KEY).get(-1) or {}
        for name, value in found.items():
            joined[name].append(value)
    return {name: ",".join(values) for name, values in joined.items()}


def formatted(command: str, attributes: Mapping[str, str]) -> str:
    """The command with event attributes filled in; as it is when it is no format."""
    try:
        return command % defaultdict(str, attributes)
    except (TypeError, ValueError):
        return command


def _run(command: str, cwd: str | None) -> tuple[int, dict[str, str], bool]:
    """Exit code, event attributes, and whether memory ran out."""
    attributes: dict[str, str] = {}

    def keep(line: bytes) -> None:
        found = _EVENT_ATTRIBUTE.match(line)
        if found:
            attributes[found[1].decode("utf-8", "replace")] = found[2].decode("utf-8", "replace")

    copy = OutputCopy(b"PINBALL:EVENT_ATTR:", keep)
    sys.stdout.flush()
    shared = legacy.folder()
    if shared is None:
        code, out_of_memory = _run_here(command, cwd, copy), False
    else:
        ended = legacy.run(shared, command, copy)
        code, out_of_memory = ended.exit_code, ended.out_of_memory
    if code < 0:
        raise SpinnerException(f"The command was killed by {signal.Signals(-code).name}.")
    return code, attributes, out_of_memory


def _run_here(command: str, cwd: str | None, copy: OutputCopy) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "SPINNER_SECRET_KEY"}
    with subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            if process.stdout is not None:
                copy.run(process.stdout.fileno())
            return process.wait()
        except BaseException:
            kill_group(process)
            raise
