"""The switches of a repository: `spinner-checks.yaml` at the bundle's root.

checks:
  SPN014: off
  SPN012: {severity: error, max_age_days: 365}
exclude: ["dags/legacy/*"]      # files that no check but the parser looks at
owners: [data-platform, growth] # owners that exist
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spinner_dagbag.checks.model import Check, Severity, registered

CONFIG_FILE = "spinner-checks.yaml"


class CheckConfigError(Exception):
    """The switch file is wrong. Says what, where and how to fix it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{CONFIG_FILE}: {message}. {fix}")
        self.message, self.fix = message, fix


@dataclass(frozen=True, slots=True)
class CheckConfig:
    severities: Mapping[str, Severity] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    owners: frozenset[str] | None = None
    pools: frozenset[str] | None = None

    @classmethod
    def load(cls, root: Path) -> CheckConfig:
        """Reads the file at the bundle's root; the defaults when there is none. Raises CheckConfigError."""
        path = root / CONFIG_FILE
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise CheckConfigError(f"can't be read: {error}", "Make it a readable UTF-8 file.") from error
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CheckConfigError(f"is not YAML: {error}", "Correct the syntax at that line.") from error
        return cls.from_mapping(content if content is not None else {})

    @classmethod
    def from_mapping(cls, content: Any) -> CheckConfig:
        """Raises CheckConfigError for unknown keys, checks, severities and thresholds."""
        if not isinstance(content, dict):
            raise CheckConfigError(f"is a {type(content).__name__}", "Write a mapping with checks, exclude, owners.")
        unknown = sorted(map(str, set(content) - {"checks", "exclude", "owners", "pools"}))
        if unknown:
            raise CheckConfigError(f"unknown key {unknown[0]!r}", "Known keys are checks, exclude, owners and pools.")
        known = {entry.id: entry for entry in registered()}
        severities: dict[str, Severity] = {}
        thresholds: dict[str, dict[str, float]] = {}
        switches = content.get("checks") or {}
        if not isinstance(switches, dict):
            raise CheckConfigError("checks is not a mapping", "Write checks as `SPN014: off`, one a line.")
        for check_id, value in switches.items():
            entry = known.get(check_id)
            if entry is None:
                raise CheckConfigError(f"no check has the id {check_id!r}", f"Ids are {min(known)} to {max(known)}.")
            options = dict(value) if isinstance(value, dict) else {"severity": value}
            if "severity" in options:
                severities[check_id] = _severity(check_id, options.pop("severity"))
            thresholds[check_id] = {name: _threshold(entry, name, number) for name, number in options.items()}
        return cls(
            severities=severities,
            thresholds=thresholds,
            exclude=tuple(_names(content, "exclude") or ()),
            owners=_names(content, "owners"),
            pools=_names(content, "pools"),
        )

    def severity(self, check: Check) -> Severity:
        return self.severities.get(check.id, check.severity)

    def numbers(self, check: Check) -> dict[str, float]:
        return {**check.thresholds, **self.thresholds.get(check.id, {})}

    def excludes(self, relative_path: str) -> bool:
        return any(fnmatch.fnmatch(relative_path, pattern) for pattern in self.exclude)

    def as_json(self) -> dict[str, Any]:
        """Returns what `from_mapping` takes."""
        checks: dict[str, dict[str, Any]] = {name: dict(values) for name, values in self.thresholds.items()}
        for name, severity in self.severities.items():
            checks.setdefault(name, {})["severity"] = str(severity)
        content: dict[str, Any] = {"checks": checks, "exclude": list(self.exclude)}
        if self.owners is not None:
            content["owners"] = sorted(self.owners)
        if self.pools is not None:
            content["pools"] = sorted(self.pools)
        return content


def _severity(check_id: str, value: Any) -> Severity:
    # YAML 1.1 reads a bare `off` as false and `on` as true.
    if value is False:
        return Severity.OFF
    try:
        return Severity(value)
    except ValueError:
        raise CheckConfigError(f"{check_id} has severity {value!r}", "Write off, warning or error.") from None


def _threshold(check: Check, name: Any, value: Any) -> float:
    if name not in check.thresholds:
        names = ", ".join(check.thresholds) or "none"
        raise CheckConfigError(f"{check.id} has no threshold {name!r}", f"It has: {names}.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckConfigError(f"{check.id}: {name} is {value!r}", "Write a number.")
    return float(value)


def _names(content: dict[str, Any], key: str) -> frozenset[str] | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CheckConfigError(f"{key} is not a list of texts", f"Write {key}: [name, …].")
    return frozenset(value)
