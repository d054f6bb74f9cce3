"""What will be done to the world: drawn from a seed as a whole, before anything happens.

Because it is a list, a failing scenario can be made smaller (`shrinking`): the rest of it means the same with fewer
acts, DAGs or tasks. Its text (`17:dags=0,2:acts=3,9:minutes=20`) repeats it anywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

PROCESSES = 3
DAGS = 4
MINUTES = 60
SESSION_SECONDS = 6.0

# What may go wrong, and how often compared with the others. The number is the likelihood.
FAULTS: dict[str, int] = {
    # A scheduler process: at the next commit of the process …
    "die_before_commit": 3,
    "die_after_commit": 3,
    "abort": 2,
    "lose_answer": 2,
    "lose_ownership": 3,
    # … at any point at which it reaches for the broker, at the next read of a recovery, at once …
    "die_at_any_point": 4,
    "die_in_recovery": 2,
    "die": 2,
    # … or it sleeps, works on without hearing of its group, falls behind, goes, has a wrong clock.
    "pause": 2,
    "deaf": 2,
    "sluggish": 3,
    "leave": 2,
    "step_clock": 3,
    # What the schedulers depend on.
    "lose_broker": 2,
    "executor_dies": 2,
    "executor_pauses": 1,
    "executor_slows": 1,
}
COMMANDS: dict[str, int] = {
    "trigger": 2, "pause": 2, "clear": 4, "mark": 2, "mark_run": 1, "stop": 1, "publish": 2, "pool": 1, "remove": 1,
    "backfill": 3, "decide": 2, "update": 2,
}  # fmt: skip
# What executors and workers do wrong all the time.
NOISE = ("fail", "double", "lose", "delay")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens at a time. `number` seeds its details, so that they don't depend on other acts."""

    number: int
    seconds: float
    kind: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """`dags`: numbers of the DAGs; `without`: tasks left out, "dag number.task number"."""

    seed: int
    acts: tuple[Act, ...]
    dags: tuple[int, ...] = tuple(range(DAGS))
    minutes: int = MINUTES
    noise: frozenset[str] = field(default=frozenset(NOISE))
    without: frozenset[str] = field(default=frozenset())

    def rng(self, name: str) -> random.Random:
        """Randomness of its own for one purpose: the same whatever else happens."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - not for secrets

    def text(self) -> str:
        """A short form that `parse` reads."""
        parts = [str(self.seed), "acts=" + ",".join(str(act.number) for act in self.acts)]
        parts.append("dags=" + ",".join(map(str, self.dags)))
        parts.append(f"minutes={self.minutes}")
        parts.append("noise=" + ",".join(name for name in NOISE if name in self.noise))
        if self.without:
            parts.append("without=" + ",".join(sorted(self.without)))
        return ":".join(parts)


def draw(seed: int) -> Scenario:
    """The scenario of a seed. Most have faults of several kinds; each sixth has none."""
    rng = random.Random(f"{seed}/scenario")  # noqa: S311 - not for secrets
    acts: list[tuple[float, str]] = []
    for _ in range(rng.randrange(4, 14)):
        acts.append((rng.uniform(1, MINUTES * 60), _one_of(rng, COMMANDS)))
    if rng.random() < 5 / 6:
        chosen = rng.sample(list(FAULTS), rng.randrange(2, len(FAULTS)))
        likely = {kind: FAULTS[kind] for kind in chosen}
        for _ in range(rng.randrange(3, 40)):
            acts.append((rng.uniform(0, MINUTES * 60), _one_of(rng, likely)))
    noise = frozenset(name for name in NOISE if rng.random() < 0.75)
    acts.sort()
    return Scenario(seed, tuple(Act(number, at, kind) for number, (at, kind) in enumerate(acts)), noise=noise)


def parse(text: str) -> Scenario:
    """Reads `Scenario.text()` or a mere seed. Raises ValueError for anything else."""
    seed, *parts = text.split(":")
    scenario = draw(int(seed))
    for part in parts:
        name, _, value = part.partition("=")
        values = [item for item in value.split(",") if item]
        if name == "acts":
            kept = {int(item) for item in values}
            scenario = replace(scenario, acts=tuple(act for act in scenario.acts if act.number in kept))
        elif name == "dags":
            scenario = replace(scenario, dags=tuple(map(int, values)))
        elif name == "minutes":
            scenario = replace(scenario, minutes=int(value))
        elif name == "noise":
            scenario = replace(scenario, noise=frozenset(values))
        elif name == "without":
            scenario = replace(scenario, without=frozenset(values))
        else:
            raise ValueError(f"{name!r} is not a part of a scenario: give what the failing simulation printed")
    return scenario


def _one_of(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
