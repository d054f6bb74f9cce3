"""Runs in a bounded child: reads one DAG file, serializes its DAGs and checks them.

The answer is one frame: a header (lengths of the definitions, the error, findings, what the file read) and the
serialized definitions. An audit hook notes what the file does while it runs: files that it opens below the
bundle's root become its dependencies, connections, sleeps and programs become findings.
"""

from __future__ import annotations

import ast
import dataclasses
import gc
import io
import json
import linecache
import os
import sys
import time
import tokenize
import traceback
import types
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.json_format import Parse as ParseJson
from spinner.core import stack
from spinner.serialization import ask, dag_to_definition, dags_of_module, evaluate, explicit_of
from spinner.serialization.loading import add_import_paths, module_name
from spinner.timetables import DataInterval
from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dagbag import frames
from spinner_dagbag.checks import CheckConfig, Finding, Severity, check_definition, check_source
from spinner_dagbag.checks.model import DagSubject, Lines, ParseEvent, SourceSubject

ENTRY = "spinner_dagbag.dag_child:parse"
_WATCHED = {"open", "socket.connect", "subprocess.Popen", "os.system"}


class Recorder:
    """Notes what happens while the file runs."""

    def __init__(self, root: str, path: str) -> None:
        self._root, self._path = root + os.sep, path
        self.active = False
        self.dependencies: set[str] = set()
        self.events: list[ParseEvent] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _WATCHED or not self.active:
            return
        self.active = False
        try:
            self._note(event, arguments)
        finally:
            self.active = True

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name = arguments[0]
            if isinstance(name, bytes):
                name = os.fsdecode(name)
            if isinstance(name, str | os.PathLike):
                path = os.path.abspath(name)  # noqa: PTH100 - links need not be followed, and this is hot
                if path.startswith(self._root) and path != self._path and "__pycache__" not in path:
                    self.dependencies.add(path[len(self._root) :].replace(os.sep, "/"))
            return
        line = self._line(sys._getframe(2))
        if line == 0 or len(self.events) >= 100:
            return
        if event == "socket.connect":
            address = arguments[1]
            detail = ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address)
            self.events.append(ParseEvent("connect", line, detail))
        else:
            self.events.append(ParseEvent("process", line, str(arguments[0])[:200]))

    def watch_sleep(self) -> None:
        """Notes calls of time.sleep, which only newer Pythons audit."""
        sleep = time.sleep

        def noted(seconds: Any) -> None:
            line = self._line(sys._getframe(1)) if self.active else 0
            if line and len(self.events) < 100:
                self.events.append(ParseEvent("sleep", line, ""))
            sleep(seconds)

        time.sleep = noted

    def _line(self, frame: FrameType | None) -> int:
        """The line of the DAG file that led here; 0 when an import of somebody else's module did it."""
        while frame is not None:
            name = frame.f_code.co_filename
            if name == self._path:
                return frame.f_lineno
            if name.startswith("<frozen importlib"):
                return 0
            frame = frame.f_back
        return 0


@dataclasses.dataclass(slots=True)
class _Result:
    definitions: list[pb.DagDefinition] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    error: dict[str, Any] | None = None


def parse(payload: bytes) -> bytes:
    """Entry point. The payload is JSON: root, path, checks (CheckConfig), defaults (of the bundle),
    timetables (DAG id → the TimetableRequest that its custom timetable answers, as JSON)."""
    request = json.loads(payload)
    root = os.path.realpath(request["root"])
    path = os.path.join(root, request["path"])  # noqa: PTH118 - pathlib would cost more than the parse of a small file
    gc.set_threshold(50_000, 20, 50)
    sys.dont_write_bytecode = True
    os.chdir(root)
    add_import_paths(root)
    recorder = Recorder(root, path)
    sys.addaudithook(recorder.hook)
    recorder.watch_sleep()
    result = _Result()
    started = time.perf_counter()
    source = b""
    try:
        source = Path(path).read_bytes()
        tree = ast.parse(source, path)
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        module = _execute(code, request["path"], path, recorder)
        result.definitions = _definitions(module, request)
        seconds = time.perf_counter() - started
        _check(result, tree, recorder, seconds, request)
    except BaseException as error:  # noqa: BLE001 - sys.exit, KeyboardInterrupt and all others are this file's error
        recorder.active = False
        result.error = _error(error, path, root, source)
    return _answer(result, recorder)


def _execute(code: CodeType, relative: str, path: str, recorder: Recorder) -> types.ModuleType:
    stack.reset()
    name = module_name(relative)
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    recorder.active = True
    try:
        exec(code, module.__dict__)  # noqa: S102 - reading DAG files is what this process is for
    finally:
        recorder.active = False
    return module


def _definitions(module: types.ModuleType, request: dict[str, Any]) -> list[pb.DagDefinition]:
    found = []
    for dag in dags_of_module(module):
        definition: pb.DagDefinition = dag_to_definition(dag)
        definition.relative_path = request["path"]
        explicit = explicit_of(definition.schedule)
        if explicit is not None:
            _evaluate(dag, explicit, request.get("timetables", {}).get(definition.dag_id))
        _apply_defaults(definition, request.get("defaults") or {})
        _make_relative(definition, f"{os.path.realpath(request['root'])}{os.sep}")
        found.append(definition)
    return found


def _evaluate(dag: Any, explicit: pb.ExplicitSchedule, asked: str | None) -> None:
    """Asks a custom timetable for its next runs, and what else is asked of it."""
    request = ParseJson(asked, pb.TimetableRequest()) if asked else pb.TimetableRequest()
    last: DataInterval | None = None
    if request.HasField("after_end"):
        explicit.after_start.CopyFrom(request.after_start)
        explicit.after_end.CopyFrom(request.after_end)
        last = DataInterval(request.after_start.ToDatetime(UTC), request.after_end.ToDatetime(UTC))
    intervals, explicit.complete = evaluate(dag, datetime.now(UTC), last)
    explicit.intervals.extend(intervals)
    explicit.answers.extend(ask(dag, question) for question in request.questions)


def _make_relative(definition: pb.DagDefinition, root: str) -> None:
    """Paths made from `__file__` must not make a version depend on where the bundle lies now."""
    if root.encode() in definition.SerializeToString():
        text = MessageToJson(definition, indent=None, ensure_ascii=False)
        # In JSON strings that are inside of JSON strings a slash is a slash, so one replacement finds all.
        definition.Clear()
        ParseJson(text.replace(root, ""), definition)


def _apply_defaults(definition: pb.DagDefinition, defaults: dict[str, Any]) -> None:
    if not definition.tier and "tier" in defaults:
        definition.tier = int(defaults["tier"])
    if not definition.access_control:
        for role, permissions in sorted((defaults.get("access_control") or {}).items()):
            definition.access_control.add(role=role, permissions=sorted(permissions))
    if not definition.owner:
        definition.owner = defaults.get("owner", "")
    if not definition.project:
        definition.project = defaults.get("project", "")
    if not definition.runtime:
        definition.runtime = "spinner"


def _check(result: _Result, tree: ast.Module, recorder: Recorder, seconds: float, request: dict[str, Any]) -> None:
    config = CheckConfig.from_mapping(request["checks"])
    path = request["path"]
    lines = Lines(tree)
    now = datetime.now(UTC)
    seen: set[str] = set()
    for definition in result.definitions:
        subject = DagSubject(definition, path, now, config.pools, config.owners)
        result.findings += check_definition(subject, config, lines)
        if definition.dag_id in seen:
            message = f"The file has two DAGs with the id {definition.dag_id}"
            line = lines.of(definition.dag_id)
            finding = Finding("SPN007", Severity.ERROR, message, "Rename one of them.", path, line, definition.dag_id)
            result.findings.append(finding)
        seen.add(definition.dag_id)
    result.findings += check_source(SourceSubject(tree, recorder.events, seconds), path, config)


def _error(error: BaseException, path: str, root: str, source: bytes) -> dict[str, Any]:
    line = 0
    frames_of_file = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename in (path, None):
        line = error.lineno or 0
    elif frames_of_file:
        line = frames_of_file[-1].lineno or 0
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        kind = "OutOfMemory"
        gc.collect()
    return {
        "error_type": kind,
        "message": _text_of(error),
        "fix": str(getattr(error, "fix", "") or ""),
        "trace": _trace(error, path, root),
        "line": line,
        "source_line": source_line(source, line),
        "missing_module": error.name or "" if isinstance(error, ModuleNotFoundError) else "",
    }


def _text_of(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "Reading the file took more memory than it may"
    message = getattr(error, "message", None)
    if isinstance(message, str):
        return message
    try:
        text = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
        return text or type(error).__name__
    except Exception:  # noqa: BLE001 - the file's own __str__ may do anything
        return "(its text can't be shown)"


def _trace(error: BaseException, path: str, root: str) -> str:
    """The stack trace without this harness, with paths below the bundle's root."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    linecache.checkcache(path)
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:  # noqa: BLE001 - the file's own __str__ may do anything
        text = "".join(traceback.format_tb(trace)) + type(error).__name__
    return text.replace(root + os.sep, "")


def source_line(source: bytes, line: int) -> str:
    """Returns one line of a source by its number, "" when there is none."""
    if line <= 0:
        return ""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = source.decode(encoding, errors="replace").splitlines()
    except (SyntaxError, LookupError):
        lines = source.decode("utf-8", errors="replace").splitlines()
    return lines[line - 1].rstrip()[:500] if line <= len(lines) else ""


def _answer(result: _Result, recorder: Recorder) -> bytes:
    bodies = [definition.SerializeToString() for definition in result.definitions]
    header = {
        "lengths": [len(body) for body in bodies],
        "error": result.error,
        "findings": [dataclasses.asdict(finding) for finding in result.findings],
        "dependencies": sorted(recorder.dependencies),
    }
    return frames.pack(header, b"".join(bodies))
