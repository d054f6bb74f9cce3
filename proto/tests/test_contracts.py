"""Contracts, generated code and the topic registry agree."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, message_factory
from spinner_eventlog import topics

ROOT = Path(__file__).resolve().parents[1]
PROTO_FILES = sorted(ROOT.glob("spinner/*/v1/*.proto"))
SERVICES = {"scheduler", "executor", "dag-sync", "token-fetcher", "webgateway", "rca", "eventlog"}


def _generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.glob("*/v1/*"))
        if path.suffix in (".py", ".pyi")
    }


def test_generated_code_is_current(tmp_path, monkeypatch):
    generator = _generator()
    monkeypatch.setattr(generator, "TARGET", tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # protoc's plugins
    assert generator.main() == 0
    committed, fresh = _tree(ROOT / "src" / "spinner_proto"), _tree(tmp_path)
    stale = sorted(name for name in committed.keys() | fresh.keys() if committed.get(name) != fresh.get(name))
    assert stale == [], "run `make proto` and commit the result"


@pytest.mark.parametrize("path", PROTO_FILES, ids=lambda path: path.stem)
def test_packages_follow_their_folders(path):
    area = path.parts[-3]
    text = path.read_text()
    assert f"package spinner.{area}.v1;" in text
    zeros = re.findall(r"enum \w+ \{[^}]*?= 0;", text)
    assert len(zeros) == len(re.findall(r"^\s*enum ", text, re.M))
    assert all(re.search(r"_UNSPECIFIED = 0;$", zero) for zero in zeros), zeros


def _load_all() -> None:
    for path in PROTO_FILES:
        importlib.import_module(f"spinner_proto.{path.parts[-3]}.v1.{path.stem}_pb2")


@pytest.mark.parametrize("topic", topics.registry().values(), ids=lambda topic: topic.topic)
def test_every_topic_is_declared_as_what_exists(topic):
    _load_all()
    if topic.schema_name != "bytes":
        descriptor = descriptor_pool.Default().FindMessageTypeByName(topic.schema_name)
        assert message_factory.GetMessageClass(descriptor)().SerializeToString() == b""
        assert descriptor.file.name in {str(path.relative_to(ROOT)) for path in PROTO_FILES}
    assert topic.owner in SERVICES
    assert set(topic.writers) <= SERVICES
    assert set(topic.readers) <= SERVICES | {"anyone"}
    assert (topic.retention_hours is not None) == (topic.cleanup == "delete")


def test_files_are_named_after_their_topics():
    folder = Path(sys.modules[topics.__name__].__file__).parent / "topics"
    assert {path.stem for path in folder.glob("*.yaml")} == set(topics.registry())


def test_topics_named_in_code_and_contracts_are_declared():
    """Comments of the contracts say in which topic a message travels: `Value of topics scheduler_inbox-<cell>`."""
    named = {}
    for path in PROTO_FILES:
        for name in re.findall(r"Value of topics? ([a-z_]+)", path.read_text()):
            named[name] = path
    assert named, "no contract says where its messages travel"
    assert named.keys() <= set(topics.registry()), named


@pytest.mark.parametrize("path", PROTO_FILES, ids=lambda path: path.stem)
def test_the_value_of_a_topic_is_the_message_that_says_so(path):
    text = path.read_text()
    package = re.search(r"^package ([\w.]+);", text, re.M).group(1)
    for comment, message in re.findall(r"((?:^// .*\n)+)message (\w+)", text, re.M):
        for name in re.findall(r"Value of topics? ([a-z_]+)", comment):
            assert topics.registry()[name].schema_name == f"{package}.{message}"


HELPERS = {
    "inbox_topic": "scheduler_inbox",
    "events_topic": "workflow_events",
    "snapshots_topic": "scheduler_snapshots",
    "orders_topic": "task_orders",
    "grants_topic": "task_grants",
    "logs_topic": "task_logs",
}
# Names that mean other things in code, too: there only the declared services can be checked.
WORDS = {"pools", "variables", "connections"}


def _topics_in(source: str) -> set[str]:
    """Topics that a module names: in a string, at the beginning of one with a hyphen, or by a helper."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found.add(node.value.partition("-")[0])
        elif isinstance(node, ast.Name | ast.Attribute):
            found.add(HELPERS.get(node.id if isinstance(node, ast.Name) else node.attr, ""))
    return found & topics.registry().keys()


@functools.cache
def _used_topics() -> dict[str, set[str]]:
    """Topic → services whose code names it."""
    used: dict[str, set[str]] = {name: set() for name in topics.registry()}
    for service in SERVICES - {"eventlog"}:
        package = ROOT.parent / "services" / service / "src" / f"spinner_{service.replace('-', '_')}"
        for path in package.rglob("*.py"):
            if path.stem not in ("benchmark",) and "simulation" not in path.parts:
                for name in _topics_in(path.read_text()):
                    used[name].add(service)
    return used


# Letters are written by the event log's own code.
@pytest.mark.parametrize("topic", [name for name in topics.registry() if name != "dead_letters"])
def test_writers_and_readers_of_a_topic_are_the_services_that_use_it(topic):
    declared = topics.registry()[topic]
    stated = {*declared.writers, *declared.readers} - {"anyone"}
    used = _used_topics()[topic]
    assert stated <= used if topic in WORDS else stated == used
