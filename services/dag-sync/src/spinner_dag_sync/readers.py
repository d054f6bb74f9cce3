"""Readers: from a bundle's source to its DAGs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from spinner_dagbag import CheckConfig, Severity
from spinner_dagbag.checks import check_definition
from spinner_dagbag.checks.model import DagSubject
from spinner_dagbag.parsing import check_error
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as tf

from spinner_dag_sync.adapters.sources import FolderSource
from spinner_dag_sync.adapters.sources.base import Source
from spinner_dag_sync.adapters.token_fetcher import TokenFetcher
from spinner_dag_sync.adapters.tree import Tree
from spinner_dag_sync.bundle_parser import BundleParser
from spinner_dag_sync.bundle_sync import ReadBundle, ReadDag
from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.errors import BundleError
from spinner_dag_sync.domain.pinball import definition_of, path_of, source_of
from spinner_dag_sync.domain.snapshot import Snapshot


class DagFileReader:
    """Folders, git repositories and object stores: files with DAGs in them."""

    def __init__(self, source: Source, parser: BundleParser, work: Path) -> None:
        self.root = work / "tree"
        self._source, self._parser = source, parser
        self._tree = Tree(self.root)
        self._version = ""

    def read(self, force: bool) -> Iterator[ReadBundle]:
        snapshot = self._tree.update(self._source)
        if snapshot.version == self._version and not force and not self._parser.is_due():
            return
        for result in self._parser.parse(self.root, snapshot):
            dags: dict[str, list[ReadDag]] = {}
            errors: dict[str, pb.ParseError] = dict(result.errors)
            broken = set(result.pending)
            for path, file in result.files.items():
                dags[path] = [ReadDag(item, file.hashes, file.parsed.findings) for item in file.parsed.definitions]
                if file.parsed.error is not None:
                    errors[path] = file.parsed.error
                    if file.parsed.error.error_type != "CheckFailed":
                        broken.add(path)
            yield ReadBundle(snapshot, dags, errors, frozenset(broken), result.pending)
        self._version = snapshot.version


class PinballReader:
    """A legacy repository: the token-fetcher parses it, its folder is packed for the workers."""

    def __init__(self, bundle: Bundle, fetcher: TokenFetcher, work: Path) -> None:
        self.root = work / "tree"
        self._bundle, self._fetcher = bundle, fetcher
        self._tree = Tree(self.root)
        self._source = FolderSource(bundle.path) if bundle.path is not None else None
        self._seen: tuple[str, str] = ("", "")
        self._known: dict[str, tuple[pb.DagDefinition, bytes]] = {}

    def read(self, force: bool) -> Iterator[ReadBundle]:
        listed = self._fetcher.workflows(self._bundle.repository or "")
        snapshot = self._tree.update(self._source) if self._source is not None else Snapshot({}, listed.version)
        seen = (listed.version, snapshot.version)
        if seen == self._seen and not force:
            return
        for error in listed.errors:
            if not error.workflow_name:
                place = f" ({error.file}, line {error.line})" if error.file else ""
                fix = "Correct the repository; the token-fetcher reads it again when it changes."
                raise BundleError(error.error_type, f"{error.message}{place}", fix)
        dags: dict[str, list[ReadDag]] = {}
        errors = {path_of(error.workflow_name): _workflow_error(error) for error in listed.errors}
        broken = frozenset(errors)
        known: dict[str, tuple[pb.DagDefinition, bytes]] = {}
        hashes = {"code_hash": snapshot.version[:16]}
        for name in listed.workflow_names:
            specification = self._fetcher.specification(self._bundle.repository or "", name)
            priorities = self._fetcher.priorities(self._bundle.repository or "", name)
            definition, source = definition_of(specification, priorities, self._bundle), source_of(specification)
            # The same object for the same content: what depends on it is remembered by identity.
            before = self._known.get(name)
            known[name] = before if before is not None and before[0] == definition else (definition, source)
            path = path_of(name)
            subject = DagSubject(definition, path, datetime.now(UTC))
            findings = check_definition(subject, CheckConfig())
            failing = [finding for finding in findings if finding.severity is Severity.ERROR]
            if failing:
                errors[path] = check_error(path, failing, findings, [name])
            else:
                dags[path] = [ReadDag(known[name][0], hashes, tuple(findings), known[name][1])]
        self._known = known
        yield ReadBundle(snapshot, dags, errors, broken)
        self._seen = seen


def _workflow_error(error: tf.WorkflowError) -> pb.ParseError:
    return pb.ParseError(
        relative_path=path_of(error.workflow_name),
        error_type=error.error_type,
        message=error.message,
        stack_trace=error.stack_trace,
        line=error.line,
        fix=f"Correct {error.file}, line {error.line}." if error.file else "Correct the workflow's configuration.",
        dag_ids=[error.workflow_name],
    )
