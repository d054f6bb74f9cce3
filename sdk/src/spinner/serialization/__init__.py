"""From a DAG object to the message that the other services read; the only place of the SDK that knows it.

The same file gives the same bytes in every process: nothing depends on object ids, hash order or the clock.
"""

from spinner.serialization.definition import content_version, dag_to_definition
from spinner.serialization.loading import DagFile, dags_of_module, load_dag_file
from spinner.serialization.timetable import ask, evaluate, explicit_of

__all__ = [
    "DagFile",
    "ask",
    "content_version",
    "dag_to_definition",
    "dags_of_module",
    "evaluate",
    "explicit_of",
    "load_dag_file",
]
