"""The rules tell what failed, on labelled logs, and are not misled by words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_rca.app import read_rules
from spinner_rca.domain.classifier import Failure, Verdict, classify
from spinner_rca.domain.fingerprint import fold
from spinner_rca.domain.rules import RulesInvalid, load_rules
from spinner_rca.domain.section import MAX_LINES, failed_section

CORPUS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "corpus.yaml").read_text())
RULES = read_rules("")


def verdict(entry: dict[str, Any]) -> Verdict:
    failure = Failure(
        outcome=entry.get("outcome", "failed"),
        message=entry.get("message", ""),
        exception_classes=tuple(entry.get("exceptions", ())),
        log=entry["log"],
    )
    return classify(failure, RULES)


def test_the_corpus_is_classified() -> None:
    assert len(CORPUS) >= 60
    wrong = []
    for entry in CORPUS:
        found = verdict(entry).rule.category
        if found != entry["category"]:
            wrong.append((entry["category"], found, entry["log"][-120:]))
    assert 1 - len(wrong) / len(CORPUS) >= 0.95, wrong


def test_every_category_has_an_example_and_a_fix() -> None:
    categories = {rule.category for rule in RULES.rules}
    assert len(categories) >= 25
    assert categories - {entry["category"] for entry in CORPUS} <= {"killed"}
    assert all(len(rule.how_to_fix) > 40 for rule in RULES.rules)


def test_each_way_to_end_that_only_the_platform_knows_has_a_cause_of_its_own() -> None:
    names = {Outcome.Name(number).removeprefix("OUTCOME_").lower() for number in Outcome.values()}
    rest = {"unspecified", "success", "skipped", "failed"}
    causes = {name: classify(Failure(name), RULES).rule.id for name in names - rest}
    assert not [name for name, cause in causes.items() if cause == RULES.unknown.id]
    shared = {name for name, cause in causes.items() if Counter(causes.values())[cause] > 1}
    assert shared == {"launch_failed", "never_scheduled"}


def test_evidence_has_the_line_numbers_of_the_whole_log() -> None:
    log = "\n".join([f"line {n}" for n in range(1, 10)] + ["ValueError: bad"])
    found = classify(Failure("failed", log=log, first_line=501), RULES)
    assert [(line.line, line.text) for line in found.evidence] == [(510, "ValueError: bad")]


def test_without_a_log_the_exception_decides_then_the_message() -> None:
    assert classify(Failure("failed", exception_classes=["pkg.KeyError"]), RULES).rule.category == "key_error"
    refused = classify(Failure("failed", message="[Errno 111] Connection refused"), RULES)
    assert refused.rule.category == "connection_refused"
    assert classify(Failure("failed"), RULES).rule.category == "unknown"


def test_similar_failures_share_a_fingerprint() -> None:
    one = verdict({"log": "FileNotFoundError: [Errno 2] No such file or directory: '/data/in/2026-11-26.csv'"})
    two = verdict({"log": "FileNotFoundError: [Errno 2] No such file or directory: '/data/in/2025-01-02.csv'"})
    other = verdict({"log": "FileNotFoundError: the key is gone"})
    assert one.fingerprint == two.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("took 12.5 s at 2026-11-27T08:00:00Z", "took <number> s at <time>"),
        ("id 6f1b2c3d-1111-2222-3333-444455556666", "id <id>"),
        ("s3://bucket/a/b?x=1 is gone", "<url> is gone"),
        ("no /data/in/x.csv at 10.1.2.3:5432", "no <path> at <address>"),
    ],
)
def test_what_varies_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_only_the_failed_stage_is_read() -> None:
    log = "\n".join(
        [
            "[2026-11-27T08:00:00.000Z] {ParseStage} ERROR a: connection refused",
            "[2026-11-27T08:00:01.000Z] {TaskExecStage} INFO a: begin",
            "KeyError: 'x'",
            "[2026-11-27T08:00:02.000Z] {LogUploadStage} INFO a: end",
        ]
    )
    text, first = failed_section(log, 11, "TaskExecStage")
    assert (text.splitlines()[1], first) == ("KeyError: 'x'", 12)
    assert failed_section(log, 11, "CallbackStage") == (log, 11)


def test_a_long_log_is_cut_at_its_beginning() -> None:
    text, first = failed_section("\n".join(str(n) for n in range(1, 10_001)), 1, "")
    assert len(text.splitlines()) == MAX_LINES
    assert text.splitlines()[0] == str(first)


def test_a_rule_file_that_is_wrong_says_which_rule() -> None:
    broken = """
version: "2"
rules:
  - {id: a, category: c, title: t, owner: user, confidence: 1, how_to_fix: f, patterns: [{regex: "(", weight: 1}]}
  - {id: u, category: unknown, title: t, owner: user, confidence: 1, how_to_fix: f, patterns: []}
"""
    with pytest.raises(RulesInvalid, match="rule a"):
        load_rules(broken)
