"""Bounded parsing and checking of DAG files."""

from spinner_dagbag.bounded import BoundedRunner, Outcome
from spinner_dagbag.check_path import check_path
from spinner_dagbag.checks import CheckConfig, CheckConfigError, Finding, Severity, all_checks
from spinner_dagbag.checks import Finding as CheckFinding
from spinner_dagbag.discovery import dag_files
from spinner_dagbag.limits import Limits
from spinner_dagbag.parsing import DagParser, ParsedFile, ParseOptions
from spinner_dagbag.placement import FolderPlacement, PlacementError, cell, folder_placement, place

__all__ = [
    "BoundedRunner",
    "CheckConfig",
    "CheckConfigError",
    "CheckFinding",
    "DagParser",
    "Finding",
    "FolderPlacement",
    "Limits",
    "Outcome",
    "ParseOptions",
    "ParsedFile",
    "PlacementError",
    "Severity",
    "all_checks",
    "cell",
    "check_path",
    "dag_files",
    "folder_placement",
    "place",
]
