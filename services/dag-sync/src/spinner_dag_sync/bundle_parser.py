"""Parses the DAG files of a bundle that changed since the last time, and remembers the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from spinner_dagbag import CheckConfig, CheckConfigError, DagParser, Limits, ParsedFile, ParseOptions, dag_files
from spinner_dagbag.checks import CONFIG_FILE
from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.snapshot import CodeHashes, Snapshot, digest

_logger = logging.getLogger(__name__)
# What broke a file may lie outside the bundle: a missing package, a slow host.
RETRY_BROKEN_SECONDS = 300.0


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
    parsed_now: int


class BundleParser:
    """One bundle's memory of parsed files. Not thread-safe."""

    def __init__(
        self, bundle: Bundle, parser: DagParser, on_parsed: Callable[[ParsedFile], None] | None = None
    ) -> None:
        self._parser = parser
        self._on_parsed = on_parsed
        self._options = ParseOptions(
            Limits(time_seconds=bundle.timeout_seconds, memory_bytes=bundle.memory_mib << 20), defaults=bundle.defaults
        )
        self._known: dict[str, FileResult] = {}
        self._checks = CheckConfig()
        self._retry_time = 0.0

    def is_due(self) -> bool:
        """Tells whether broken files should be read again although nothing changed."""
        return time.monotonic() >= self._retry_time and any(_is_broken(known) for known in self._known.values())

    def parse(self, root: Path, snapshot: Snapshot) -> BundleResult:
        """Blocks until all changed files are parsed."""
        errors: dict[str, pb.ParseError] = {}
        retry = self.is_due()
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
            if retry and known is not None and _is_broken(known):
                known = None
            if known is not None and self._code(hashes, path, known.parsed, switches) == known.code:
                results[path] = known
            else:
                changed.append(path)
        for parsed in self._parser.parse_all(root, changed, options):
            path = parsed.relative_path
            shown = {
                "code_hash": hashes.code(path, parsed.dependencies)[:16],
                "file_hash": snapshot.files[path].sha256[:16],
                "plugins_hash": hashes.plugins[:16],
            }
            results[path] = FileResult(parsed, self._code(hashes, path, parsed, switches), shown)
            if parsed.error is not None:
                _logger.info("%s: %s: %s", path, parsed.error.error_type, parsed.error.message)
            if self._on_parsed is not None:
                self._on_parsed(parsed)
        self._known = results
        if retry or changed:
            self._retry_time = time.monotonic() + RETRY_BROKEN_SECONDS
        return BundleResult(results, errors, len(changed))

    def _code(self, hashes: CodeHashes, path: str, parsed: ParsedFile, switches: str) -> str:
        return digest((hashes.code(path, parsed.dependencies), switches))


def _is_broken(result: FileResult) -> bool:
    error = result.parsed.error
    return error is not None and error.error_type != "CheckFailed"
