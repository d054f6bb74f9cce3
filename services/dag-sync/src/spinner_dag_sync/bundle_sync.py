"""One lap of one bundle: fetch → hash → parse what changed → pack → publish.

Invariants: a definition is published only after the bundle that it names is in the object store; what could not
be fetched or written is tried again at the next lap; a bundle's failure is a parse error of its own and leaves
all its DAGs as they are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from spinner_dagbag import Finding, PlacementError
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.inbox.v1.inbox_pb2 import TimetableEvaluated

from spinner_dag_sync.adapters.log import LogWriter
from spinner_dag_sync.adapters.tree import pack
from spinner_dag_sync.domain.assemble import Surroundings, assemble, object_key, timetable_of
from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.errors import BundleError
from spinner_dag_sync.domain.ledger import BUNDLE_PATH, Changes, Ledger, ParsedBundle
from spinner_dag_sync.domain.snapshot import Snapshot

_logger = logging.getLogger(__name__)
INLINE_SOURCE_BYTES = 256 << 10


class Objects(Protocol):
    """What is needed of the object store."""

    def put(self, key: str, content: bytes) -> None:
        """Writes an object; returns when it is durable."""

    def exists(self, key: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReadDag:
    """A DAG as a reader found it: the definition, the hashes of its code, its warnings, the text of its file."""

    definition: pb.DagDefinition
    code: dict[str, str]
    findings: tuple[Finding, ...] = ()
    # Text for the Code view when the DAG has no file of its own.
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """What a reader made of one version of a bundle."""

    snapshot: Snapshot
    dags: dict[str, list[ReadDag]]
    errors: dict[str, pb.ParseError]
    broken: frozenset[str]
    # Files that are still being read: they are among the broken, and nothing is said of their errors.
    pending: frozenset[str] = frozenset()


class Reader(Protocol):
    """Fetches a bundle and finds its DAGs (see `readers`)."""

    root: Path

    def read(self, force: bool) -> Iterator[ReadBundle]:
        """Yields what is known of the bundle, more and more of it; nothing when it did not change. Blocks.

        Raises BundleError. When the iteration is broken off, the next one tells of the same change again.
        """


@dataclass(slots=True)
class Status:
    version: str = ""
    synced_time: datetime | None = None
    files: int = 0
    dags: int = 0
    errors: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Shared:
    """What all bundles share; `lock` guards the ledger."""

    ledger: Ledger
    writer: LogWriter
    objects: Objects
    cluster: str
    content_version: Callable[[pb.DagDefinition], str]
    lock: threading.RLock = field(default_factory=threading.RLock)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def commit(self, changes: Changes) -> dict[str, str]:
        """Writes changes and records them; returns refused DAG ids and why. Raises Transient."""
        if not changes:
            return {}
        written, refused = self.writer.write(changes)
        self.ledger.apply(written)
        return refused


@dataclass(frozen=True, slots=True)
class _Remembered:
    parsed: pb.DagDefinition
    code: dict[str, str]
    stored: common_pb2.Placement | None
    definition: pb.DagDefinition


class BundleSync:
    """Runs laps of one bundle. `lap` may be called from several threads; laps never overlap."""

    def __init__(self, bundle: Bundle, reader: Reader, shared: Shared) -> None:
        self.bundle, self.status = bundle, Status()
        self._reader, self._shared = reader, shared
        self._lap = threading.Lock()
        self._last: ReadBundle | None = None
        self._generation = -1
        self._remembered: dict[tuple[str, str], _Remembered] = {}

    def lap(self, force: bool = False) -> bool:
        """Returns whether anything was written. Raises Transient when the log or the store is away; call again."""
        with self._lap:
            wrote, read_any = False, False
            try:
                for read in self._reader.read(force):
                    self._last, read_any = read, True
                    wrote = self._publish(read) or wrote
            except BundleError as error:
                return self._failed(error)
            if not read_any and self._last is not None and self._generation != self._shared.ledger.generation:
                # Another bundle may have given up a DAG id that is in this one too.
                wrote = self._publish(self._last)
            self._seen()
            return wrote

    def _seen(self) -> None:
        self.status.synced_time = self._shared.clock()
        if self._last is not None:
            self.status.version = self._last.snapshot.version
            self.status.files = len(self._last.snapshot.files)
        with self._shared.lock:
            self.status.dags = len(self._shared.ledger.of_bundle(self.bundle.name))
            self.status.errors = self._shared.ledger.error_count(self.bundle.name)
        self.status.last_error = ""

    def _failed(self, error: BundleError) -> bool:
        if self.status.last_error != str(error):
            _logger.warning("Bundle %s: %s", self.bundle.name, error)
        self.status.last_error = str(error)
        report = pb.ParseError(
            bundle=self.bundle.name,
            relative_path=BUNDLE_PATH,
            error_type=error.kind,
            message=error.message,
            fix=error.fix,
        )
        with self._shared.lock:
            changes = self._shared.ledger.bundle_error(self.bundle.name, report, self._shared.clock())
            self._shared.commit(changes)
            self.status.errors = self._shared.ledger.error_count(self.bundle.name)
        return bool(changes)

    def _publish(self, read: ReadBundle) -> bool:
        parsed = self._assembled(read)
        shared = self._shared
        with shared.lock:
            now = shared.clock()
            changes = shared.ledger.reconcile(parsed, now)
            over = shared.ledger.bundle_error(self.bundle.name, None, now)
            changes.mended += over.mended
            changes.ended += over.ended
            for definition in changes.definitions:
                # A definition that is remembered from an earlier lap holds at this version too.
                definition.bundle.version = read.snapshot.version
                definition.bundle.object_key = object_key(self.bundle.name, read.snapshot.version)
            if changes.definitions:
                self._pack(read.snapshot)
            refused = shared.commit(changes)
            if refused:
                shared.commit(self._refusals(parsed, refused, now))
            self._generation = shared.ledger.generation
        if changes:
            _logger.info(
                "Bundle %s at %s: %d definitions, %d announcements, %d errors, %d mended",
                self.bundle.name,
                read.snapshot.version,
                len(changes.definitions) - len(refused),
                len(changes.announcements),
                len(changes.errors),
                len(changes.mended),
            )
        return bool(changes)

    def _assembled(self, read: ReadBundle) -> ParsedBundle:
        version = read.snapshot.version
        errors = dict(read.errors)
        definitions: dict[str, tuple[pb.DagDefinition, ...]] = {}
        timetables: dict[str, TimetableEvaluated] = {}
        for path, dags in read.dags.items():
            found = []
            for dag in dags:
                around = Surroundings(
                    bundle=self.bundle.name,
                    bundle_version=version,
                    object_key=object_key(self.bundle.name, version),
                    cluster=self.bundle.cluster or self._shared.cluster,
                    code=dag.code,
                    source=partial(self._source, path, dag, read.snapshot),
                    partitions_of=self._shared.writer.partitions_of,
                    stored=self._stored,
                    content_version=self._shared.content_version,
                )
                try:
                    found.append(self._completed(path, dag, around))
                    evaluated = timetable_of(dag.definition, found[-1].version)
                    if evaluated is not None:
                        timetables[evaluated.dag_id] = evaluated
                except PlacementError as error:
                    dag_id = dag.definition.dag_id
                    errors[path] = pb.ParseError(
                        relative_path=path,
                        error_type="PlacementError",
                        message=error.message,
                        fix=error.fix,
                        dag_ids=[dag_id],
                    )
            definitions[path] = tuple(found)
        self._remembered = {key: known for key, known in self._remembered.items() if key[0] in read.dags}
        return ParsedBundle(self.bundle.name, version, definitions, errors, read.broken, read.pending, timetables)

    def _completed(self, path: str, dag: ReadDag, around: Surroundings) -> pb.DagDefinition:
        """Assembles a definition, or takes the one of an earlier lap when nothing that is in it changed."""
        key = (path, dag.definition.dag_id)
        stored = around.stored(dag.definition.dag_id)
        known = self._remembered.get(key)
        if known is None or known.parsed is not dag.definition or known.code != dag.code or known.stored != stored:
            definition = assemble(dag.definition, around, dag.findings)
            known = self._remembered[key] = _Remembered(dag.definition, dag.code, stored, definition)
        return known.definition

    def _stored(self, dag_id: str) -> common_pb2.Placement | None:
        with self._shared.lock:
            known = self._shared.ledger.current(dag_id)
        return known.placement if known is not None else None

    def _source(self, path: str, dag: ReadDag, snapshot: Snapshot) -> common_pb2.Blob:
        if dag.source:
            return common_pb2.Blob(inline=dag.source, media_type="application/json")
        entry = snapshot.files.get(path)
        if entry is None:
            return common_pb2.Blob()
        content = (self._reader.root / path).read_bytes()
        if len(content) <= INLINE_SOURCE_BYTES:
            return common_pb2.Blob(inline=content, media_type="text/x-python")
        key = f"sources/{entry.sha256}"
        if not self._shared.objects.exists(key):
            self._shared.objects.put(key, content)
        reference = common_pb2.ObjectRef(key=key, size=len(content), sha256=entry.sha256)
        return common_pb2.Blob(object=reference, media_type="text/x-python")

    def _pack(self, snapshot: Snapshot) -> None:
        key = object_key(self.bundle.name, snapshot.version)
        if not self._shared.objects.exists(key):
            self._shared.objects.put(key, pack(self._reader.root, snapshot.files))

    def _refusals(self, parsed: ParsedBundle, refused: dict[str, str], now: datetime) -> Changes:
        errors = dict(parsed.errors)
        kept: dict[str, tuple[pb.DagDefinition, ...]] = {}
        for path, definitions in parsed.definitions.items():
            kept[path] = tuple(item for item in definitions if item.dag_id not in refused)
            for definition in definitions:
                if definition.dag_id in refused:
                    errors[path] = pb.ParseError(
                        relative_path=path,
                        error_type="DefinitionTooLarge",
                        message=f"DAG {definition.dag_id} is too large: {refused[definition.dag_id]}",
                        fix="Split the DAG, or map one task over its inputs with .expand().",
                        dag_ids=[definition.dag_id],
                    )
        trimmed = replace(parsed, definitions=kept, errors=errors)
        return self._shared.ledger.reconcile(trimmed, now)
