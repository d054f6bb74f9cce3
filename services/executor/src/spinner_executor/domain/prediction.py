"""C7: how much memory a task's next try asks for, learned from its latest ones. Pure.

What a person set goes first, then what an out-of-memory end raised, then what was learned, then what the definition
says. Learned request: the nearest-rank percentile of the peaks of the latest SAMPLES successes, times 1 + head-room,
rounded up to STEP, within the policy's bounds. After an out-of-memory end the limit is RAISE times what that try had;
it holds until SAMPLES successes came after it, so a task does not fail again and again at its configured limit.

Samples are a set: records of one task are united, so executors that learn at the same time lose nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from spinner_proto.usage.v1.usage_pb2 import TaskResources, TaskUsage, UsageSample

SAMPLES = 30
# Fewer say too little of a task's spread.
MIN_SAMPLES = 5
MAX_OUT_OF_MEMORY = 5
RAISE = 1.5
STEP = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """`percentile` 1–100; `head_room` a fraction; bounds in bytes, `maximum` also for raised limits."""

    learn: bool = True
    percentile: float = 95.0
    head_room: float = 0.2
    minimum: int = 64 * 1024 * 1024
    maximum: int = 64 * 1024**3


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, 0 for none. `source`: "set", "raised", "learned", "configured" or ""."""

    request: int = 0
    limit: int = 0
    source: str = ""


UNKNOWN = Memory()


def sample_id(key_text: str) -> int:
    """Names the try of a sample."""
    return int.from_bytes(hashlib.blake2b(key_text.encode(), digest_size=8).digest(), "little")


def unite(samples: Iterable[UsageSample], forget_until: int = 0) -> list[UsageSample]:
    """The samples worth keeping, in order of time: the latest successes, and what ran out of memory since.

    `forget_until`: nanoseconds since 1970; samples up to then are dropped.
    """
    found = {s.id: s for s in samples if s.end_time.ToNanoseconds() > forget_until}
    ordered = sorted(found.values(), key=lambda s: (s.end_time.ToNanoseconds(), s.id))
    successes = [s for s in ordered if not s.out_of_memory][-SAMPLES:]
    since = successes[0].end_time.ToNanoseconds() if len(successes) == SAMPLES else 0
    failures = [s for s in ordered if s.out_of_memory and s.end_time.ToNanoseconds() >= since][-MAX_OUT_OF_MEMORY:]
    return sorted([*successes, *failures], key=lambda s: (s.end_time.ToNanoseconds(), s.id))


def _rounded(amount: float) -> int:
    return math.ceil(amount / STEP) * STEP


def learned_request(samples: Iterable[UsageSample], policy: Policy) -> int:
    """Bytes that the next try asks for, 0 while too little is known."""
    peaks = sorted(s.peak_memory_bytes for s in samples if not s.out_of_memory and s.peak_memory_bytes > 0)
    if not policy.learn or len(peaks) < MIN_SAMPLES:
        return 0
    rank = max(1, math.ceil(policy.percentile / 100 * len(peaks)))
    return min(max(_rounded(peaks[rank - 1] * (1 + policy.head_room)), policy.minimum), policy.maximum)


def raised(samples: Iterable[UsageSample], policy: Policy) -> tuple[int, bool]:
    """What out-of-memory ends raise the memory to (0: there was none), and whether that is a limit, too."""
    failures = [s for s in samples if s.out_of_memory]
    if not policy.learn or not failures:
        return 0, False
    base = max(max(s.limit_bytes, s.peak_memory_bytes) for s in failures)
    return min(_rounded(base * RAISE), policy.maximum), any(s.limit_bytes for s in failures)


def decide(configured: Memory, usage: TaskUsage | None, chosen: TaskResources | None, policy: Policy) -> Memory:
    """The memory of the next try. A limit is never below its request."""
    request, limit, source = configured.request, configured.limit, "configured" if configured.request else ""
    source = source or ("configured" if configured.limit else "")
    forget = chosen.reset_time.ToNanoseconds() if chosen is not None and chosen.HasField("reset_time") else 0
    samples = unite(usage.samples, forget) if usage is not None else []
    learned = learned_request(samples, policy)
    if learned:
        # Above the limit it would be a request for what the try may not use.
        request, source = min(learned, limit) if limit else learned, "learned"
    floor, is_limit = raised(samples, policy)
    if floor > max(request, limit if is_limit else 0):
        request, source = floor, "raised"
        limit = max(limit, floor) if is_limit or limit else 0
    if chosen is not None and (chosen.memory_request_bytes or chosen.memory_limit_bytes):
        source = "set"
        limit = chosen.memory_limit_bytes or limit
        request = chosen.memory_request_bytes or (min(request, limit) if limit else request)
        limit = max(limit, request) if limit else 0
    return Memory(request, max(limit, request) if limit else 0, source)
