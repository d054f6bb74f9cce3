"""Reading one DAG file: the module, and the DAGs in it.

The bundle's ``plugins/``, its ``dags/`` and its root are importable, in this order. A file is executed as a module of
a name made from its path, so that two files of the same name do not meet.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from spinner.core import stack
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.dag import DAG


class DagFile:
    """A loaded file: its module and its DAGs by id."""

    def __init__(self, module: ModuleType, dags: list[DAG]) -> None:
        self.module = module
        self.dags = {dag.dag_id: dag for dag in dags}
        self._connected: set[str] = set()

    def dag(self, dag_id: str) -> DAG | None:
        """A DAG whose tasks know what their arguments refer to."""
        dag = self.dags.get(dag_id)
        if dag is not None and dag_id not in self._connected:
            self._connected.add(dag_id)
            for task in dag.tasks:
                task.connect_references()
        return dag


# Files that a reader (see read_ahead) has loaded, by the bundle's folder and their path.
_ahead: dict[tuple[str, str], DagFile] = {}


def dags_of_module(module: ModuleType) -> list[DAG]:
    """The DAGs that a module has as globals or entered with ``with``, in the order of definition."""
    from spinner.core.dag import DAG
    from spinner.core.dynamic import dynamic_dags_of

    found: list[DAG] = []
    for value in list(vars(module).values()):
        if isinstance(value, DAG) and not any(value is dag for dag in found):
            found.append(value)
    file = getattr(module, "__file__", None)
    for dag in stack.entered:
        if dag.fileloc == file and not any(dag is other for other in found):
            found.append(dag)
    found.extend(dag for dag in dynamic_dags_of(module) if dag.dag_id not in {other.dag_id for other in found})
    return found


def module_name(relative_path: str) -> str:
    """The name that a file is loaded under."""
    stem = relative_path.removesuffix(".py")
    return "spinner_dag_" + "".join(char if char.isalnum() else "_" for char in stem)


def add_import_paths(root: str | Path) -> None:
    """Makes the bundle's folders importable. Idempotent."""
    root = Path(root)
    for folder in (root, root / "dags", root / "plugins"):
        text = str(folder)
        if text not in sys.path and folder.is_dir():
            sys.path.insert(0, text)


def load_dag_file(root: str | Path, relative_path: str) -> DagFile:
    """Executes the file ``relative_path`` of the bundle at ``root``.

    Raises SpinnerDagError when the file does not exist, and whatever the file raises.
    """
    if (read := _ahead.get((str(root), relative_path))) is not None:
        return read
    path = Path(root) / relative_path
    try:
        source = path.read_bytes()
    except OSError as error:
        raise SpinnerDagError(
            f"The DAG file {relative_path} cannot be read: {error.strerror or error}.",
            "Check that it is still in the bundle's version of this run.",
        ) from error
    add_import_paths(root)
    stack.reset()
    name = module_name(relative_path)
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - a DAG file is a program
    return DagFile(module, dags_of_module(module))


def read_ahead(root: str | Path, relative_path: str) -> None:
    """Loads a file for all forks of this process. Raises what `load_dag_file` raises."""
    file = load_dag_file(root, relative_path)
    for dag_id in file.dags:
        file.dag(dag_id)
    _ahead[str(root), relative_path] = file
