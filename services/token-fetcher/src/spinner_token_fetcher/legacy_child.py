"""Runs in a bounded child: reads one legacy repository and answers with its workflows as JSON."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from spinner_token_fetcher.domain.graph import FINAL_JOB, WorkflowInvalidError, ordered, with_final
from spinner_token_fetcher.domain.model import WorkflowError, kind_of
from spinner_token_fetcher.domain.schedule import policy_of, recurrence_of, reference_of
from spinner_token_fetcher.legacy_import import install

ENTRY = "spinner_token_fetcher.legacy_child:parse"
PRELOAD = ("spinner_token_fetcher.legacy_child", "fissix.refactor", "fissix.pytree", "fissix.fixer_util")
# End dates of commands that no run has been bound to yet: the day before the run, as a template.
END_DATE_TEMPLATE = "{{ macros.ds_add(ds, -1) }}"
_PARSERS = {"pinball_ext.workflow.parser.PyWorkflowParser", ""}
_START_INPUT = "__WORKFLOW_START__"


class RepositoryInvalidError(Exception):
    """The repository as a whole can't be read. Says how to fix it."""


def parse(payload: bytes) -> bytes:
    """Entry point. The payload is JSON: root, config, command_shape, runner, job_repo_dir, end_date."""
    request = json.loads(payload)
    root = Path(request["root"]).resolve()
    workflows: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    try:
        config = _configuration(root, request["config"])
        params = _parser_params(config, request)
        install(root)
        os.chdir(root)
        declared = load_path(params["workflows_config"])
        if not isinstance(declared, dict):
            raise RepositoryInvalidError(
                f"{params['workflows_config']} is not a dict. Let it map names to WorkflowConfig(…)."
            )
        if request["command_shape"] == "data_job_runner":
            _use_data_job_runner(root, params)
        for name, workflow in declared.items():
            try:
                workflows.append(_workflow(str(name), workflow, params, config))
            except BaseException as error:  # noqa: BLE001 - one workflow's error is its own
                errors.append(asdict(_error(str(name), error, root)))
    except BaseException as error:  # noqa: BLE001 - the repository's code may raise anything
        errors.append(asdict(_error("", error, root)))
    return json.dumps({"workflows": workflows, "errors": errors}).encode()


def load_path(name: str) -> Any:
    """Returns what a dotted name such as `package.module.WORKFLOWS` stands for."""
    module, _, attribute = name.rpartition(".")
    if not module:
        raise RepositoryInvalidError(f"{name!r} is not a name of the form package.module.NAME")
    loaded = importlib.import_module(module)
    try:
        return getattr(loaded, attribute)
    except AttributeError:
        raise RepositoryInvalidError(f"Module {module} has no {attribute}. Correct workflows_config.") from None


def _configuration(root: Path, name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load((root / name).read_text("utf-8"))
    except FileNotFoundError:
        raise RepositoryInvalidError(
            f"There is no file {name} in the repository. Correct `config` of the repository."
        ) from None
    except yaml.YAMLError as error:
        raise RepositoryInvalidError(f"{name} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RepositoryInvalidError(f"{name} is not a mapping. Write `parser:` and `parser_params:`.")
    parser = str(content.get("parser") or "")
    if parser not in _PARSERS:
        raise RepositoryInvalidError(f"{name} names the parser {parser}. Only {max(_PARSERS)} is known.")
    return content


def _parser_params(config: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    params = dict(config.get("parser_params") or {})
    if not params.get("workflows_config"):
        raise RepositoryInvalidError(
            f"{request['config']} has no parser_params.workflows_config. Name the dict of workflows."
        )
    params["job_repo_dir"] = request["job_repo_dir"]
    params["runner"] = request["runner"]
    params["end_date"] = request["end_date"] or END_DATE_TEMPLATE
    return params


def _use_data_job_runner(root: Path, params: dict[str, Any]) -> None:
    """Commands name a job's class with its module, which is found without importing it."""
    templates = importlib.import_module("pinball_ext.job_templates")
    templates.JobTemplate.command_template = templates.DATA_JOB_RUNNER_COMMAND
    folders = [root]
    if params.get("job_import_dirs_config"):
        named = [str(name) for name in load_path(params["job_import_dirs_config"])]
        # Folders below the repository or beside it, written as paths or as packages.
        places = [base / name for name in named for base in (root, root.parent)]
        places += [base / name.replace(".", "/") for name in named for base in (root, root.parent)]
        folders = [place for place in places if place.is_dir()] or folders
    modules: dict[str, str] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            relative = file.relative_to(root) if file.is_relative_to(root) else file.relative_to(root.parent)
            module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            for name in re.findall(r"^class\s+(\w+)", file.read_text("utf-8", errors="replace"), re.MULTILINE):
                modules.setdefault(name, f"{module}.{name}")
    params["job_modules"] = modules


def _workflow(name: str, workflow: Any, params: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    try:
        declared = dict(workflow.jobs)
        final, schedule = workflow.final_job_config, workflow.schedule
    except (AttributeError, TypeError, ValueError):
        kind = type(workflow).__name__
        raise WorkflowInvalidError(
            f"Workflow {name} is a {kind}. Make it a WorkflowConfig(jobs, final_job_config, schedule)."
        ) from None
    if final is None or schedule is None:
        missing = "final_job_config" if final is None else "schedule"
        raise WorkflowInvalidError(f"Workflow {name} has no {missing}. Add it to WorkflowConfig(…).")
    graph = with_final(name, {job: list(item.dependency or ()) for job, item in declared.items()})
    outputs: dict[str, list[str]] = {job: [] for job in graph}
    for job, parents in graph.items():
        for parent in parents:
            outputs[parent].append(job)
    declared[FINAL_JOB] = final
    limit = schedule.max_running_instances
    return {
        "name": name,
        "jobs": [_job(job, declared[job].template, graph[job], outputs[job], params) for job in ordered(name, graph)],
        "schedule": {
            "recurrence_seconds": recurrence_of(schedule.recurrence, name).total_seconds(),
            "reference_time": reference_of(
                schedule.reference_timestamp,
                getattr(schedule, "time", None),
                getattr(schedule, "start_date", None),
                name,
            ).isoformat(),
            "overrun_policy": policy_of(schedule.overrun_policy, name),
            "max_running_instances": int(
                limit if limit is not None else config.get("default_max_workflow_running_instances", 3)
            ),
        },
        "notify_emails": _emails(workflow.notify_emails) or _emails(config.get("default_email")),
    }


def _job(name: str, template: Any, inputs: list[str], outputs: list[str], params: dict[str, Any]) -> dict[str, Any]:
    given = dict(params)
    if hasattr(template, "get_pinball_condition"):
        if inputs and name != FINAL_JOB:
            raise WorkflowInvalidError(f"Condition {name} depends on {inputs[0]}. Conditions have no dependencies.")
        kind, made = "condition", _condition(template, outputs)
    elif hasattr(template, "get_pinball_job"):
        kind = "command" if hasattr(template, "_command") else "job"
        made = template.get_pinball_job(list(inputs) or [_START_INPUT], list(outputs), given)
    else:
        raise WorkflowInvalidError(
            f"Job {name} has a {type(template).__name__} as its template. Use JobTemplate or a subclass."
        )
    if not isinstance(made.command, str) or not made.command.strip():
        raise WorkflowInvalidError(f"Job {name} has no command. Let its template give one.")
    return {
        "name": name,
        "inputs": inputs,
        "outputs": outputs,
        "kind": kind_of(name, kind),
        "command": made.command,
        "max_attempts": int(made.max_attempts or 1),
        "retry_delay_seconds": float(made.retry_delay_sec or 0),
        "emails": _emails(made.emails),
        "priority": float(getattr(template, "priority", None) or 1.0),
        "warn_timeout_seconds": made.warn_timeout_sec,
        "abort_timeout_seconds": made.abort_timeout_sec,
        "executor": str(getattr(template, "_executor", None) or ""),
        "job_class": str(getattr(template, "_job_class_name", "")),
        "template": type(template).__name__,
    }


def _condition(template: Any, outputs: list[str]) -> Any:
    return template.get_pinball_condition(list(outputs))


def _emails(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else list(value or ())
    return [str(part).strip() for part in parts if str(part).strip()]


def _error(workflow: str, error: BaseException, root: Path) -> WorkflowError:
    prefix = f"{root}{os.sep}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(prefix)]
    file, line = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    message = f"{error.msg}: {(error.text or '').strip()}" if isinstance(error, SyntaxError) else str(error)
    if isinstance(error, ModuleNotFoundError):
        message += f". Put the module {error.name} into the repository, or install it beside the token-fetcher."
    kind = "CheckFailed" if isinstance(error, WorkflowInvalidError) else type(error).__name__
    if isinstance(error, MemoryError):
        kind, message = "OutOfMemory", "Reading the repository took more memory than it may. Load less in its modules."
    trace = "".join(traceback.format_exception(error)).replace(prefix, "")[-32_768:]
    return WorkflowError(workflow, kind, message, file.removeprefix(prefix), line, trace)


sys.setrecursionlimit(10_000)
