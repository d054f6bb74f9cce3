"""The scheduler against an oracle that counts nothing: trigger rules, skips, setups and teardowns, mapping.

Each decision of a run is judged when it is made, and after each step nothing may be left undecided that could be
decided. `python -m services.scheduler.tests.model_check --cases 1000000` takes minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spinner_scheduler.domain import layout, mapping, reports, run, tasks, trigger_rules

from services.scheduler.tests.model_check import Case, DisagreementError, random_definition

Patch = pytest.MonkeyPatch


@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_scheduler_and_oracle_agree(data: st.DataObject) -> None:
    def choose(below: int) -> int:
        return data.draw(st.integers(0, below - 1))

    Case(random_definition(choose), choose).run()


def play(cases: int) -> None:
    for number in range(cases):
        rng = random.Random(number)
        Case(random_definition(rng.randrange), rng.randrange).run()


def test_they_agree_on_thousands_of_plain_random_cases() -> None:
    play(4_000)


def other_verdict(rule: int, wrong: int) -> Callable[[Patch], None]:
    """A scheduler that takes one rule for another."""

    def patch(monkeypatch: Patch) -> None:
        original = trigger_rules.verdict

        def verdict(asked: int, *counts: int) -> int:
            return original(wrong if asked == rule else asked, *counts)

        for module in (tasks, layout.trigger_rules):
            monkeypatch.setattr(module, "verdict", verdict)

    return patch


def longer(monkeypatch: Patch) -> None:
    original = mapping.evaluate
    monkeypatch.setattr(mapping, "evaluate", lambda length, of: (original(length, of) or 0) + 1)


def skips_forgotten(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tasks, "_skipped", lambda *arguments: False)
    monkeypatch.setattr(reports, "_apply_skips", lambda *arguments: None)


def setups_forgotten(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tasks, "indirect_setups", lambda of, slot: [])


def nobody_looks_again(monkeypatch: Patch) -> None:
    original = run.Run._count

    def count(self: Any, slot: int, before: int, after: int) -> None:
        original(self, slot, before, after)
        if after == 3:
            self.dirty.clear()

    monkeypatch.setattr(run.Run, "_count", count)


NAMES = {name: rule for rule, name in trigger_rules.NAMES.items()}
WRONG = [
    ("all_success", "none_failed"), ("all_failed", "one_failed"), ("all_done", "none_skipped"),
    ("all_done_setup_success", "all_done"), ("all_done_min_one_success", "all_done"), ("all_skipped", "all_done"),
    ("one_success", "one_done"), ("one_failed", "one_done"), ("one_done", "all_done"),
    ("none_failed", "none_failed_min_one_success"), ("none_failed_min_one_success", "none_failed"),
    ("none_skipped", "all_done"), ("always", "one_done"),
]  # fmt: skip
BUGS = [
    *((f"{rule} as {other}", other_verdict(NAMES[rule], NAMES[other])) for rule, other in WRONG),
    ("longer", longer),
    ("skips forgotten", skips_forgotten),
    ("setups forgotten", setups_forgotten),
    ("nobody looks again", nobody_looks_again),
]


@pytest.mark.parametrize("bug", [bug for _, bug in BUGS], ids=[name for name, _ in BUGS])
def test_a_wrong_scheduler_is_found(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    bug(monkeypatch)
    with pytest.raises(DisagreementError):
        play(4_000)


def test_each_rule_has_been_taken_for_another() -> None:
    assert {rule for rule, _ in WRONG} == set(NAMES)
