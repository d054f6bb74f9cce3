"""Triggers on one loop: started, stopped, told apart by what they print and by the steps that they take."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import io
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spinner.runtime.logs import LineFormatter
from spinner.triggers.base import (
    BaseEventTrigger,
    BaseTrigger,
    Bookmark,
    TriggerEvent,
    WatchedEvent,
    encode_event,
    load_trigger,
)

from spinner_executor.adapters.triggerer.ledger import Ledger
from spinner_executor.domain.triggerers import OUT_OF_MEMORY_STATUS

Send = Callable[[dict[str, Any]], None]

MAX_EVENT_BYTES = 256 * 1024
# What a trigger may write into its try's log.
MAX_LOG_BYTES = 1024 * 1024
# How long a trigger may take to tidy up.
_CLEANUP_SECONDS = 10.0

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class _Running:
    """One trigger in this process."""

    identity: str
    slot: int
    task: asyncio.Task[None] | None = None
    line: str = ""
    written: int = 0
    # Of a watcher: how many events it is ahead of what was counted, and what is set when that changes.
    ahead: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)


_current: contextvars.ContextVar[_Running | None] = contextvars.ContextVar("trigger", default=None)


def current_trigger() -> str | None:
    """Identity of the trigger whose code runs, in a thread of its, too."""
    running = _current.get()
    return None if running is None else running.identity


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine of a trigger's whose every step is noted in the ledger."""

    def __init__(self, inner: Coroutine[Any, Any, Any], slot: int, ledger: Ledger, resident: _Resident) -> None:
        self._inner = inner
        self._slot = slot
        self._ledger = ledger
        self._resident = resident

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        self._ledger.begin(self._slot)
        try:
            return step(*arguments)
        except (SystemExit, KeyboardInterrupt) as error:  # would end the loop
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        finally:
            self._ledger.end(self._slot, self._resident.grown())

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


class _Resident:
    """The process's resident memory, where the system tells it."""

    def __init__(self) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open("/proc/self/statm", os.O_RDONLY)
        self._pages = 0
        self.grown()

    def grown(self) -> int:
        """Bytes since the last question; negative when it shrank."""
        if self._descriptor < 0:
            return 0
        pages = int(os.pread(self._descriptor, 96, 0).split(b" ", 2)[1])
        grown, self._pages = pages - self._pages, pages
        return grown * _PAGE_BYTES


class Output(io.TextIOBase):
    """stdout and stderr: what a trigger writes goes to its try's log, the rest to the process's own."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        running = _current.get()
        if running is None:
            os.write(2, text.encode(errors="replace"))
            return len(text)
        running.line += text
        if "\n" in running.line:
            whole, _, running.line = running.line.rpartition("\n")
            self.log(running, whole + "\n")
        elif len(running.line) > MAX_LOG_BYTES:
            self.finish(running)
        return len(text)

    def finish(self, running: _Running) -> None:
        """Writes what has no line end yet."""
        if running.line:
            line, running.line = running.line, ""
            self.log(running, line + "\n")

    def log(self, running: _Running, text: str) -> None:
        if running.written > MAX_LOG_BYTES:
            return
        running.written += len(text)
        if running.written > MAX_LOG_BYTES:
            text = f"[the trigger has written more than {MAX_LOG_BYTES} characters; the rest is left out]\n"
        self._send({"log": running.identity, "text": text})


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            sys.stderr.write(self.format(record) + "\n")


def configure_logging() -> None:
    """Lines of `logging` as tasks have them."""
    handler = _Handler()
    handler.setFormatter(LineFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(logging.INFO)
    logging.captureWarnings(True)


@dataclass(slots=True)
class _Watch:
    """States that triggers of this process wait for."""

    number: int
    key: tuple[str, str, datetime | None, tuple[str, ...]]
    known: bool = False
    states: list[str] | None = None
    users: int = 0
    changed: list[asyncio.Future[None]] = field(default_factory=list)


class Watches:
    """A `spinner.triggers.states.StateSource` whose questions go to the executor, each once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._watches: dict[tuple[str, str, datetime | None, tuple[str, ...]], _Watch] = {}
        self._numbers: dict[int, _Watch] = {}
        self._latest = 0

    def told(self, number: int, states: list[str] | None) -> None:
        watch = self._numbers.get(number)
        if watch is not None:
            watch.known, watch.states = True, states
            waiting, watch.changed = watch.changed, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)

    def watch(
        self, dag_id: str, run_id: str, logical_date: datetime | None, task_ids: tuple[str, ...]
    ) -> AsyncIterator[list[str] | None]:
        return self._follow((dag_id, run_id, logical_date, task_ids))

    async def _follow(self, key: tuple[str, str, datetime | None, tuple[str, ...]]) -> AsyncIterator[list[str] | None]:
        watch = self._watches.get(key)
        if watch is None:
            self._latest += 1
            watch = self._watches[key] = self._numbers[self._latest] = _Watch(self._latest, key)
            dag_id, run_id, date, task_ids = key
            self._send({
                "watch": watch.number, "dag_id": dag_id, "run_id": run_id,
                "logical_date": None if date is None else date.isoformat(), "task_ids": list(task_ids),
            })  # fmt: skip
        watch.users += 1
        try:
            while True:
                following: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                watch.changed.append(following)
                if watch.known:
                    yield watch.states
                await following
        finally:
            watch.users -= 1
            if not watch.users:
                self._send({"unwatch": watch.number})
                del self._watches[key], self._numbers[watch.number]


class Triggerer:
    """Runs triggers; `send` writes one message to the executor."""

    def __init__(self, send: Send, ledger: Ledger, output: Output) -> None:
        self._send = send
        self._ledger = ledger
        self._output = output
        self._resident = _Resident()
        self._running: dict[str, _Running] = {}
        self.watches = Watches(send)

    def make_task(
        self, loop: asyncio.AbstractEventLoop, inner: Any, *, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """The loop's task factory: whatever a trigger starts is of that trigger."""
        running = _current.get() if context is None else context.get(_current)
        if running is not None:
            inner = _Steps(inner, running.slot, self._ledger, self._resident)
        return asyncio.Task(inner, loop=loop, context=context)

    def handle(self, message: dict[str, Any]) -> None:
        if "told" in message:
            self.watches.told(message["told"], message["states"])
            return
        if "taken" in message:
            watching = self._running.get(message["taken"])
            if watching is not None:
                watching.ahead = max(0, watching.ahead - message["events"])
                watching.room.set()
            return
        identity = message.get("start") or message["stop"]
        before = self._running.pop(identity, None)
        if before is not None and before.task is not None:
            before.task.cancel()
        if "start" in message:
            ahead = message["more"].get("ahead", 0)
            running = self._running[identity] = _Running(identity, message["slot"], ahead=ahead)
            self._ledger.clear(running.slot)
            context = contextvars.copy_context()
            context.run(_current.set, running)
            run = self._run(running, message["class"], message["arguments"], message["more"])
            running.task = context.run(asyncio.get_running_loop().create_task, run)

    async def _run(self, running: _Running, path: str, arguments: str, more: dict[str, Any]) -> None:
        trigger: BaseTrigger | None = None
        identity = running.identity
        try:
            await _imported(path)
            trigger = load_trigger(path, arguments.encode())
            if more:
                await self._watch(running, trigger, more)
                return
            async for event in trigger.run():
                self._send({"fired": identity, "payload": _payload(event)})
                break
            else:
                raise RuntimeError("it ended without an event")
        except asyncio.CancelledError:
            if running is self._running.get(identity):  # nobody stopped it: it did that itself
                self._failed(running, path, RuntimeError("it cancelled itself"))
        except MemoryError:
            os._exit(OUT_OF_MEMORY_STATUS)  # whoever took the memory, it need not be this trigger
        except BaseException as error:  # noqa: BLE001 - one trigger's failure must not end the others
            self._failed(running, path, error)
        finally:
            if trigger is not None:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(trigger.cleanup(), _CLEANUP_SECONDS)
            self._output.finish(running)
            if self._running.get(identity) is running:
                del self._running[identity]

    async def _watch(self, running: _Running, trigger: BaseTrigger, more: dict[str, Any]) -> None:
        """Tells of each event, and waits when too many of them aren't counted yet."""
        if not isinstance(trigger, BaseEventTrigger):
            raise TypeError("a watcher's trigger must be a BaseEventTrigger")
        trigger.watching, trigger.cursor = True, more["cursor"]
        self._send({"begun": running.identity})
        async for event in trigger.run():
            told = {"seen": running.identity, "id": "", "cursor": "", "key": "", "payload": ""}
            if isinstance(event, Bookmark):
                told["cursor"] = event.cursor
            else:
                told["payload"] = _payload(event)
            if isinstance(event, WatchedEvent):
                told["id"], told["cursor"], told["key"] = event.event_id, event.cursor, event.partition_key
            await _not_ahead(running, more["most"] - 1)
            running.ahead += 1
            self._send(told)
            if trigger.waits_until_counted:
                await _not_ahead(running, 0)
        self._send({"over": running.identity})

    def _failed(self, running: _Running, path: str, error: BaseException) -> None:
        logging.getLogger("spinner.triggers").error("The trigger %s failed", path, exc_info=error)
        self._output.finish(running)
        text = str(error)
        if len(text) > 8192:
            text = text[:8192] + "…"
        self._send({"failed": running.identity, "error": f"The trigger {path} failed: {type(error).__name__}: {text}"})


async def _not_ahead(running: _Running, most: int) -> None:
    while running.ahead > most:
        running.room.clear()
        await running.room.wait()


def _payload(event: TriggerEvent) -> str:
    payload = encode_event(event)
    if len(payload) > MAX_EVENT_BYTES:
        raise ValueError(
            f"its event has {len(payload)} bytes, more than the limit of {MAX_EVENT_BYTES}; "
            "store it and pass its address"
        )
    return payload.decode()


async def _imported(path: str) -> None:
    """Imports a trigger's module beside the loop, which large libraries would stop for long."""
    module = path.rpartition(".")[0]
    if module and module not in sys.modules:
        with contextlib.suppress(ImportError, ValueError):  # load_trigger says it better
            await asyncio.to_thread(importlib.import_module, module)
