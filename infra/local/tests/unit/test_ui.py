"""The UI is built again exactly when its sources changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from spinner_local import ui


@pytest.fixture
def root(tmp_path: Path) -> Path:
    source = ui.folder(tmp_path)
    (source / "src").mkdir(parents=True)
    (source / "src" / "main.ts").write_text("export const one = 1\n")
    (source / "package-lock.json").write_text("{}")
    return tmp_path


def built(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Builds with a stand-in for npm; returns the commands that it was given."""
    commands: list[list[str]] = []

    def fake_run(command: list[str], log: Path) -> None:
        commands.append(command[3:4])
        (ui.folder(root) / "node_modules").mkdir(exist_ok=True)
        (ui.folder(root) / "dist").mkdir(exist_ok=True)

    monkeypatch.setattr(ui, "run", fake_run)
    monkeypatch.setattr(ui.shutil, "which", lambda name: "npm")
    ui.build(root, root / "log")
    return commands


def test_a_build_is_current_until_a_source_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ui.is_current(root)
    assert built(root, monkeypatch) == [["ci"], ["run"]]
    assert ui.is_current(root)
    (ui.folder(root) / "node_modules" / "package.js").write_text("installed later")
    assert ui.is_current(root), "what npm installs is no source"
    (ui.folder(root) / "src" / "main.ts").write_text("export const one = 2\n")
    assert not ui.is_current(root)


def test_packages_are_installed_again_only_when_the_lock_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(root, monkeypatch)
    assert built(root, monkeypatch) == [["run"]]
    (ui.folder(root) / "package-lock.json").write_text('{"changed": true}')
    assert built(root, monkeypatch) == [["ci"], ["run"]]
