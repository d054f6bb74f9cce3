"""What a check is, and what it sees and says."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dagbag.checks.toplevel import TopLevel


class Severity(StrEnum):
    OFF = "off"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check (or the parser: id "SPN000") found. `line` is 1-based, 0 when unknown."""

    check_id: str
    severity: Severity
    message: str
    fix: str
    path: str = ""
    line: int = 0
    dag_id: str = ""
    task_id: str = ""

    def as_proto(self) -> pb.CheckFinding:
        severity = pb.SEVERITY_ERROR if self.severity is Severity.ERROR else pb.SEVERITY_WARNING
        return pb.CheckFinding(
            check_id=self.check_id,
            severity=severity,
            message=self.message,
            fix=self.fix,
            dag_id=self.dag_id,
            task_id=self.task_id,
            line=self.line,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """What a check yields: an instance of what it looks for."""

    message: str
    task_id: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class ParseEvent:
    """What a file did while it was read: "connect", "sleep" or "process", at a line of it."""

    kind: str
    line: int
    detail: str


class Lines:
    """Finds the line of a file that names a DAG or a task."""

    def __init__(self, tree: ast.AST | None) -> None:
        self._tree = tree

    @cached_property
    def _constants(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for node in ast.walk(self._tree) if self._tree is not None else ():
            name, line = None, 0
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name, line = node.value, node.lineno
            elif isinstance(node, ast.FunctionDef):
                name, line = node.name, node.lineno
            if name is not None and line < found.get(name, 1 << 30):
                found[name] = line
        return found

    def of(self, identifier: str) -> int:
        """Returns the first line with the id (of a task in a group: its last part), or 0."""
        return self._constants.get(identifier) or self._constants.get(identifier.rpartition(".")[2], 0)


@dataclass(frozen=True)
class DagSubject:
    """A definition and what surrounds it."""

    definition: pb.DagDefinition
    relative_path: str
    now: datetime
    # Known names; None: not known, so nothing is said about them.
    pools: frozenset[str] | None = None
    owners: frozenset[str] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def limit(self, name: str) -> float:
        return self.thresholds[name]

    @cached_property
    def details(self) -> dict[str, Any]:
        return _json_object(self.definition.details_json)

    def resources(self, task: pb.TaskDefinition) -> dict[str, Any]:
        return _json_object(task.resources_json)

    @property
    def is_scheduled(self) -> bool:
        return self.definition.schedule.WhichOneof("kind") in ("cron", "delta", "explicit", "continuous")


@dataclass(frozen=True)
class SourceSubject:
    """A file's syntax tree, and what it did while it was read."""

    tree: ast.Module
    events: Sequence[ParseEvent]
    seconds: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    # Shared by all copies with other thresholds.
    _top: list[TopLevel] = field(default_factory=list, compare=False)

    @property
    def top(self) -> TopLevel:
        if not self._top:
            self._top.append(TopLevel(self.tree))
        return self._top[0]

    def limit(self, name: str) -> float:
        return self.thresholds[name]


Run = Callable[[Any], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Check:
    """`subject` is "dag" or "source": which of the two subjects `run` takes."""

    id: str
    title: str
    severity: Severity
    fix: str
    subject: str
    run: Run
    thresholds: Mapping[str, float]


_registry: dict[str, Check] = {}


def check(
    check_id: str, title: str, severity: Severity, fix: str, subject: str = "dag", **thresholds: float
) -> Callable[[Run], Run]:
    """Registers a function as a check. `thresholds` are its numbers that a repository may change."""

    def register(run: Run) -> Run:
        if check_id in _registry:
            raise ValueError(f"Two checks have the id {check_id}")
        _registry[check_id] = Check(check_id, title, severity, fix, subject, run, thresholds)
        return run

    return register


def registered() -> tuple[Check, ...]:
    """Every check, ordered by id."""
    return tuple(_registry[name] for name in sorted(_registry))


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
