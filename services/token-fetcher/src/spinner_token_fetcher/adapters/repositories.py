"""Legacy repositories on this machine, read in bounded children and kept until their files change.

A version is a hash over the paths and contents of all files that can matter to the parser.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from spinner_dagbag import BoundedRunner, Limits, Outcome

from spinner_token_fetcher.domain.graph import WorkflowInvalidError
from spinner_token_fetcher.domain.model import Repository, Workflow, WorkflowError
from spinner_token_fetcher.legacy_child import ENTRY
from spinner_token_fetcher.settings import RepositorySettings, TokenFetcherSettings

_SUFFIXES = (".py", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sql", ".hql", ".sh", ".txt")
_SKIPPED = {"__pycache__", "node_modules", "venv"}
# A look costs a stat a file; callers ask several times for one change.
_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Known:
    settings: RepositorySettings
    lock: threading.Lock = field(default_factory=threading.Lock)
    looked: float = float("-inf")
    signature: tuple[tuple[str, int, int], ...] = ()
    repository: Repository | None = None


class Repositories:
    """Thread-safe."""

    def __init__(
        self, settings: TokenFetcherSettings, runner: BoundedRunner, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._runner, self._clock = settings, runner, clock
        self._known = {item.name: _Known(item) for item in settings.pinball_repositories}

    def names(self) -> list[str]:
        return sorted(self._known)

    def get(self, name: str) -> Repository:
        """Returns the repository as its files are now. Blocks while it is read. Raises KeyError for an unknown name."""
        known = self._known[name]
        with known.lock:
            if known.repository is not None and self._clock() - known.looked < _LOOK_SECONDS:
                return known.repository
            files = _files(known.settings.root)
            signature = tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in files)
            if known.repository is None or signature != known.signature:
                known.repository = self._read(known.settings, [path for path, _ in files])
                known.signature = signature
            known.looked = self._clock()
            return known.repository

    def render(self, name: str, workflow: str, end_date: str) -> Workflow | None:
        """Returns a workflow with commands for an end date (YYYY-MM-DD); None when it is not there or broken."""
        known = self._known[name]
        content, _ = self._parse(known.settings, end_date)
        return content.get(workflow)

    def _read(self, settings: RepositorySettings, files: Sequence[str]) -> Repository:
        version = _version(settings.root, files, repr(self._settings.runner) + self._settings.pinball_command_shape)
        workflows, errors = self._parse(settings, "")
        return Repository(version, workflows, tuple(errors))

    def _parse(self, settings: RepositorySettings, end_date: str) -> tuple[dict[str, Workflow], list[WorkflowError]]:
        if not settings.root.is_dir():
            message = f"There is no folder {settings.root}. Correct SPINNER_PINBALL_REPOSITORIES."
            return {}, [WorkflowError("", "RepositoryNotFound", message)]
        config = settings.config or _only_config(settings.root)
        if not config:
            message = (
                f"{settings.root} has not exactly one YAML file with parser_params at its top. "
                f"Name it: {settings.name}={settings.root}:FILE.yaml"
            )
            return {}, [WorkflowError("", "ConfigurationNotFound", message)]
        request = {
            "root": str(settings.root),
            "config": config,
            "command_shape": self._settings.pinball_command_shape,
            "runner": self._settings.runner,
            "job_repo_dir": self._settings.pinball_job_repo_dir,
            "end_date": end_date,
        }
        limits = Limits(
            time_seconds=self._settings.pinball_timeout_seconds,
            memory_bytes=self._settings.pinball_memory_mib << 20,
        )
        outcome = self._runner.run(ENTRY, json.dumps(request).encode(), limits)
        return _understood(outcome, limits)


def _understood(outcome: Outcome, limits: Limits) -> tuple[dict[str, Workflow], list[WorkflowError]]:
    try:
        content = json.loads(outcome.result) if outcome.result is not None else None
        if content is not None:
            workflows = {item["name"]: Workflow.from_json(item) for item in content["workflows"]}
            return workflows, [WorkflowError(**item) for item in content["errors"]]
    except (ValueError, KeyError, TypeError, WorkflowInvalidError):
        pass
    kind, what = {
        "time": ("TimedOut", f"took longer than {limits.time_seconds:g} s"),
        "memory": ("OutOfMemory", f"took more than {limits.memory_bytes >> 20} MiB of memory"),
        "processes": ("TooManyProcesses", f"started more than {limits.processes} processes"),
        "result": ("TooLarge", f"gave more than {limits.result_bytes >> 20} MiB of workflows"),
        "server": ("Crashed", "killed the process that reads repositories"),
    }.get(outcome.reason, ("Exited", f"ended the process that read it (exit code {outcome.exit_code})"))
    if not outcome.reason and outcome.exit_code < 0:
        kind, what = "Crashed", f"crashed with {outcome.signal_name}"
    message = f"Reading the repository {what}. Move such work from the top level of its modules into jobs."
    return {}, [WorkflowError("", kind, message, stack_trace=outcome.trace or outcome.output[-4000:])]


def _files(root: Path) -> list[tuple[str, os.stat_result]]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in names:
            if name.endswith(_SUFFIXES):
                path = Path(folder, name)
                try:
                    found.append((path.relative_to(root).as_posix(), path.stat()))
                except FileNotFoundError:
                    continue
    return sorted(found, key=lambda item: item[0])


def _version(root: Path, files: Sequence[str], settings: str) -> str:
    total = hashlib.sha256(settings.encode())
    for path in files:
        try:
            content = hashlib.sha256((root / path).read_bytes()).digest()
        except OSError:
            continue
        total.update(path.encode() + b"\0" + content)
    return total.hexdigest()[:16]


def _only_config(root: Path) -> str:
    found = []
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue
        if isinstance(content, dict) and "parser_params" in content:
            found.append(path.name)
    return found[0] if len(found) == 1 else ""
