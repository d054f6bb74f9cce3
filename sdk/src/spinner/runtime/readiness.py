"""C3: what a try needs is there before user code runs.

The executor says what it found (object store, secret store); the worker looks at what only it can see: the bundle, the
packages the task asked for, and addresses that must accept a connection. Lines of this stage are shown only when it
fails; each check has a time-out.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from spinner_proto.common.v1 import common_pb2 as common

from spinner.exceptions import SpinnerException
from spinner.runtime import bundle, cache, legacy, logs

if TYPE_CHECKING:
    from spinner.runtime.runner import Work

_log = logging.getLogger("spinner.runtime")
_CONNECT_SECONDS = 5.0


def make_ready(work: Work) -> None:
    """Checks, fetches and installs. Raises SpinnerException naming everything that is missing."""
    with logs.held(), work.stages.stage(common.STAGE_READINESS, "Checking what the try needs"):
        problems = [*_told(work), *_unreachable(work)]
        for problem in problems:
            _log.error("%s", problem)
        if problems:
            raise SpinnerException(f"Not ready: {'; '.join(problems)}.")
        _bundle(work)
        if (shared := legacy.folder()) is not None:
            legacy.await_ready(shared)
        resources = work.order.resources_json
        if "requirements" in resources or "packages" in resources:
            from spinner.runtime import packages  # few tasks ask for any

            packages.provide(packages.wanted(resources, work.bundle_path), _cache(work))


def _told(work: Work) -> list[str]:
    for check in work.readiness:
        _log.info("%s: %s in %.3f s", check.name, "ready" if check.ready else "not ready", check.seconds)
    return [f"{check.name}: {check.message}" for check in work.readiness if not check.ready]


def _unreachable(work: Work) -> list[str]:
    problems = []
    for stated in work.readiness_addresses:
        name, _, address = stated.rpartition("=")
        host, _, port = address.rpartition(":")
        begun = time.monotonic()
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
            _log.info("%s: %s accepts connections, %.3f s", name, address, time.monotonic() - begun)
        except (OSError, ValueError) as error:
            problems.append(f"{name or 'address'}: {address} cannot be reached ({error})")
    return problems


def _bundle(work: Work) -> None:
    if work.bundle_url:
        begun = time.monotonic()
        work.bundle_path = str(bundle.fetch(work.order.bundle, work.bundle_url, _cache(work)))
        _log.info("The bundle is at %s, %.3f s", work.bundle_path, time.monotonic() - begun)
    of_a_file = work.order.runtime in ("", "spinner") and work.order.relative_path
    if of_a_file and not os.path.isfile(f"{work.bundle_path}/{work.order.relative_path}"):  # noqa: PTH113 - costs less
        raise SpinnerException(
            f"The DAG file {work.order.relative_path} is not in the bundle at {work.bundle_path or '(no path)'}. "
            "The bundle's version of this run may have been removed."
        )
    if work.bundle_path:
        os.chdir(work.bundle_path)


def _cache(work: Work) -> Path:
    return Path(work.cache_path) if work.cache_path else cache.default_folder()
