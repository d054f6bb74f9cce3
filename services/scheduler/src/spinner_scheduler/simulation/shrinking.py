"""Makes a failing scenario smaller while it still violates the same invariant."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from spinner_scheduler.simulation.scenario import Scenario
from spinner_scheduler.simulation.violations import ViolatedError
from spinner_scheduler.simulation.world import Totals, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scenario ended. `violated`: the invariant's name, the exception's for a bug, "" when all held."""

    scenario: Scenario
    totals: Totals
    violated: str = ""
    text: str = ""
    trace: tuple[str, ...] = ()


def simulate(scenario: Scenario, trace: int = 0) -> Outcome:
    """Runs a scenario; `trace`: how many of the latest lines of what happened to keep."""
    logging.disable(logging.CRITICAL)
    world = World(scenario, trace)
    violated = text = ""
    try:
        world.run()
    except ViolatedError as error:
        violated, text = error.name, str(error)
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        violated, text = type(error).__name__, traceback.format_exc()
    finally:
        logging.disable(logging.NOTSET)
    world.totals.transitions = world.checker.transitions
    return Outcome(scenario, world.totals, violated, text, tuple(world.trace or ()))


def shrink(failed: Outcome, seconds: float = 60.0) -> Outcome:
    """The smallest failing scenario that is found in the time: fewer DAGs, acts, minutes, kinds of noise, tasks."""
    deadline = time.monotonic() + seconds
    best = failed

    def still(candidate: Scenario) -> bool:
        nonlocal best
        if time.monotonic() > deadline:
            return False
        outcome = simulate(candidate)
        if outcome.violated != failed.violated:
            return False
        best = outcome
        return True

    before = None
    while before != best.scenario and time.monotonic() < deadline:
        before = best.scenario
        _fewer(best.scenario.dags, lambda dags: still(replace(best.scenario, dags=dags)), least=1)
        _fewer(best.scenario.acts, lambda acts: still(replace(best.scenario, acts=acts)))
        for minutes in (2, 5, 10, 20, 40):
            if minutes < best.scenario.minutes and still(replace(best.scenario, minutes=minutes)):
                break
        _fewer(sorted(best.scenario.noise), lambda noise: still(replace(best.scenario, noise=frozenset(noise))))
        for number in best.scenario.dags:
            for task in reversed(range(12)):
                name = f"{number}.{task}"
                if name not in best.scenario.without:
                    still(replace(best.scenario, without=best.scenario.without | {name}))
    return best


def _fewer(items: Sequence[T], still: Callable[[tuple[T, ...]], bool], least: int = 0) -> None:
    """Leaves out halves, quarters, … single items, as long as `still` says yes."""
    kept = tuple(items)
    size = len(kept)
    while size >= 1:
        for without in _without(kept, size):
            if len(without) >= least and still(without):
                kept = without
                break
        else:
            size //= 2
            continue
        size = min(size, len(kept))


def _without(items: tuple[T, ...], size: int) -> Iterator[tuple[T, ...]]:
    for start in range(0, len(items), size):
        yield items[:start] + items[start + size :]
