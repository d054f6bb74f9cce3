"""Completes definitions: placement, bundle, source text, code hash, version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spinner.serialization import explicit_of
from spinner_dagbag.checks import Finding, Severity
from spinner_dagbag.placement import place
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.inbox.v1.inbox_pb2 import TimetableEvaluated

# What these find depends on the day or on the machine's load, which must not make a version.
_MOVING_CHECKS = {"SPN012", "SPN048"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file's definitions get from around it. `code` holds the hashes that go into the details."""

    bundle: str
    bundle_version: str
    object_key: str
    cluster: str
    code: Mapping[str, str]
    source: Callable[[], common_pb2.Blob]
    partitions_of: Callable[[str], int]
    stored: Callable[[str], common_pb2.Placement | None]
    content_version: Callable[[pb.DagDefinition], str]


def assemble(parsed: pb.DagDefinition, around: Surroundings, findings: Iterable[Finding]) -> pb.DagDefinition:
    """Returns the definition as it is published, but for parsed_time.

    The version covers everything but the bundle's own version: a DAG keeps its version, and its older bundle,
    while neither it nor the code behind it (see `snapshot`) changes. Raises PlacementError.
    """
    definition = pb.DagDefinition()
    definition.CopyFrom(parsed)
    placement = place(
        definition.dag_id,
        definition.tier,
        definition.relative_path,
        around.cluster,
        around.partitions_of,
        around.stored(definition.dag_id),
    )
    definition.placement.CopyFrom(placement)
    definition.source.CopyFrom(around.source())
    definition.details_json = json.dumps(_details(definition, around, findings), sort_keys=True)
    explicit = explicit_of(definition.schedule)
    if explicit is not None:
        # They depend on the day, and reach the scheduler by a message of their own.
        for name in ("intervals", "complete", "after_start", "after_end", "answers"):
            explicit.ClearField(name)
    definition.ClearField("parsed_time")
    definition.ClearField("version")
    definition.bundle.CopyFrom(common_pb2.BundleRef(name=around.bundle))
    definition.version = around.content_version(definition)
    definition.bundle.version = around.bundle_version
    definition.bundle.object_key = around.object_key
    return definition


def timetable_of(parsed: pb.DagDefinition, version: str) -> TimetableEvaluated | None:
    """Returns what a DAG's custom timetable answered when its file was read; None when it has none."""
    explicit = explicit_of(parsed.schedule)
    if explicit is None:
        return None
    evaluated = TimetableEvaluated(
        dag_id=parsed.dag_id,
        version=version,
        intervals=explicit.intervals,
        complete=explicit.complete,
        answers=explicit.answers,
    )
    if explicit.HasField("after_end"):
        evaluated.after_start.CopyFrom(explicit.after_start)
        evaluated.after_end.CopyFrom(explicit.after_end)
    return evaluated


def object_key(bundle: str, version: str) -> str:
    """Where the packed bundle lies in the object store."""
    return f"bundles/{bundle}/{version}.tar.zst"


def _details(definition: pb.DagDefinition, around: Surroundings, findings: Iterable[Finding]) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(definition.details_json) if definition.details_json else {}
    details.update(around.code)
    warnings = [
        {
            "check": finding.check_id,
            "message": finding.message,
            "fix": finding.fix,
            "line": finding.line,
            "task": finding.task_id,
        }
        for finding in findings
        if finding.severity is Severity.WARNING
        and finding.dag_id in ("", definition.dag_id)
        and finding.check_id not in _MOVING_CHECKS
    ]
    if warnings:
        details["warnings"] = warnings
    return details
