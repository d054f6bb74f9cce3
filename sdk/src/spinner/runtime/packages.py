"""Python packages that a task asks for (A7): ``requirements`` and ``packages`` of its ``executor_config``.

``packages`` is a list of requirement specifiers; ``requirements`` the same, or the path of a requirements file in the
bundle. They are installed with pip once for each set of requirements, Python and index, into the worker's cache, and
precede everything else on ``sys.path``, on ``PYTHONPATH`` and (their commands) on ``PATH``. The worker's own
dependencies are constraints: a requirement that contradicts them is refused by pip, with the reason in the log.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from spinner.exceptions import SpinnerException
from spinner.runtime import cache as caches

_log = logging.getLogger("spinner.runtime")
_INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def wanted(resources_json: str, bundle_path: str) -> list[str]:
    """Lines of a requirements file for what a task asks for. Raises SpinnerException."""
    resources: dict[str, Any] = json.loads(resources_json) if resources_json else {}
    lines: list[str] = []
    for name in ("requirements", "packages"):
        value = resources.get(name) or []
        if isinstance(value, str) and name == "requirements" and not _is_specifier(value):
            lines += _file_lines(value, bundle_path)
        elif isinstance(value, str):
            lines.append(value)
        elif isinstance(value, list) and all(isinstance(line, str) for line in value):
            lines += value
        else:
            raise SpinnerException(
                f'executor_config {name}={value!r} is not a list of requirements such as ["pandas==2.2.3"].'
            )
    return lines


def _is_specifier(text: str) -> bool:
    return not text.endswith(".txt") and "/" not in text


def _file_lines(path: str, bundle_path: str) -> list[str]:
    root = Path(bundle_path).resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise SpinnerException(f"The requirements file {path} is outside of the bundle.")
    try:
        return file.read_text().splitlines()
    except OSError as error:
        raise SpinnerException(f"The requirements file {path} is not in the bundle: {error.strerror}.") from error


def provide(lines: list[str], cache: Path) -> Path | None:
    """Installs what is not in the cache, and makes it importable in this process and its children.

    Returns the folder; None when nothing is wanted. Blocks. Raises SpinnerException with the end of pip's output.
    """
    lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return None
    import platform

    facts = [platform.python_version(), platform.machine(), *(os.environ.get(name, "") for name in _INDEX_VARIABLES)]
    digest = hashlib.sha256("\n".join([*sorted(lines), *facts, *own_pins()]).encode()).hexdigest()[:24]
    try:
        folder = caches.entry(cache, "packages", digest, lambda target: _install(lines, target))
    except OSError as error:
        raise SpinnerException(f"Packages cannot be installed into {cache}: {error}") from error
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    for variable, part in (("PYTHONPATH", folder), ("PATH", folder / "bin")):
        earlier = os.environ.get(variable)
        os.environ[variable] = f"{part}{os.pathsep}{earlier}" if earlier else str(part)
    return folder


def _install(lines: list[str], target: Path) -> None:
    requirements, constraints = target.parent / f"{target.name}.in", target.parent / f"{target.name}.pins"
    requirements.write_text("\n".join(lines) + "\n")
    constraints.write_text("\n".join(own_pins()) + "\n")
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--progress-bar=off", "--disable-pip-version-check", "--no-input",
             "--no-cache-dir", "--target", str(target), "-r", str(requirements), "-c", str(constraints)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            check=False,
        )  # fmt: skip
    finally:
        requirements.unlink()
        constraints.unlink()
    if done.returncode:
        names = ", ".join(lines[:5]) + (" …" if len(lines) > 5 else "")
        raise SpinnerException(f"pip could not install {names}:\n{done.stdout[-2000:].strip()}")
    _log.info("Installed %d requirements in %.1f s", len(lines), time.monotonic() - begun)


def own_pins() -> list[str]:
    """What this worker needs itself, at the versions it has: ``name==version``."""
    from importlib import metadata

    pins: dict[str, str] = {}
    pending = ["spinner", "grpcio", "zstandard"]
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in pins:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        pins[name] = f"{name}=={found.version}"
        for requirement in found.requires or ():
            match = _NAME.match(requirement)
            if match is not None and "extra ==" not in requirement:
                pending.append(match[0])
    return sorted(pin for name, pin in pins.items() if not name.startswith("spinner"))
