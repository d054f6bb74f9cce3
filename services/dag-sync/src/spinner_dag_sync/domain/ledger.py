"""What the log says about every DAG and parse error, and what must be written to make it say the truth.

The ledger is rebuilt from `workflow_definitions` and `workflow_parse_errors` at start; nothing else is stored.
`reconcile` compares it with a bundle as it was parsed; `apply` records what was written. Both are idempotent, so
a crash between two writes is mended by the first reconciliation after the start: a definition that is already
current isn't written again, and its announcement, which may have been lost, is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.inbox.v1.inbox_pb2 import TimetableEvaluated

_ADDRESS = re.compile(r"0x[0-9a-f]+")
# Parse errors of a bundle as a whole.
BUNDLE_PATH = "."


@dataclass(frozen=True, slots=True)
class Current:
    """The version of a DAG that the log holds last."""

    version: str
    placement: common_pb2.Placement
    bundle: str
    relative_path: str
    parsed_time_ns: int


@dataclass(frozen=True, slots=True)
class ParsedBundle:
    """A bundle as it was read.

    `definitions` by file, complete but for the version's bookkeeping; `errors` by file; `broken`: files whose
    DAGs stay as they are, because the files could not be read now.
    """

    name: str
    version: str
    definitions: Mapping[str, tuple[pb.DagDefinition, ...]]
    errors: Mapping[str, pb.ParseError]
    broken: frozenset[str]
    # Broken files of which nothing new is known: their errors stay too.
    pending: frozenset[str] = frozenset()
    # What custom timetables answered, by DAG id.
    timetables: Mapping[str, TimetableEvaluated] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Tells a scheduler partition that a version is current, or (version None) that the DAG is gone."""

    dag_id: str
    version: str | None
    placement: common_pb2.Placement


@dataclass(slots=True)
class Changes:
    definitions: list[pb.DagDefinition] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    errors: list[pb.ParseError] = field(default_factory=list)
    mended: list[tuple[str, str]] = field(default_factory=list)
    # Errors that are over: mended, or replaced by another.
    ended: list[pb.ParseErrorEnded] = field(default_factory=list)
    timetables: list[tuple[TimetableEvaluated, common_pb2.Placement]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.definitions or self.announcements or self.errors or self.mended or self.timetables)


class Ledger:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._current: dict[str, Current] = {}
        self._announced: dict[str, str] = {}
        self._timetables: dict[str, TimetableEvaluated] = {}
        self._errors: dict[tuple[str, str], pb.ParseError] = {}
        # Rises whenever the ledger changes.
        self.generation = 0

    def restore_definition(self, definition: pb.DagDefinition) -> None:
        """Takes a record of the log; the latest parsed_time of a DAG wins, whatever the order of reading."""
        if definition.dynamic_source_version:
            return
        known = self._current.get(definition.dag_id)
        entry = _entry(definition)
        if known is None or entry.parsed_time_ns >= known.parsed_time_ns:
            self._current[definition.dag_id] = entry

    def restore_error(self, error: pb.ParseError) -> None:
        self._errors[error.bundle, error.relative_path] = error

    def current(self, dag_id: str) -> Current | None:
        return self._current.get(dag_id)

    def of_bundle(self, bundle: str) -> dict[str, Current]:
        return {dag_id: entry for dag_id, entry in self._current.items() if entry.bundle == bundle}

    def bundles(self) -> set[str]:
        """Every bundle that the log knows something of."""
        return {entry.bundle for entry in self._current.values()} | {bundle for bundle, _ in self._errors}

    def error_count(self, bundle: str) -> int:
        return sum(1 for name, _ in self._errors if name == bundle)

    def reconcile(self, parsed: ParsedBundle, now: datetime) -> Changes:
        """Returns what must be written; changes nothing."""
        changes = Changes()
        present: set[str] = set()
        errors = dict(parsed.errors)
        chosen = self._choose(parsed, errors)
        for definition in chosen:
            present.add(definition.dag_id)
            self._reconcile_definition(definition, changes, now)
            evaluated = parsed.timetables.get(definition.dag_id)
            if evaluated is not None and self._timetables.get(definition.dag_id) != evaluated:
                changes.timetables.append((evaluated, definition.placement))
        # A file that also has an error of its own may hold DAGs that are not in `definitions`.
        failing = {dag_id for error in errors.values() for dag_id in error.dag_ids}
        for dag_id, entry in self.of_bundle(parsed.name).items():
            if dag_id in present:
                continue
            if entry.relative_path in parsed.broken or dag_id in failing:
                if self._announced.get(dag_id) != entry.version:
                    changes.announcements.append(Announcement(dag_id, entry.version, entry.placement))
            else:
                changes.announcements.append(Announcement(dag_id, None, entry.placement))
        self._reconcile_errors(parsed, errors, changes, now)
        return changes

    def bundle_error(self, bundle: str, error: pb.ParseError | None, now: datetime) -> Changes:
        """Returns what to write when a bundle as a whole fails (`error`), or no longer does (None)."""
        changes = Changes()
        key = (bundle, BUNDLE_PATH)
        if error is not None:
            self._report(key, error, changes, now)
        elif key in self._errors:
            self._mend(key, changes, now)
        return changes

    def without_bundle(self, bundle: str, now: datetime) -> Changes:
        """Returns what to write when a bundle is no longer configured."""
        changes = Changes()
        for dag_id, entry in self.of_bundle(bundle).items():
            changes.announcements.append(Announcement(dag_id, None, entry.placement))
        for key in self._errors:
            if key[0] == bundle:
                self._mend(key, changes, now)
        return changes

    def apply(self, changes: Changes) -> None:
        """Records that the changes are durable."""
        for definition in changes.definitions:
            self._current[definition.dag_id] = _entry(definition)
        for announcement in changes.announcements:
            known = self._current.get(announcement.dag_id)
            if announcement.version is not None:
                self._announced[announcement.dag_id] = announcement.version
            elif known is not None and known.placement == announcement.placement:
                self._current.pop(announcement.dag_id, None)
                self._announced.pop(announcement.dag_id, None)
                self._timetables.pop(announcement.dag_id, None)
        for evaluated, _ in changes.timetables:
            self._timetables[evaluated.dag_id] = evaluated
        for error in changes.errors:
            self._errors[error.bundle, error.relative_path] = error
        for key in changes.mended:
            self._errors.pop(key, None)
        if changes:
            self.generation += 1

    def _choose(self, parsed: ParsedBundle, errors: dict[str, pb.ParseError]) -> list[pb.DagDefinition]:
        """One definition a DAG id: the file that has the id already, else the first; the others get an error."""
        owners: dict[str, str] = {}
        for path in sorted(parsed.definitions):
            for definition in parsed.definitions[path]:
                known = self._current.get(definition.dag_id)
                held = known is not None and known.bundle == parsed.name and known.relative_path == path
                if held or definition.dag_id not in owners:
                    owners[definition.dag_id] = path
        chosen = []
        for path in sorted(parsed.definitions):
            for definition in parsed.definitions[path]:
                known = self._current.get(definition.dag_id)
                if known is not None and known.bundle != parsed.name:
                    holder = f"{known.relative_path} of bundle {known.bundle}"
                elif owners[definition.dag_id] != path:
                    holder = owners[definition.dag_id]
                else:
                    chosen.append(definition)
                    continue
                errors[path] = duplicate_error(definition.dag_id, holder, path, errors.get(path))
        return chosen

    def _reconcile_definition(self, definition: pb.DagDefinition, changes: Changes, now: datetime) -> None:
        known = self._current.get(definition.dag_id)
        if known is not None and known.placement != definition.placement:
            changes.announcements.append(Announcement(definition.dag_id, None, known.placement))
        if known is None or known.version != definition.version:
            written = pb.DagDefinition()
            written.CopyFrom(definition)
            written.parsed_time.FromDatetime(now)
            changes.definitions.append(written)
        if self._announced.get(definition.dag_id) != definition.version:
            changes.announcements.append(Announcement(definition.dag_id, definition.version, definition.placement))

    def _reconcile_errors(
        self, parsed: ParsedBundle, errors: Mapping[str, pb.ParseError], changes: Changes, now: datetime
    ) -> None:
        for path, error in errors.items():
            reported = pb.ParseError()
            reported.CopyFrom(error)
            reported.bundle, reported.relative_path, reported.bundle_version = parsed.name, path, parsed.version
            if not reported.dag_ids:
                owned = self.of_bundle(parsed.name).items()
                reported.dag_ids.extend(sorted(dag_id for dag_id, entry in owned if entry.relative_path == path))
            self._report((parsed.name, path), reported, changes, now)
        keep = parsed.pending | {BUNDLE_PATH}
        for key in self._errors:
            if key[0] == parsed.name and key[1] not in errors and key[1] not in keep:
                self._mend(key, changes, now)

    def _mend(self, key: tuple[str, str], changes: Changes, now: datetime) -> None:
        changes.mended.append(key)
        self._end(key, changes, now)

    def _end(self, key: tuple[str, str], changes: Changes, now: datetime) -> None:
        ended = pb.ParseErrorEnded(error=self._errors[key])
        ended.end_time.FromDatetime(now)
        changes.ended.append(ended)

    def _report(self, key: tuple[str, str], error: pb.ParseError, changes: Changes, now: datetime) -> None:
        known = self._errors.get(key)
        if known is not None and _same(known, error):
            return
        reported = pb.ParseError()
        reported.CopyFrom(error)
        reported.last_updated_time.FromDatetime(now)
        if known is not None:
            self._end(key, changes, now)
            reported.detected_time.CopyFrom(known.detected_time)
        else:
            reported.detected_time.FromDatetime(now)
        changes.errors.append(reported)


def duplicate_error(dag_id: str, holder: str, path: str, other: pb.ParseError | None = None) -> pb.ParseError:
    """Returns the error of a file whose DAG id another file has, together with the file's other findings."""
    error = pb.ParseError(
        relative_path=path,
        error_type="DuplicateDagId",
        message=f"DAG id {dag_id} is in two files: {holder} and {path}",
        fix=f"Rename the DAG in {path}, or remove one of the files.",
    )
    if other is not None:
        error.findings.extend(other.findings)
        error.dag_ids.extend(other.dag_ids)
    error.findings.add(
        check_id="SPN007", severity=pb.SEVERITY_ERROR, message=error.message, fix=error.fix, dag_id=dag_id
    )
    error.dag_ids.append(dag_id)
    return error


def _entry(definition: pb.DagDefinition) -> Current:
    return Current(
        definition.version,
        definition.placement,
        definition.bundle.name,
        definition.relative_path,
        definition.parsed_time.ToNanoseconds(),
    )


def _same(one: pb.ParseError, other: pb.ParseError) -> bool:
    return _bare(one) == _bare(other)


def _bare(error: pb.ParseError) -> pb.ParseError:
    bare = pb.ParseError()
    bare.CopyFrom(error)
    for name in ("detected_time", "last_updated_time", "bundle_version"):
        bare.ClearField(name)
    # Addresses differ each time a file is read.
    bare.message = _ADDRESS.sub("", bare.message)
    bare.stack_trace = _ADDRESS.sub("", bare.stack_trace)
    return bare
