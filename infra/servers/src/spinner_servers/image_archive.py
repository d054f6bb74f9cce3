"""Container images without a container engine: a tar of layers that `ctr images import` and `docker load` read.

The format is Docker's image archive (`manifest.json`, one configuration, one `layer.tar` a layer); a layer's name is
the SHA-256 of its bytes, so the same content gives the same image.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """`layers`: uncompressed tars of file systems, lowest first. `user`: uid, or uid:gid."""

    name: str
    layers: Sequence[Path]
    command: Sequence[str] = ()
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"


def write_archive(image: Image, path: Path) -> str:
    """Writes the archive; returns the image's id."""
    digests = [_sha256(layer) for layer in image.layers]
    configuration = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Cmd": list(image.command),
                "User": image.user,
                "Env": [_PATH, *(f"{name}={value}" for name, value in image.environment.items())],
                "WorkingDir": image.workdir,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }
    ).encode()
    identity = hashlib.sha256(configuration).hexdigest()
    manifest = [
        {
            "Config": f"{identity}.json",
            "RepoTags": [image.name],
            "Layers": [f"{digest}/layer.tar" for digest in digests],
        }
    ]
    temporary = path.with_suffix(".part")
    with tarfile.open(temporary, "w") as archive:
        _add(archive, f"{identity}.json", configuration)
        for layer, digest in zip(image.layers, digests, strict=True):
            member = tarfile.TarInfo(f"{digest}/layer.tar")
            member.size = layer.stat().st_size
            with layer.open("rb") as file:
                archive.addfile(member, file)
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    temporary.rename(path)
    return f"sha256:{identity}"


def pack_layer(folder: Path, path: Path, files: Mapping[str, tuple[bytes, int]] | None = None) -> Path:
    """A layer of what is below `folder`, owned by root, without times; `files`: name → (content, mode) beside it."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(path, "w") as layer:
        for entry in sorted(folder.rglob("*")):
            layer.add(entry, str(entry.relative_to(folder)), recursive=False, filter=plain)
        for name, (content, mode) in (files or {}).items():
            _add(layer, name, content, mode)
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
