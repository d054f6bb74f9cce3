"""A few seeds of the simulation; `make simulate` runs many."""

from __future__ import annotations

import pytest
from spinner_scheduler.simulation.__main__ import main, simulate
from spinner_scheduler.simulation.invariants import ViolatedError
from spinner_scheduler.simulation.world import World


@pytest.mark.parametrize("seed", range(1, 9))
def test_invariants_hold(seed: int) -> None:
    _, transitions, _, _, wrong = simulate(seed)
    assert wrong == ""
    assert transitions > 0


def test_the_same_seed_does_the_same() -> None:
    assert simulate(3) == simulate(3)


def test_a_broken_promise_is_found() -> None:
    world = World(5, dags=2)
    original = world.executor.take

    def twice(key, order):  # type: ignore[no-untyped-def]
        original(key, order)
        if order is not None and order.desired_state == 1:
            original(key, None)
            original(key, order)

    world.executor.take = twice  # type: ignore[method-assign]
    with pytest.raises(ViolatedError, match="no try is"):
        world.run()


def test_last_line_is_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--first-seed", "2", "--processes", "1"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    fields = dict(part.split("=") for part in line.split())
    assert fields["seeds"] == "1" and fields["failures"] == "0" and int(fields["transitions"]) > 0
    assert float(fields["seeds_per_s"]) > 0
