"""Leaves a line for each time that a task's code starts, so that somebody outside can count.

With the environment variable SPINNER_SAMPLE_OUTPUT set, ``mark(context)`` appends "try_number segment" to
``$SPINNER_SAMPLE_OUTPUT/marks/<dag>/<run>/<task>/<map_index>``. Without it nothing is written.
"""

import os
import tempfile
from pathlib import Path


def mark(context):
    """One line for this segment of this try. One write, so that lines of several processes never mix."""
    root = os.environ.get("SPINNER_SAMPLE_OUTPUT")
    if not root:
        return
    ti = context["ti"]
    path = Path(root, "marks", ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(descriptor, f"{ti.try_number} {ti.segment}\n".encode())
    finally:
        os.close(descriptor)


def output_folder(context):
    """A folder for what a run writes; the same for all tasks of the run."""
    root = os.environ.get("SPINNER_SAMPLE_OUTPUT") or str(Path(tempfile.gettempdir()) / "spinner-samples")
    ti = context["ti"]
    folder = Path(root, "files", ti.dag_id, ti.run_id.replace(":", "-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
