"""Runs all checks that a repository has switched on over one subject."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from spinner_dagbag.checks.config import CheckConfig
from spinner_dagbag.checks.model import Check, DagSubject, Finding, Lines, Problem, Severity, SourceSubject, registered


def check_definition(subject: DagSubject, config: CheckConfig, lines: Lines | None = None) -> list[Finding]:
    """Returns what the checks of definitions find; `lines` places findings in the file."""
    dag_id = subject.definition.dag_id
    found = []
    for check in _active("dag", subject.relative_path, config):
        bounded = dataclasses.replace(subject, thresholds=config.numbers(check))
        for problem in check.run(bounded):
            line = problem.line or (lines.of(problem.task_id or dag_id) if lines else 0)
            found.append(_finding(check, config, problem, subject.relative_path, line, dag_id))
    return found


def check_source(subject: SourceSubject, relative_path: str, config: CheckConfig) -> list[Finding]:
    """Returns what the checks of sources find, at most one of a check a line."""
    found: dict[tuple[str, int], Finding] = {}
    for check in _active("source", relative_path, config):
        bounded = dataclasses.replace(subject, thresholds=config.numbers(check))
        for problem in check.run(bounded):
            finding = _finding(check, config, problem, relative_path, problem.line, "")
            found.setdefault((check.id, problem.line), finding)
    return list(found.values())


def _active(subject: str, relative_path: str, config: CheckConfig) -> Iterator[Check]:
    if config.excludes(relative_path):
        return
    for check in registered():
        if check.subject == subject and config.severity(check) is not Severity.OFF:
            yield check


def _finding(check: Check, config: CheckConfig, problem: Problem, path: str, line: int, dag_id: str) -> Finding:
    return Finding(
        check_id=check.id,
        severity=config.severity(check),
        message=problem.message,
        fix=check.fix,
        path=path,
        line=line,
        dag_id=dag_id,
        task_id=problem.task_id,
    )
