"""Parses the DAG files of a bundle that changed since the last time, and remembers the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spinner.serialization import explicit_of
from spinner_dagbag import CheckConfig, CheckConfigError, DagParser, Limits, ParsedFile, ParseOptions, dag_files
from spinner_dagbag.checks import CONFIG_FILE
from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.requests import Requests, asks_more
from spinner_dag_sync.domain.snapshot import CodeHashes, Snapshot, digest

_logger = logging.getLogger(__name__)
# What broke a file may lie outside the bundle: a missing package, a slow host. A file that hangs costs its whole
# time limit at each attempt, so it is tried less often.
RETRY_BROKEN_SECONDS = 300.0
RETRY_TIMED_OUT_SECONDS = 1800.0
# A custom timetable is asked again when half of the time that it was asked for is over.
EVALUATE_AGAIN_SECONDS = (60.0, 86_400.0)
# Asked for a timetable's first runs.
_FIRST = pb.TimetableRequest()


@dataclass(frozen=True, slots=True)
class FileResult:
    """A parsed file, the hash of all code behind it, and the hashes shown on the details page."""

    parsed: ParsedFile
    code: str
    hashes: dict[str, str]


@dataclass(frozen=True, slots=True)
class BundleResult:
    files: dict[str, FileResult]
    # Errors of files that are no DAG files: the switches of the checks.
    errors: dict[str, pb.ParseError]
    # Files that are still being read.
    pending: frozenset[str]


class BundleParser:
    """One bundle's memory of parsed files. Not thread-safe."""

    def __init__(
        self,
        bundle: Bundle,
        parser: DagParser,
        on_parsed: Callable[[ParsedFile], None] | None = None,
        requests: Requests | None = None,
    ) -> None:
        self._name = bundle.name
        self._parser = parser
        # What schedulers ask of custom timetables, and what those of each file were asked when it was read.
        self._requests = requests or Requests()
        self._asked: dict[str, dict[str, pb.TimetableRequest]] = {}
        self._on_parsed = on_parsed
        self._options = ParseOptions(
            Limits(time_seconds=bundle.timeout_seconds, memory_bytes=bundle.memory_mib << 20), defaults=bundle.defaults
        )
        self._known: dict[str, FileResult] = {}
        self._checks = CheckConfig()
        self._again_times: dict[str, float] = {}

    def is_due(self) -> bool:
        """Tells whether a file should be read again although nothing changed: it is broken, or tells the time."""
        return bool(self._due())

    def _due(self) -> set[str]:
        now = time.monotonic()
        found = {path for path, at in self._again_times.items() if now >= at}
        for path, asked in self._asked.items():
            wanted = self._requests.of_file(self._name, path, asked)
            if any(asks_more(known, wanted.get(dag_id, _FIRST)) for dag_id, known in asked.items()):
                found.add(path)
        return found

    def parse(self, root: Path, snapshot: Snapshot) -> Iterator[BundleResult]:
        """Parses all changed files; yields what is known about once a second, and at the end.

        So a file that hangs holds up no other.
        """
        errors: dict[str, pb.ParseError] = {}
        due = self._due()
        try:
            self._checks = CheckConfig.load(root)
        except CheckConfigError as error:
            errors[CONFIG_FILE] = pb.ParseError(
                relative_path=CONFIG_FILE, error_type="CheckConfigError", message=error.message, fix=error.fix
            )
        options = replace(self._options, checks=self._checks)
        switches = digest([repr(self._checks)])
        hashes = CodeHashes(snapshot, dag_files(root))
        results: dict[str, FileResult] = {}
        changed: list[str] = []
        for path in sorted(hashes.dag_files):
            known = self._known.get(path)
            if path not in due and known is not None and self._code(hashes, path, known.parsed, switches) == known.code:
                results[path] = known
            else:
                changed.append(path)
        pending = set(changed)
        asked = {path: self._requests.of_file(self._name, path, self._asked.get(path, ())) for path in changed}
        options = replace(options, timetables=asked)
        for batch in self._parser.parse_batches(root, changed, options):
            for parsed in batch:
                path = parsed.relative_path
                pending.discard(path)
                results[path] = self._result(hashes, parsed, snapshot, switches)
            if pending and batch:
                yield BundleResult(dict(results), errors, frozenset(pending))
        self._known = results
        self._again_times = {path: self._again_times[path] for path in self._again_times.keys() & results.keys()}
        self._asked = {path: self._asked[path] for path in self._asked.keys() & results.keys()}
        for path in changed:
            self._plan_again(path, results[path])
            self._note_asked(path, results[path], asked[path])
        yield BundleResult(results, errors, frozenset())

    def _result(self, hashes: CodeHashes, parsed: ParsedFile, snapshot: Snapshot, switches: str) -> FileResult:
        path = parsed.relative_path
        if parsed.error is not None:
            _logger.info("%s: %s: %s", path, parsed.error.error_type, parsed.error.message)
        if self._on_parsed is not None:
            self._on_parsed(parsed)
        shown = {
            "code_hash": hashes.code(path, parsed.dependencies)[:16],
            "file_hash": snapshot.files[path].sha256[:16],
            "plugins_hash": hashes.plugins[:16],
        }
        return FileResult(parsed, self._code(hashes, path, parsed, switches), shown)

    def _plan_again(self, path: str, result: FileResult) -> None:
        error = result.parsed.error
        if error is None or error.error_type == "CheckFailed":
            delays = [delay for made in result.parsed.definitions if (delay := _evaluate_again(made)) is not None]
            if delays:
                self._again_times[path] = time.monotonic() + min(delays)
            else:
                self._again_times.pop(path, None)
        else:
            delay = RETRY_TIMED_OUT_SECONDS if error.error_type == "TimedOut" else RETRY_BROKEN_SECONDS
            self._again_times[path] = time.monotonic() + delay

    def _note_asked(self, path: str, result: FileResult, asked: dict[str, pb.TimetableRequest]) -> None:
        """Remembers what a file's custom timetables were asked; a broken file is tried again by time."""
        self._asked.pop(path, None)
        custom = [made.dag_id for made in result.parsed.definitions if explicit_of(made.schedule) is not None]
        if custom:
            self._asked[path] = {dag_id: asked.get(dag_id, _FIRST) for dag_id in custom}

    def _code(self, hashes: CodeHashes, path: str, parsed: ParsedFile, switches: str) -> str:
        return digest((hashes.code(path, parsed.dependencies), switches))


def _evaluate_again(definition: pb.DagDefinition) -> float | None:
    """Returns in how many seconds a custom timetable has to be asked again, None for never.

    One that had no more to say may have later. One whose answer ends in the past waits for its scheduler to ask.
    """
    explicit = explicit_of(definition.schedule)
    if explicit is None:
        return None
    least, most = EVALUATE_AGAIN_SECONDS
    if explicit.complete:
        return most
    last = max((interval.run_after.seconds for interval in explicit.intervals), default=0)
    left = last - time.time()
    return min(max(left / 2, least), most) if left > 0 else None
