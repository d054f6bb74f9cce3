"""Requests follow the latest successes, rise after an out-of-memory end, and yield to what a person set."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spinner_executor.domain.prediction import (
    SAMPLES,
    Memory,
    Policy,
    decide,
    learned_request,
    raised,
    sample_id,
    unite,
)
from spinner_proto.usage.v1.usage_pb2 import TaskResources, TaskUsage, UsageSample

MIB = 1024 * 1024
POLICY = Policy()
NOTHING = Memory()


def sample(number: int, peak_mib: int, out_of_memory: bool = False, limit_mib: int = 0) -> UsageSample:
    found = UsageSample(
        id=sample_id(f"d/r{number}/t/-1/1"),
        peak_memory_bytes=peak_mib * MIB,
        out_of_memory=out_of_memory,
        limit_bytes=limit_mib * MIB,
    )
    found.end_time.FromSeconds(1_000_000 + number)
    return found


def successes(*peaks_mib: int) -> list[UsageSample]:
    return [sample(number, peak) for number, peak in enumerate(peaks_mib)]


def test_nothing_is_learned_from_four_tries() -> None:
    assert learned_request(successes(100, 100, 100, 100), POLICY) == 0


def test_the_request_is_the_percentile_with_head_room_rounded_up() -> None:
    # Nearest rank of 95 % of 20 is the 19th: one outlier in twenty doesn't count.
    assert learned_request(successes(*[300] * 19, 4000), POLICY) == 368 * MIB  # 300 · 1.2 = 360 → 16 MiB steps


@pytest.mark.parametrize(("peak", "expected"), [(1, 64), (100_000, 65_536)])
def test_the_request_stays_within_its_bounds(peak: int, expected: int) -> None:
    assert learned_request(successes(*[peak] * 5), POLICY) == expected * MIB


def test_only_the_latest_thirty_successes_count() -> None:
    kept = unite(successes(*[5000] * 10, *[100] * SAMPLES))
    assert len(kept) == SAMPLES
    assert learned_request(kept, POLICY) == 128 * MIB


def test_a_try_that_ran_out_of_memory_raises_the_next_one_and_again() -> None:
    first = [sample(1, 250, True, 256)]
    usage = TaskUsage(samples=first)
    assert decide(Memory(128 * MIB, 256 * MIB, "configured"), usage, None, POLICY) == Memory(
        384 * MIB, 384 * MIB, "raised"
    )
    assert raised([*first, sample(2, 380, True, 384)], POLICY) == (576 * MIB, True)


def test_the_raise_ends_after_thirty_successes() -> None:
    failed = sample(0, 250, True, 256)
    after = [sample(number, 200) for number in range(1, SAMPLES + 1)]
    assert raised(unite([failed, *after[:-1]]), POLICY)[0] == 384 * MIB
    assert raised(unite([failed, *after]), POLICY)[0] == 0


def test_without_a_limit_only_the_request_is_raised() -> None:
    usage = TaskUsage(samples=[sample(1, 1000, True)])
    assert decide(NOTHING, usage, None, POLICY) == Memory(1504 * MIB, 0, "raised")


def test_a_learned_request_is_never_above_the_configured_limit() -> None:
    usage = TaskUsage(samples=successes(*[900] * 6))
    assert decide(Memory(0, 512 * MIB, "configured"), usage, None, POLICY) == Memory(512 * MIB, 512 * MIB, "learned")


def test_what_a_person_set_goes_before_everything() -> None:
    usage = TaskUsage(samples=[*successes(*[900] * 6), sample(9, 100, True, 512)])
    chosen = TaskResources(memory_request_bytes=100 * MIB, memory_limit_bytes=200 * MIB)
    assert decide(Memory(1, 2, "configured"), usage, chosen, POLICY) == Memory(100 * MIB, 200 * MIB, "set")


def test_a_reset_forgets_what_was_before_it() -> None:
    usage = TaskUsage(samples=successes(*[900] * 6))
    chosen = TaskResources()
    chosen.reset_time.FromSeconds(1_000_000 + 5)
    assert decide(Memory(64 * MIB, 0, "configured"), usage, chosen, POLICY) == Memory(64 * MIB, 0, "configured")


def test_learning_can_be_turned_off() -> None:
    usage = TaskUsage(samples=[*successes(*[900] * 6), sample(9, 100, True, 512)])
    assert decide(NOTHING, usage, None, Policy(learn=False)) == NOTHING


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4000), st.booleans()), max_size=80), st.randoms())
def test_executors_that_unite_in_any_order_come_to_the_same_set(
    tries: list[tuple[int, int, bool]], order: random.Random
) -> None:
    samples = list({number: sample(number, peak, oom, 10) for number, peak, oom in tries}.values())
    shuffled = samples[:]
    order.shuffle(shuffled)
    half = len(shuffled) // 2
    apart = [*unite(shuffled[:half]), *unite(shuffled[half:])]
    assert unite(samples) == unite(shuffled)
    assert unite(unite(samples)) == unite(samples)
    successes_of = [s.id for s in unite(samples) if not s.out_of_memory]
    assert [s.id for s in unite(apart) if not s.out_of_memory] == successes_of
