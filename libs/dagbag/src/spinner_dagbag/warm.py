"""Imported by the fork server: loads what DAG files import from the SDK, so that children find it loaded."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil

import spinner

from spinner_dagbag import dag_child

_PARTS = ("core", "operators", "sensors", "serialization", "utils", "timetables", "decorators")


def modules() -> list[str]:
    """Names of the SDK's modules that authors use; the worker's runtime is not among them."""
    found = [dag_child.__name__, "encodings.idna", "zoneinfo"]
    for info in pkgutil.walk_packages(spinner.__path__, "spinner."):
        if info.name.split(".")[1] in _PARTS:
            found.append(info.name)
    return found


for _name in modules():
    # An optional dependency may be missing; a file that needs it will say so itself.
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
