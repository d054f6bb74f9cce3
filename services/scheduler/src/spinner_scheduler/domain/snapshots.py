"""A run as bytes: its facts, its flat arrays and its sparse tables.

Format 1: a fixed prefix with what is asked of finished runs (see `Summary`), then, zlib-compressed,
`<u32 length of head><head: JSON><facts: RunCreated><arrays>`. The same bytes are a run's snapshot and the form in
which a finished run waits in memory for a possible clear.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from spinner_proto.common.v1.common_pb2 import Blob
from spinner_proto.events.v1.events_pb2 import RunCreated
from spinner_proto.inbox.v1.inbox_pb2 import TaskDeferred

from spinner_scheduler.domain import times
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import DEFERRED, QUEUED, RESTARTING, RUNNING

# 2: as 1, and the snapshot says what the run holds of pools.
FORMAT = 2
_PREFIX = struct.Struct("<qqqqIB")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a snapshot says of a run without being decoded; times in µs."""

    logical: int
    interval_start: int
    interval_end: int
    end: int
    unfinished: int
    state: int


def summary(data: bytes) -> Summary:
    return Summary(*_PREFIX.unpack_from(data))


def held(run: Run) -> dict[str, tuple[int, int]]:
    """What a run's tasks hold of each pool: slots of tasks with a worker, and of deferred ones."""
    found: dict[str, tuple[int, int]] = {}
    states, layout = run.states, run.layout
    for state in (QUEUED, RUNNING, RESTARTING, DEFERRED):
        slot = states.find(state)
        while slot >= 0:
            position = run.position(slot)
            pool, slots = run.pools[position], layout.pool_slots[position]
            working, deferred = found.get(pool, (0, 0))
            found[pool] = (working, deferred + slots) if state == DEFERRED else (working + slots, deferred)
            slot = states.find(state, slot + 1)
    return found


_TABLES = (
    "next_time",
    "sequences",
    "first_start",
    "base",
    "free",
    "lengths",
    "skips",
    "cancelled",
    "requests",
    "pending",
    "deadlines",
    "deadline_states",
)


def encode_run(run: Run) -> bytes:
    """Returns the run's state, without what is derived."""
    arrays = [
        bytes(run.states),
        run.tries.tobytes(),
        run.segments.tobytes(),
        *(run.counts[category].tobytes() for category in range(1, 5)),
        run.totals.tobytes(),
        run.ext_pos.tobytes(),
        run.ext_index.tobytes(),
        run.since.tobytes(),
    ]
    facts = run.facts.SerializeToString()
    head: dict[str, Any] = {
        "dag": run.dag_id,
        "run": run.run_id,
        "version": run.layout.version,
        "state": run.state,
        "since": run.state_time,
        "start": run.start,
        "end": run.end,
        "reason": run.reason,
        "ends": run.ends,
        "awaiting": run.awaiting_layout,
        "layout_try": run.layout_try,
        "rebind": run.rebind,
        "sizes": [len(part) for part in arrays],
        "facts": len(facts),
    }
    for name in _TABLES:
        table = getattr(run, name)
        if table:
            head[name] = sorted(table.items())
    if run.instances:
        head["instances"] = sorted(run.instances.items())
    if run.granted:
        head["granted"] = sorted(run.granted)
    if run.remap:
        head["remap"] = sorted(run.remap)
    if run.deferrals:
        head["deferrals"] = [
            (slot, b64encode(deferral.SerializeToString(deterministic=True)).decode())
            for slot, deferral in sorted(run.deferrals.items())
        ]
    if run.confs:
        head["confs"] = [
            (slot, b64encode(conf.SerializeToString(deterministic=True)).decode())
            for slot, conf in sorted(run.confs.items())
        ]
    if run.resumes:
        head["resumes"] = [
            (slot, b64encode(event).decode(), error) for slot, (event, error) in sorted(run.resumes.items())
        ]
    text = json.dumps(head, separators=(",", ":")).encode()
    prefix = _PREFIX.pack(
        run.logical,
        times.from_timestamp(run.facts.data_interval_start),
        times.from_timestamp(run.facts.data_interval_end),
        run.end,
        run.unfinished,
        run.state,
    )
    return prefix + zlib.compress(b"".join([struct.pack("<I", len(text)), text, facts, *arrays]), 1)


def decode_run(data: bytes, layouts: Layouts) -> Run:
    """Returns the run. Raises LookupError when its definition is unknown."""
    raw = zlib.decompress(data[_PREFIX.size :])
    (length,) = struct.unpack_from("<I", raw)
    head = json.loads(raw[4 : 4 + length])
    position = 4 + length
    facts = RunCreated()
    facts.ParseFromString(raw[position : position + head["facts"]])
    position += head["facts"]
    layout = layouts.get(head["dag"], head["version"])
    if layout is None:
        raise LookupError(
            f"{head['dag']}@{head['version']}, needed by run {head['run']}, is not in workflow_definitions"
        )
    run = Run(head["dag"], head["run"], layout, facts)
    run.state, run.start, run.end = head["state"], head["start"], head["end"]
    run.reason, run.ends = head["reason"], head["ends"]
    run.state_time = head.get("since", 0)
    run.awaiting_layout, run.layout_try = head["awaiting"], head["layout_try"]
    run.rebind = head.get("rebind", "")
    parts: list[bytes] = []
    for size in head["sizes"]:
        parts.append(raw[position : position + size])
        position += size
    run.states = bytearray(parts[0])
    run.tries = array("H", parts[1])
    run.segments = array("H", parts[2])
    run.counts = [array("I"), *(array("I", part) for part in parts[3:7])]
    run.totals = array("I", parts[7])
    run.ext_pos = array("I", parts[8])
    run.ext_index = array("I", parts[9])
    # Absent from what earlier versions wrote.
    run.since = array("I", parts[10] if len(parts) > 10 else bytes(4 * len(run.states)))
    for name in _TABLES:
        if name in head:
            setattr(run, name, dict(head[name]))
    for slot, positions in run.skips.items():
        for target in positions:
            run.skip_by.setdefault(target, set()).add(slot)
    run.instances = {target: list(slots) for target, slots in head.get("instances", [])}
    run.granted = set(head.get("granted", []))
    run.remap = set(head.get("remap", []))
    for slot, text in head.get("deferrals", []):
        deferral = TaskDeferred()
        deferral.ParseFromString(b64decode(text))
        run.deferrals[slot] = deferral
    run.confs = {slot: Blob.FromString(b64decode(text)) for slot, text in head.get("confs", [])}
    run.resumes = {slot: (b64decode(event), error) for slot, event, error in head.get("resumes", [])}
    run.dirty = []
    run.recount()
    return run
