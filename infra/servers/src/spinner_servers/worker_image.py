"""The worker's image, built from Debian and Python packages alone, for machines without a container engine.

Two layers: Debian's Python and shell (`mmdebstrap`, once a machine), and the SDK with its locked dependencies (as often
as the SDK changes). `infra/images/worker/Dockerfile` makes the same image where there is an engine. An image of the
base layer alone stands for a user's legacy image in tests.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import py_compile
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from spinner_servers.image_archive import Image, pack_layer, write_archive
from spinner_servers.install import advice, debian, locked, run
from spinner_servers.process import ServerError
from spinner_servers.progress import step

WORKER = "docker.io/spinner/worker:local"
LEGACY = "docker.io/spinner/legacy:local"
# The user of the image: not root, unlikely to be a person's.
UID = 50000

_SUITE, _PYTHON = "bookworm", "3.11"
_PACKAGES = "python3,dash,bash,coreutils,findutils,grep,sed,procps,tar,ca-certificates,tzdata,libstdc++6"
_ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/bin/bash\nspinner:x:{UID}:{UID}:spinner:/tmp:/bin/bash\n",
    "etc/group": f"root:x:0:\nspinner:x:{UID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def repository() -> Path:
    """The checkout that this package is installed from; raises ServerError."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "uv.lock").exists() and (folder / "sdk").is_dir():
            return folder
    raise ServerError("The worker's image is built from a checkout of Spinner; there is none around this package.")


def build() -> Path:
    """Builds the worker's image when the SDK has changed. Blocks (about a minute at first); returns the archive."""
    root = repository()
    return _archive("worker", Image(WORKER, [_base(), _sdk(root)], ["python3", "-m", "spinner.runtime"], str(UID)))


def build_legacy() -> Path:
    """Builds the image that stands for a legacy one: bash and Python, nothing of Spinner's."""
    return _archive("legacy", Image(LEGACY, [_base()], ["bash"], str(UID)))


def _archive(name: str, image: Image) -> Path:
    identity = hashlib.sha256("".join(layer.name for layer in image.layers).encode()).hexdigest()[:12]
    with locked("images") as folder:
        path = folder / f"{name}-{identity}.image.tar"
        if not path.exists():
            _forget_old(folder, f"{name}-*.image.tar")
            with step(f"packing {path.name}"):
                write_archive(image, path)
        return path


def _base() -> Path:
    identity = hashlib.sha256(f"{_SUITE} {_PACKAGES} {_ACCOUNTS}".encode()).hexdigest()[:12]
    with locked("images") as folder:
        path = folder / f"base-{identity}.tar"
        if path.exists():
            return path
        if sys.platform != "linux" or os.geteuid() != 0:
            raise ServerError("The worker's image is built by root on Debian. Elsewhere use infra/images/worker.")
        mmdebstrap = debian("mmdebstrap", "mmdebstrap")
        with step("extracting Debian's Python for the worker's image"), tempfile.TemporaryDirectory() as temporary:
            tree, raw = Path(temporary), folder / "base.raw.tar"
            run(
                [mmdebstrap, "--variant=extract", f"--include={_PACKAGES}", _SUITE, str(raw)],
                folder / "mmdebstrap.log",
            )
            with tarfile.open(raw) as archive:
                archive.extractall(
                    tree, (m for m in archive if not m.isdev() and not _is_ballast(m.name)), filter="tar"
                )
            raw.unlink()
            certificates = b"".join(
                file.read_bytes() for file in sorted((tree / "usr/share/ca-certificates").rglob("*.crt"))
            )
            files = {name: (text.encode(), 0o644) for name, text in _ACCOUNTS.items()}
            files["etc/ssl/certs/ca-certificates.crt"] = certificates, 0o644
            if sys.version_info[:2] == tuple(int(part) for part in _PYTHON.split(".")):
                library = str(tree / f"usr/lib/python{_PYTHON}")
                compileall.compile_dir(
                    library,
                    stripdir=str(tree),
                    quiet=2,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            part = pack_layer(tree, folder / "base.part", files)
            part.rename(path)
        return path


def _is_ballast(name: str) -> bool:
    return name.startswith(("./usr/share/doc/", "./usr/share/man/", "./usr/share/locale/", "./var/"))


def _sdk(root: Path) -> Path:
    identity = hashlib.sha256()
    for file in sorted([*root.glob("sdk/src/**/*.py"), *root.glob("proto/src/**/*.py"), root / "uv.lock"]):
        identity.update(file.read_bytes())
    with locked("images") as folder:
        path = folder / f"sdk-{identity.hexdigest()[:12]}.tar"
        if path.exists():
            return path
        uv = shutil.which("uv") or str(root / "build/tools/bin/uv")
        if not Path(uv).exists():
            raise ServerError(f"uv is missing. Run `make setup`. {advice('pipx', 'uv')}")
        log = folder / "sdk.log"
        with step("installing the SDK for the worker's image"), tempfile.TemporaryDirectory() as temporary:
            wheels, tree = Path(temporary, "wheels"), Path(temporary, "tree")
            target = tree / f"usr/local/lib/python{_PYTHON}/dist-packages"
            pins = Path(temporary, "requirements.txt")
            project = ["--project", str(root)]
            run([uv, "export", *project, "-q", "--frozen", "--package", "spinner", "--extra", "remote",
                 "--no-emit-workspace", "-o", str(pins)], log)  # fmt: skip
            for package in ("spinner-proto", "spinner"):
                run([uv, "build", *project, "-q", "--wheel", "--package", package, "-o", str(wheels)], log)
            install = [uv, "pip", "install", "-q", "--target", str(target), "--python-version", _PYTHON,
                       "--only-binary", ":all:", "--compile-bytecode"]  # fmt: skip
            unchecked = {"PYC_INVALIDATION_MODE": "UNCHECKED_HASH"}
            run([*install, "-r", str(pins)], log, unchecked)
            run([*install, "--no-deps", *(str(wheel) for wheel in wheels.glob("*.whl")), "pip"], log, unchecked)
            pack_layer(tree, folder / "sdk.part").rename(path)
        _forget_old(folder, "sdk-*.tar")
        return path


def _forget_old(folder: Path, pattern: str) -> None:
    """Removes what is older than a day: younger ones may be those of another checkout."""
    for old in folder.glob(pattern):
        if time.time() - old.stat().st_mtime > 86_400:
            old.unlink()


def main() -> int:
    """`python -m spinner_servers.worker_image`: builds, and says where the archive is."""
    try:
        path = build()
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{WORKER}\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
