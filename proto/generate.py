"""Generates proto/src/spinner_proto from proto/spinner (run by `make proto`).

protoc names Python modules after file paths, which would put them into the SDK's own package
`spinner`; so the generated tree is moved below `spinner_proto` and its imports follow.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
TARGET = ROOT / "src" / "spinner_proto"


def main() -> int:
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("spinner/**/*.proto"))
    # protoc finds its plugins on the path; ours are beside the interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        status: int = protoc.main(
            [
                "protoc",
                f"-I{ROOT}",
                f"-I{well_known}",
                f"--python_out={out}",
                f"--mypy_out=quiet:{out}",
                f"--grpc_python_out={out}",
                f"--mypy_grpc_out=quiet:{out}",
                *sources,
            ]
        )
        if status:
            return status
        for area in sorted((out / "spinner").iterdir()):
            destination = TARGET / area.name
            shutil.rmtree(destination, ignore_errors=True)
            shutil.copytree(area, destination)
            for folder in (destination, destination / "v1"):
                (folder / "__init__.py").write_text("")
    for path in [*TARGET.glob("*/v1/*.py"), *TARGET.glob("*/v1/*.pyi")]:
        if path.name == "__init__.py":
            continue
        text = path.read_text()
        text = re.sub(r"^from spinner\.", "from spinner_proto.", text, flags=re.M)
        text = re.sub(r"^import spinner\.", "import spinner_proto.", text, flags=re.M)
        text = re.sub(r"(?<![\w.\"'/])spinner\.(\w+)\.v1\.(\w+_pb2)", r"spinner_proto.\1.v1.\2", text)
        if path.name.endswith("_grpc.py") and "def " not in text:
            path.unlink()
            continue
        path.write_text(text)
    for path in [*TARGET.glob("*/v1/*_grpc.pyi"), *TARGET.glob("*/v1/*_grpc.py")]:
        if not path.with_suffix(".py").exists() or "Service" not in path.read_text():
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
