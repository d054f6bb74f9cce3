"""The scheduler against an oracle that counts nothing: trigger rules, skips, setups and teardowns, mapping.

Each decision of a run is judged when it is made, and after each step nothing may be left undecided that could be
decided. `make model-check CASES=1000000` takes minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from spinner_scheduler.domain import layout, mapping, reports, run, tasks, trigger_rules

from services.scheduler.tests.model_check import Case, DisagreementError, check, main, random_definition

Patch = pytest.MonkeyPatch


def test_scheduler_and_oracle_agree() -> None:
    assert check(1, 3_000) == (3_000, "")


def test_many_cases_are_played_by_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "400", "--seed", "7", "--processes", "1"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("cases=400 seeds=7..7 disagreements=0 ")


def test_what_disagrees_becomes_small(monkeypatch: Patch) -> None:
    longer(monkeypatch)
    played, text = check(1, 2_000)
    assert played > 10
    assert "has length" in text and text.count("task_id:") <= 2


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
