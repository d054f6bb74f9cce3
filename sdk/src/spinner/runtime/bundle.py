"""The DAG bundle of a run, at its exact version: fetched as one packed object (tar, zstd) and unpacked once.

Members that would leave the folder, and links out of it, are refused. What only a worker with a bundle of its own needs
is imported there: each library makes the forks of a fork server dearer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from spinner.exceptions import SpinnerException
from spinner.runtime import cache as caches

if TYPE_CHECKING:
    import tarfile

    from spinner_proto.common.v1.common_pb2 import BundleRef

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 20.0
_PAUSE_SECONDS = 0.5


def keep(folder: str) -> int | None:
    """Keeps an unpacked bundle from being evicted while this process, or one that it forks, lives.

    Returns the descriptor whose closing ends that; None when there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def entry_name(bundle: BundleRef) -> str:
    """The name of the folder of a bundle at a version: readable, and unique by the packed object's key."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{bundle.name}-{bundle.version}")[:120].lstrip(".")
    return f"{safe}-{hashlib.sha256(bundle.object_key.encode()).hexdigest()[:12]}"


def unpack(packed: IO[bytes] | bytes, folder: Path) -> None:
    """Unpacks a bundle into an empty folder. Raises what tarfile and zstandard raise."""
    import tarfile

    import zstandard

    with (
        zstandard.ZstdDecompressor().stream_reader(packed) as stream,
        tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive,
    ):
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder, members=_harmless(archive, folder.resolve()))  # noqa: S202 - what is harmless


def _harmless(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """What ``filter="data"`` would take, for Pythons before 3.11.4; raises tarfile.ReadError for the rest."""
    import tarfile

    for member in archive:
        target = (folder / member.name).resolve()
        if member.issym():
            target = (folder / member.name).parent.joinpath(member.linkname).resolve()
        elif member.islnk():
            target = (folder / member.linkname).resolve()
        elif not (member.isfile() or member.isdir()):
            raise tarfile.ReadError(f"{member.name} is neither file, folder nor link")
        if not target.is_relative_to(folder):
            raise tarfile.ReadError(f"{member.name} leads out of the bundle")
        member.mode = (member.mode & 0o755) | (0o700 if member.isdir() else 0o600)
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        yield member


def fetch(bundle: BundleRef, url: str, cache: Path) -> Path:
    """The folder of the bundle, fetched from ``url`` when it isn't in the cache. Raises SpinnerException."""

    import http.client
    import urllib.error
    import urllib.request

    def make(folder: Path) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - of the executor
                    unpack(answer, folder)
                return
            except urllib.error.HTTPError as error:
                problem, final = f"HTTP {error.code} {error.reason}", 400 <= error.code < 500 and error.code != 429
            except (OSError, http.client.HTTPException) as error:
                problem, final = str(error), False
            except Exception as error:  # noqa: BLE001 - a damaged archive
                problem, final = f"the packed bundle cannot be read: {error}", True
            if final or attempt == _ATTEMPTS:
                raise SpinnerException(
                    f"The bundle {bundle.name} at version {bundle.version} cannot be had from the object store "
                    f"({bundle.object_key}): {problem}."
                )
            _empty(folder)
            time.sleep(_PAUSE_SECONDS * attempt)

    try:
        return caches.entry(cache, "bundles", entry_name(bundle), make)
    except OSError as error:
        raise SpinnerException(f"The bundle {bundle.name} cannot be unpacked into {cache}: {error}") from error


def _empty(folder: Path) -> None:
    import shutil

    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
