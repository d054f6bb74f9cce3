"""An archive is what image stores read: a manifest, a configuration, layers named by their content."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from spinner_servers.image_archive import Image, pack_layer, write_archive


def packed(folder: Path, name: str) -> tuple[str, Path]:
    tree = folder / "tree"
    (tree / "bin").mkdir(parents=True, exist_ok=True)
    (tree / "bin" / "hello").write_text("echo hello")
    layer = pack_layer(tree, folder / f"{name}.layer.tar", {"etc/passwd": (b"root:x:0:0\n", 0o644)})
    path = folder / f"{name}.tar"
    return write_archive(Image("docker.io/test/hello:1", [layer], ["/bin/hello"], "50000"), path), path


def test_manifest_names_configuration_and_layers_by_their_digests(tmp_path: Path) -> None:
    identity, path = packed(tmp_path, "one")
    with tarfile.open(path) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        assert manifest["RepoTags"] == ["docker.io/test/hello:1"]
        configuration = read(manifest["Config"])
        assert identity == f"sha256:{hashlib.sha256(configuration).hexdigest()}"
        document = json.loads(configuration)
        assert document["config"]["Cmd"] == ["/bin/hello"]
        assert document["config"]["User"] == "50000"
        (layer,) = manifest["Layers"]
        assert document["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(read(layer)).hexdigest()}"]


def test_the_same_content_gives_the_same_image(tmp_path: Path) -> None:
    assert packed(tmp_path, "one")[0] == packed(tmp_path, "two")[0]


def test_files_of_a_layer_belong_to_root(tmp_path: Path) -> None:
    packed(tmp_path, "one")
    with tarfile.open(tmp_path / "one.layer.tar") as layer:
        assert {member.uid for member in layer} == {0}
        assert {member.name for member in layer} == {"bin", "bin/hello", "etc/passwd"}
