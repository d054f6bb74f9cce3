"""Reads DAG files in bounded children and turns whatever happens into definitions, findings or a ParseError.

Invariant: what one file does (hang, crash, exit, print, allocate, fork) is its own ParseError and has no effect
on any other file or on the caller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError
from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dagbag import dag_child, frames
from spinner_dagbag.bounded import BoundedRunner, Outcome
from spinner_dagbag.checks import CheckConfig, Finding, Severity
from spinner_dagbag.limits import Limits

PRELOAD = ("spinner_dagbag.warm",)
_TEXT_LIMIT = 64 << 10
_DUMPED_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What became of one file.

    `definitions` are the DAGs that may be published: their placement, version and bundle are still empty.
    `error` is set when the file, or one of its DAGs, may not be published; `findings` has warnings too.
    `dependencies` are the files below the root that it read.
    """

    relative_path: str
    definitions: tuple[pb.DagDefinition, ...] = ()
    error: pb.ParseError | None = None
    findings: tuple[Finding, ...] = ()
    dependencies: tuple[str, ...] = ()
    seconds: float = 0.0
    output: str = ""


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """`defaults` of the bundle fill what a DAG leaves open: tier, access_control, owner, project.

    `timetables`: by file and DAG id what is asked of a custom timetable.
    """

    limits: Limits = field(default_factory=Limits)
    checks: CheckConfig = field(default_factory=CheckConfig)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    timetables: Mapping[str, Mapping[str, pb.TimetableRequest]] = field(default_factory=dict)


class DagParser:
    """Parses files of bundles. Thread-safe; close it, or use it in a `with`."""

    def __init__(self, parallel: int = 2, runner: BoundedRunner | None = None) -> None:
        self._runner = runner or BoundedRunner(PRELOAD, parallel)

    def parse(self, root: Path, relative_path: str, options: ParseOptions | None = None) -> ParsedFile:
        """Blocks until the file is read or has broken a bound."""
        options = options or ParseOptions()
        request = {
            "root": str(root),
            "path": relative_path,
            "checks": options.checks.as_json(),
            "defaults": dict(options.defaults),
            "timetables": {
                dag_id: MessageToJson(asked, indent=None)
                for dag_id, asked in options.timetables.get(relative_path, {}).items()
            },
        }
        outcome = self._runner.run(dag_child.ENTRY, json.dumps(request).encode(), options.limits)
        return _parsed(root, relative_path, outcome, options.limits)

    def parse_all(
        self, root: Path, relative_paths: Iterable[str], options: ParseOptions | None = None
    ) -> Iterator[ParsedFile]:
        """Parses files in parallel; yields each as soon as it is read, in no order."""
        for batch in self.parse_batches(root, relative_paths, options):
            yield from batch

    def parse_batches(
        self,
        root: Path,
        relative_paths: Iterable[str],
        options: ParseOptions | None = None,
        tick_seconds: float = 1.0,
    ) -> Iterator[list[ParsedFile]]:
        """Parses files in parallel; every `tick_seconds`, and at the end, yields those that were read since."""
        with ThreadPoolExecutor(self._runner.parallel, thread_name_prefix="parse") as pool:
            waiting = {pool.submit(self.parse, root, path, options) for path in relative_paths}
            try:
                while waiting:
                    done, waiting = wait(waiting, tick_seconds)
                    yield [future.result() for future in done]
            finally:
                for future in waiting:
                    future.cancel()

    def close(self) -> None:
        self._runner.close()

    def __enter__(self) -> DagParser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parsed(root: Path, path: str, outcome: Outcome, limits: Limits) -> ParsedFile:
    answer = _answer(outcome)
    if answer is None:
        ended = _bounded_error(root, path, outcome, limits)
        return ParsedFile(path, error=ended, seconds=outcome.seconds, output=outcome.output)
    header, definitions = answer
    findings = tuple(
        Finding(**{**finding, "severity": Severity(finding["severity"])}) for finding in header["findings"]
    )
    error: pb.ParseError | None = None
    if header["error"] is not None:
        error = _raised_error(path, header["error"])
        definitions = []
    elif failing := [finding for finding in findings if finding.severity is Severity.ERROR]:
        error = check_error(path, failing, findings, [definition.dag_id for definition in definitions])
        bad = {finding.dag_id for finding in failing}
        definitions = [] if "" in bad else [item for item in definitions if item.dag_id not in bad]
    return ParsedFile(
        path,
        definitions=tuple(definitions),
        error=error,
        findings=findings,
        dependencies=tuple(header["dependencies"]),
        seconds=outcome.seconds,
        output=outcome.output,
    )


def check_error(
    path: str, failing: Iterable[Finding], findings: Iterable[Finding] = (), dag_ids: Iterable[str] = ()
) -> pb.ParseError:
    """Returns the ParseError of a file whose DAGs don't pass the checks."""
    failing = list(failing)
    first = failing[0]
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    named = [finding.dag_id for finding in failing if finding.dag_id]
    return pb.ParseError(
        relative_path=path,
        error_type="CheckFailed",
        message=f"{first.check_id}: {first.message}{more}",
        fix=first.fix,
        line=first.line,
        dag_ids=sorted(set(named) or set(dag_ids)),
        findings=[finding.as_proto() for finding in (list(findings) or failing)],
    )


def _answer(outcome: Outcome) -> tuple[dict[str, Any], list[pb.DagDefinition]] | None:
    """Reads a child's answer; None when there is none or it makes no sense."""
    if outcome.result is None:
        return None
    try:
        ((header, body),) = frames.FrameBuffer().feed(outcome.result)
        definitions, start = [], 0
        for length in header["lengths"]:
            definitions.append(pb.DagDefinition.FromString(body[start : start + length]))
            start += length
    except (ValueError, KeyError, TypeError, DecodeError):
        return None
    return header, definitions


def _raised_error(path: str, raised: dict[str, Any]) -> pb.ParseError:
    fix = raised["fix"] or _fix(raised["error_type"], raised["missing_module"], raised["line"])
    return pb.ParseError(
        relative_path=path,
        error_type=raised["error_type"],
        message=raised["message"][:_TEXT_LIMIT],
        fix=fix,
        stack_trace=raised["trace"][-_TEXT_LIMIT:],
        line=raised["line"],
        source_line=raised["source_line"],
    )


def _fix(error_type: str, missing_module: str, line: int) -> str:
    if missing_module:
        top = missing_module.partition(".")[0]
        if top == "airflow":
            return "Import from spinner instead of airflow; the names are the same: `from spinner import DAG`."
        return f"Install {top}, or put the module {missing_module} into the bundle's plugins folder."
    if error_type in ("SyntaxError", "IndentationError", "TabError"):
        return f"Correct the syntax at line {line} of the file."
    if error_type == "SystemExit":
        return "Remove sys.exit() and exit() from the top level of the file."
    if error_type == "OutOfMemory":
        return "Load less at the top level of the file; move the work into a task."
    return f"Correct line {line} of the file." if line else "See the stack trace for the place of the error."


def _bounded_error(root: Path, path: str, outcome: Outcome, limits: Limits) -> pb.ParseError:
    kind, message, fix = _ending(outcome, limits)
    trace, line = _dumped(root, path, outcome.trace)
    try:
        shown = dag_child.source_line((root / path).read_bytes(), line)
    except OSError:
        shown = ""
    if not trace and outcome.output:
        trace = "Last output:\n" + outcome.output[-4000:]
    return pb.ParseError(
        relative_path=path,
        error_type=kind,
        message=message,
        fix=fix,
        stack_trace=trace,
        line=line,
        source_line=shown,
    )


def _ending(outcome: Outcome, limits: Limits) -> tuple[str, str, str]:
    move = "Move the work from the top level of the file into a task."
    memory = f"{limits.memory_bytes >> 20} MiB"
    match outcome.reason:
        case "time":
            return "TimedOut", f"Reading the file took longer than {limits.time_seconds:g} s", move
        case "memory":
            return "OutOfMemory", f"Reading the file took more than {memory} of memory", move
        case "processes":
            return "TooManyProcesses", f"Reading the file started more than {limits.processes} processes", move
        case "result":
            size = f"{limits.result_bytes >> 20} MiB"
            return "DefinitionTooLarge", f"The file's DAGs are larger than {size}", "Split the file or its DAGs."
        case "server":
            return "Crashed", "Reading the file killed the process that reads DAG files", move
    if outcome.signal_name == "SIGKILL":
        return "OutOfMemory", "The system killed the process that read the file, most likely for its memory", move
    if outcome.exit_code < 0:
        fix = "Look for native code (a C extension, ctypes) that the top level of the file uses."
        return "Crashed", f"Reading the file crashed with {outcome.signal_name}", fix
    if "MemoryError" in outcome.output[-2000:]:
        return "OutOfMemory", f"Reading the file took more than {memory} of memory", move
    fix = "Remove os._exit() and whatever else ends the process or closes its files from the top level."
    return "Exited", f"The file ended the process that read it (exit code {outcome.exit_code})", fix


def _dumped(root: Path, path: str, dump: str) -> tuple[str, int]:
    """Turns faulthandler's stacks (innermost call first) into text with paths below the root, and the file's line."""
    roots = {f"{root}/", f"{root.resolve()}/"}
    kept, line = [], 0
    for text in dump.splitlines():
        match = _DUMPED_LINE.search(text)
        if match and match["file"].startswith(str(Path(__file__).parent)):
            continue
        for prefix in roots:
            text = text.replace(prefix, "")
        if match and not line and f'"{path}"' in text:
            line = int(match["line"])
        kept.append(text)
    return "\n".join(kept)[:_TEXT_LIMIT], line


def finding_of(error: pb.ParseError) -> Finding:
    """Returns a parse error as a finding with the id SPN000."""
    return Finding(
        check_id="SPN000",
        severity=Severity.ERROR,
        message=f"{error.error_type}: {error.message}",
        fix=error.fix,
        path=error.relative_path,
        line=error.line,
    )
