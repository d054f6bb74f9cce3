"""`spinner dags check PATH`: all checks over a file or a folder, without any service."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dagbag.bounded import BoundedRunner
from spinner_dagbag.checks import CONFIG_FILE, CheckConfig, CheckConfigError, Finding, Severity
from spinner_dagbag.discovery import dag_files
from spinner_dagbag.limits import Limits
from spinner_dagbag.parsing import PRELOAD, DagParser, ParsedFile, ParseOptions, finding_of


def check_path(
    path: Path,
    strict: bool = False,
    limits: Limits | None = None,
    parallel: int = 2,
    pools: Iterable[str] | None = None,
) -> list[Finding]:
    """Parses and checks a DAG file, or every DAG file below a folder; returns what was found, ordered by place.

    Parse errors are findings too, with the id SPN000. `strict` turns warnings into errors. `pools` are the pools
    that exist, None when that is not known. Paths in findings are below the bundle's root: the folder itself, or
    for a file the closest folder above it with `spinner-checks.yaml`, `dags` or `.git`.
    Blocks; never raises for what the files do. Raises FileNotFoundError when there is nothing at `path`.
    """
    path = path.resolve()
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}")
    root = path if path.is_dir() else bundle_root(path)
    files = dag_files(path) if path.is_dir() else [path.relative_to(root).as_posix()]
    found: list[Finding] = []
    try:
        config = CheckConfig.load(root)
    except CheckConfigError as error:
        config = CheckConfig()
        found.append(Finding("SPN000", Severity.ERROR, error.message, error.fix, CONFIG_FILE))
    if pools is not None:
        config = dataclasses.replace(config, pools=frozenset(pools))
    with DagParser(runner=BoundedRunner(PRELOAD, parallel)) as parser:
        results = parser.parse_all(root, files, ParseOptions(limits or Limits(), config))
        parsed = sorted(results, key=lambda file: file.relative_path)
    for file in parsed:
        found += file.findings
        if file.error is not None and file.error.error_type != "CheckFailed":
            found.append(finding_of(file.error))
    found += duplicates(parsed)
    if strict:
        found = [dataclasses.replace(finding, severity=Severity.ERROR) for finding in found]
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.check_id, finding.task_id))


def duplicates(parsed: Iterable[ParsedFile]) -> list[Finding]:
    """SPN007: returns a finding at every file but the first whose DAG id another file has; it names both files."""
    first: dict[str, str] = {}
    found = []
    for file in parsed:
        for definition in file.definitions:
            owner = first.setdefault(definition.dag_id, file.relative_path)
            if owner != file.relative_path:
                found.append(duplicate(definition, owner, file.relative_path))
    return found


def duplicate(definition: pb.DagDefinition, owner: str, path: str) -> Finding:
    """The finding SPN007 at `path`, whose DAG id the file `owner` has."""
    message = f"DAG id {definition.dag_id} is in two files: {owner} and {path}"
    fix = f"Rename the DAG in {path}, or remove one of the files."
    return Finding("SPN007", Severity.ERROR, message, fix, path, dag_id=definition.dag_id)


def bundle_root(path: Path) -> Path:
    """Returns the root of the bundle that a file lies in."""
    for folder in path.parents:
        if (folder / CONFIG_FILE).is_file() or (folder / ".git").exists() or (folder / "dags").is_dir():
            return folder
    return path.parent
