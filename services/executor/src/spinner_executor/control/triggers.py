"""Deferred tries: their triggers run in triggerer processes, by the thousand in one, apart by bundle version.

A triggerer that dies is started again with all its triggers: an event is seen at least once, and the scheduler drops
the second by segment and sequence. An event is reported, and only its acknowledgement ends the matter. A trigger that
ends, blocks or fills its process goes on in a process beside the others (domain.triggerers says whose fault it is);
what is done to it, and what it prints, is in the log of its try.

A watcher of an asset is such a try without an end: its trigger runs on after an event (`watching`), and is started
again, after a pause, when it fails or ends.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from spinner.runtime.local_frames import Status
from spinner.triggers.clock import Alarm, wall_clock
from spinner_proto.inbox.v1.inbox_pb2 import TriggerFired, WatcherEvent
from spinner_proto.orders.v1.orders_pb2 import OrderKind

from spinner_executor.adapters.bundles import BundleUnavailable
from spinner_executor.adapters.runs import RunQuery, RunsView
from spinner_executor.adapters.triggerer import tunnel
from spinner_executor.adapters.triggerer.process import TriggererProcess
from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.control.watching import MAX_AHEAD, Feed
from spinner_executor.domain.clock import datetime_of
from spinner_executor.domain.model import SEQUENCE_TRIGGER_FIRED
from spinner_executor.domain.triggerers import MAX_STRIKES, Blame, Death, Fault, blame, to_be_halved

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 30.0
# Processes for triggers that harm others; more of them share these.
_MAX_ALONE = 8
# Triggers of the SDK need no bundle: they share a process whatever their DAG's version.
_OWN_TRIGGERS = "spinner.triggers."


async def _no_answer(tried: Try, method: str, request: bytes) -> tuple[int, bytes]:
    return Status.UNAVAILABLE, b"this executor answers no triggers"


@dataclass(slots=True)
class _Waiting:
    """A try that waits for its trigger."""

    tried: Try
    segment: int
    process: TriggererProcess | None = None
    alarm: Alarm | asyncio.TimerHandle | None = None
    strikes: int = 0
    # Its log says already that it blocks a process of its own.
    blocks: bool = False
    # Of a watcher.
    feed: Feed | None = None


class Triggers:
    """All triggers of the owned partitions. Runs on the event loop."""

    def __init__(self, context: Context, runs: RunsView) -> None:
        self._context = context
        self._runs = runs
        # Answers a trigger's call: try, method, request → gRPC status, body.
        self.answer: Callable[[Try, str, bytes], Awaitable[tuple[int, bytes]]] = _no_answer
        self._log_file = context.settings.executor_data.absolute() / "triggerer.log"
        self._elsewhere = tunnel.variables(context.settings.triggerers, context.settings.secret_key.get_secret_value())
        self._processes: list[TriggererProcess] = []
        self._waiting: dict[str, _Waiting] = {}
        # The identity of the trigger of each key that has one.
        self._identities: dict[str, str] = {}
        self._unpublished: set[str] = set()
        self._stacks: set[TriggererProcess] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def processes(self) -> list[int]:
        """Process ids of the triggerers."""
        return [process.pid for process in self._processes if process.pid is not None]

    def start(self, tried: Try) -> None:
        """Waits for the trigger of the try's deferred order."""
        self.stop(tried.key)
        identity = f"{tried.key}#{tried.order.segment}"
        waiting = self._waiting[identity] = _Waiting(tried, tried.order.segment)
        self._identities[tried.key] = identity
        if tried.order.kind == OrderKind.ORDER_KIND_WATCHER:
            waiting.feed = Feed(self._context, tried, tried.order.trigger_cursor)
        timeout = datetime_of(tried.order.trigger_timeout_time)
        if timeout is not None:
            waiting.alarm = wall_clock().call_at(timeout, lambda: self._fire(identity, TriggerFired(error="timeout")))
        self._context.metrics.deferred.set(len(self._waiting))
        self._launch(identity, waiting)

    def _launch(self, identity: str, waiting: _Waiting) -> None:
        order = waiting.tried.order
        needs_bundle = order.HasField("bundle") and order.bundle.object_key
        own = order.trigger_class.startswith(_OWN_TRIGGERS) and waiting.feed is None
        if not needs_bundle or own:
            self._place(identity, waiting, "")
        elif (path := self._context.bundles.path_now(order.bundle)) is not None:
            self._place(identity, waiting, str(path))
        else:
            self._context.spawn(self._begin(identity, waiting))

    async def _begin(self, identity: str, waiting: _Waiting) -> None:
        try:
            path = await self._context.bundles.path(waiting.tried.order.bundle)
        except BundleUnavailable as error:
            self._fire(identity, TriggerFired(error=str(error)))
            return
        if self._waiting.get(identity) is waiting:
            self._place(identity, waiting, str(path))

    def _place(self, identity: str, waiting: _Waiting, folder: str) -> None:
        capacity = self._context.settings.triggerer_capacity
        for process in self._processes:
            if process.folder == folder and not process.alone and len(process) < capacity:
                break
        else:
            process = self._new_process(folder)
        order, feed = waiting.tried.order, waiting.feed
        waiting.process = process
        more = {} if feed is None else {"cursor": feed.cursor, "ahead": feed.ahead, "most": MAX_AHEAD}
        process.start(identity, order.trigger_class, order.trigger_arguments_json.decode(), more)

    def _new_process(self, folder: str, alone: bool = False) -> TriggererProcess:
        limit = self._context.settings.triggerer_memory
        process = TriggererProcess(folder, self._log_file, limit, self, alone, self._elsewhere)
        self._processes.append(process)
        self._context.metrics.triggerers.set(len(self._processes))
        return process

    # What processes tell (adapters.triggerer.process.Listener).

    def heard(self, process: TriggererProcess, message: dict[str, Any]) -> None:
        if "fired" in message:
            self._fire(message["fired"], TriggerFired(payload_json=message["payload"].encode()))
        elif "failed" in message:
            self._fire(message["failed"], TriggerFired(error=message["error"]))
        elif "seen" in message:
            self._seen(process, message)
        elif "begun" in message:
            if (feed := self._feed(message["begun"])) is not None:
                feed.begun()
        elif "over" in message:
            self._again(message["over"])
        elif "log" in message:
            self._say(message["log"], message["text"])
        elif "watch" in message:
            self._watch(process, message)
        elif "ask" in message:
            self._context.spawn(self._asked(process, process.pid, message))
        elif (unwatch := process.watches.pop(message["unwatch"], None)) is not None:
            unwatch()

    # Watchers.

    def _feed(self, identity: str) -> Feed | None:
        waiting = self._waiting.get(identity)
        return None if waiting is None else waiting.feed

    def _seen(self, process: TriggererProcess, message: dict[str, Any]) -> None:
        identity = message["seen"]
        feed = self._feed(identity)
        if feed is None:
            return
        event = WatcherEvent(event_id=message["id"], cursor=message["cursor"], partition_key=message["key"])
        event.payload_json = message["payload"].encode()
        feed.add(event)
        process.message(identity)["more"].update(cursor=feed.cursor, ahead=feed.ahead)

    def heard_of(self, tried: Try) -> None:
        """A watcher's order has changed: the scheduler has taken events."""
        identity = self._identities.get(tried.key, "")
        waiting = self._waiting.get(identity)
        if waiting is None or waiting.feed is None:
            return
        taken = waiting.feed.heard()
        if waiting.process is not None and identity in waiting.process.identities:
            waiting.process.message(identity)["more"]["ahead"] = waiting.feed.ahead
            if taken:
                waiting.process.write({"taken": identity, "events": taken})

    def _again(self, identity: str) -> None:
        """Starts a watcher's trigger again, after a pause."""
        waiting = self._waiting.get(identity)
        if waiting is None or waiting.feed is None:
            return
        if waiting.process is not None:
            waiting.process.stop(identity)
            waiting.process = None

        def start() -> None:
            if self._waiting.get(identity) is waiting and waiting.process is None:
                self._launch(identity, waiting)

        if waiting.alarm is not None:
            waiting.alarm.cancel()
        waiting.alarm = self._context.loop.call_later(waiting.feed.next_pause(), start)

    def _watch(self, process: TriggererProcess, message: dict[str, Any]) -> None:
        number, loop, pid = message["watch"], self._context.loop, process.pid
        date = message["logical_date"]
        query = RunQuery(
            message["dag_id"],
            message["run_id"],
            None if date is None else datetime.fromisoformat(date),
            tuple(message["task_ids"]),
        )

        def tell(states: list[str] | None) -> None:
            if process.pid == pid:
                process.write({"told": number, "states": states})

        def changed(states: list[str] | None) -> None:
            loop.call_soon_threadsafe(tell, states)

        process.watches[number] = self._runs.watch(query, changed)

    async def _asked(self, process: TriggererProcess, pid: int | None, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(message["trigger"])
        if waiting is None:
            status, body = int(Status.CANCELLED), b"nobody waits for this trigger any more"
        else:
            status, body = await self.answer(waiting.tried, message["name"], base64.b64decode(message["request"]))
        if process.pid == pid:
            process.write({"answer": message["ask"], "status": status, "body": base64.b64encode(body).decode()})

    def died(self, process: TriggererProcess, death: Death) -> bool:
        found = blame(death, process.limit_bytes)
        self._context.metrics.triggerer_deaths.labels(found.fault.value if found else "unknown").inc()
        if found is not None:
            return self._set_apart(process, found, death.stack)
        now = self._context.loop.time()
        if to_be_halved(process.deaths, now, len(process)):
            process.deaths.clear()
            other = self._new_process(process.folder, process.alone)
            for identity in process.identities[::2]:
                self._move(identity, process, other)
        elif len(process) == 1 and death.status >= 0 and death.fault is None:
            (identity,) = process.identities
            return self._set_apart(process, Blame(identity, Fault.ENDED, f"ended with status {death.status}"), "")
        return False

    def _set_apart(self, process: TriggererProcess, found: Blame, stack: str) -> bool:
        """Moves a trigger that harmed others to where it can't, or gives it up. True when its process is rid of it."""
        identity = found.identity
        waiting = self._waiting.get(identity)
        if waiting is None or waiting.process is not process:
            return True
        if found.fault is not Fault.BLOCKED:
            waiting.strikes += 1
        what = f"The trigger {found.what}"
        if waiting.strikes >= MAX_STRIKES:
            self._fire(identity, TriggerFired(error=f"{what}, {waiting.strikes} times"))
            return True
        if process.alone:
            self._tell(identity, f"{what}. It is started again.")
            return False
        self._tell(identity, f"{what}. It is started again in a process apart from others.", stack)
        alone = [one for one in self._processes if one.alone and one.folder == process.folder]
        if sum(one.alone for one in self._processes) < _MAX_ALONE or not alone:
            other = self._new_process(process.folder, alone=True)
        else:
            other = min(alone, key=len)
        self._move(identity, process, other)
        return True

    def _move(self, identity: str, process: TriggererProcess, other: TriggererProcess) -> None:
        message = process.message(identity)
        process.stop(identity)
        self._waiting[identity].process = other
        other.start(identity, message["class"], message["arguments"], message["more"])

    # Each half second.

    def look(self) -> None:
        """Looks for triggers that block or fill their process, and for processes without any."""
        now = self._context.loop.time()
        for process in list(self._processes):
            if process.idle_since is not None and now - process.idle_since > _IDLE_SECONDS:
                self._processes.remove(process)
                self._context.spawn(process.close())
            elif process.resident_bytes > process.limit_bytes:
                process.kill(Fault.MEMORY)
            elif (culprit := process.blocked()) is not None and process not in self._stacks:
                waiting = self._waiting.get(culprit)
                if waiting is not None and not waiting.blocks:
                    waiting.blocks = process.alone
                    self._stacks.add(process)
                    self._context.spawn(self._unblock(process, culprit))
        for identity in self._unpublished:
            if (waiting := self._waiting.get(identity)) is not None:
                waiting.tried.log.publish(self._context.reporter.post)
        self._unpublished.clear()
        self._context.metrics.triggerers.set(len(self._processes))

    async def _unblock(self, process: TriggererProcess, culprit: str) -> None:
        try:
            stack = await process.stack()
        finally:
            self._stacks.discard(process)
        if process.alone:
            self._tell(culprit, "The trigger blocks its event loop; it harms no other here.", stack)
        elif process.blocked() == culprit:
            process.kill(Fault.BLOCKED, culprit, stack)

    # What becomes of a trigger.

    def _tell(self, identity: str, text: str, stack: str = "") -> None:
        """The executor's own word in the log of a trigger's try."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        _log.warning("%s: %s", identity, text)
        where = f" It was here (innermost first):\n{stack}" if stack else ""
        self._say(identity, f"[{moment}] {{TaskExecStage}} WARNING spinner.triggerer: {text}{where}\n")

    def _say(self, identity: str, text: str) -> None:
        waiting = self._waiting.get(identity)
        if waiting is not None:
            waiting.tried.log.say(text)
            self._unpublished.add(identity)

    def _fire(self, identity: str, fired: TriggerFired) -> None:
        waiting = self._waiting.get(identity)
        if waiting is None:
            return
        tried = waiting.tried
        if fired.error and fired.error != "timeout":
            self._tell(identity, fired.error)
        if waiting.feed is not None:
            waiting.strikes = 0
            waiting.feed.failed(fired.error)
            self._again(identity)
            return
        self._release(identity)
        report = self._context.report_of(tried, SEQUENCE_TRIGGER_FIRED, waiting.segment)
        report.trigger_fired.CopyFrom(fired)
        self._context.spawn(self._context.reporter.report(tried.order, report, tried.traceparent))

    def stop(self, key: str) -> None:
        """No trigger of this try is waited for any more."""
        identity = self._identities.get(key)
        if identity is not None:
            self._release(identity)

    def _release(self, identity: str) -> None:
        waiting = self._waiting.pop(identity)
        if waiting.feed is not None:
            waiting.feed.closed = True
        del self._identities[waiting.tried.key]
        if waiting.alarm is not None:
            waiting.alarm.cancel()
        if waiting.process is not None:
            waiting.process.stop(identity)
        self._context.metrics.deferred.set(len(self._waiting))

    async def close(self) -> None:
        for waiting in self._waiting.values():
            if waiting.alarm is not None:
                waiting.alarm.cancel()
        processes, self._processes = self._processes, []
        await asyncio.gather(*(process.close() for process in processes))
