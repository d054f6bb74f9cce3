"""Some hundred seeds of the simulation, and the proof that it finds bugs; `make simulate` runs many more."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections import Counter

import pytest
from spinner_cli.verification.reading import verify
from spinner_scheduler.simulation.__main__ import main, report, run_seed
from spinner_scheduler.simulation.processes import CLUSTER, TIERS
from spinner_scheduler.simulation.scenario import COMMANDS, FAULTS, draw, parse
from spinner_scheduler.simulation.shrinking import shrink, simulate
from spinner_scheduler.simulation.world import World

SEEDS = range(1, 121)


def test_invariants_hold() -> None:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        outcomes = pool.map(run_seed, SEEDS, chunksize=8)
    assert [(outcome.scenario.text(), outcome.text) for outcome in outcomes if outcome.violated] == []
    assert sum(outcome.totals.transitions for outcome in outcomes) > 40_000
    assert sum(outcome.totals.crashes for outcome in outcomes) > 400
    # Decided while the last transaction was still committing, and thrown away because that failed.
    assert sum(outcome.totals.ahead for outcome in outcomes) > 400
    assert sum(outcome.totals.undone for outcome in outcomes) > 15
    assert sum(outcome.totals.warm for outcome in outcomes) > 300
    acts = sum((outcome.totals.faults for outcome in outcomes), Counter[str]())
    assert {kind for kind, count in acts.items() if count} == {*FAULTS, *COMMANDS}


def test_the_same_seed_does_the_same() -> None:
    once, again = simulate(draw(3), 1_000_000), simulate(draw(3), 1_000_000)
    assert once.trace == again.trace
    assert len(once.trace) > 100


def test_the_same_seed_does_the_same_in_another_process() -> None:
    """Also where sets of texts have another order: with another seed of Python's hashes."""
    command = "from spinner_scheduler.simulation.shrinking import simulate; "
    command += "from spinner_scheduler.simulation.scenario import draw; "
    command += "[print(*simulate(draw(seed), 1_000_000).trace, sep='\\n') for seed in (1, 12)]"
    traces = [
        subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("0", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0].count(b"\n") > 100


def test_a_scenario_is_read_back_from_its_text() -> None:
    scenario = draw(11)
    assert parse(scenario.text()) == scenario
    assert parse("11") == scenario
    with pytest.raises(ValueError, match="not a part"):
        parse("11:nonsense=1")


def lose_commands_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that only an act of one person can bring out."""
    original = World.send

    def greedy(self: World, topic: str, partition: int, key: str, message) -> None:  # type: ignore[no-untyped-def]
        if not message.command.request_id.startswith("dag_1 "):
            original(self, topic, partition, key, message)

    monkeypatch.setattr(World, "send", greedy)


def test_a_failure_becomes_small_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    lose_commands_of_one(monkeypatch)
    failed = next(found for seed in range(1, 30) if (found := simulate(draw(seed))).violated)
    assert failed.violated == "each_command_is_answered_once"
    small = shrink(failed, 20)
    assert len(small.scenario.acts) == 1
    assert len(small.scenario.dags) < 4
    text = report(small, 0)
    assert "smallest scenario" in text and "happened last" in text
    again = simulate(parse(text.rpartition("--replay ")[2]))
    assert again.violated == failed.violated


def test_one_command_finds_a_bug_and_the_command_that_it_prints_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_commands_of_one(monkeypatch)
    assert main(["--seeds", "12", "--shrink-seconds", "3"]) == 1
    printed = capsys.readouterr().out
    assert "violates each_command_is_answered_once" in printed
    command = printed.rpartition("python -m spinner_scheduler.simulation ")[2].splitlines()[0].split()
    assert main(command) == 1
    again = capsys.readouterr().out
    assert "each_command_is_answered_once (each command has exactly one answer" in again
    monkeypatch.undo()
    assert main(command) == 0


def test_last_line_is_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--first-seed", "2", "--processes", "1"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    fields = dict(part.split("=") for part in line.split())
    assert fields["seeds"] == "2" and fields["failures"] == "0" and int(fields["transitions"]) > 0
    assert float(fields["seeds_per_s"]) > 0


def test_the_independent_checker_agrees() -> None:
    """What `spinner events verify` reads of these worlds is in order, and it has looked at nearly everything."""
    checked: set[str] = set()
    runs = tries = 0
    for seed in (2, 3, 4, 9, 15):
        world = World(draw(seed))
        world.run()
        findings = verify(world.log, world.log.committed_offset, CLUSTER, TIERS, ended=True)
        assert findings.violations == []
        assert findings.runs > 0 and findings.live_runs == 0
        runs += findings.runs
        tries += findings.tries
        checked |= {name for name, count in findings.checked.items() if count}
    assert runs > 80 and tries > 250
    assert {"one_grant_per_segment", "grants_follow_orders"}.isdisjoint(checked)
    assert len(checked) >= 17
