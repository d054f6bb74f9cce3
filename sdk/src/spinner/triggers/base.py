"""The base of triggers and their encoding.

A trigger yields events. The first one ends a task's; an asset's watcher runs on. It must not block the loop.
``serialize`` gives the import path of the class and the arguments to make it again, in whatever process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from spinner.core.values import decode_json, encode_json
from spinner.exceptions import SpinnerException


class TriggerEvent:
    """Something happened; the payload is given to the resumed method as ``event``."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerEvent) and other.payload == self.payload

    def __hash__(self) -> int:
        return hash(repr(self.payload))

    def __repr__(self) -> str:
        return f"TriggerEvent<{self.payload!r}>"


class BaseTrigger:
    """Subclasses implement :meth:`serialize` and :meth:`run`."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Import path of the class, and its arguments."""
        raise NotImplementedError(f"{type(self).__name__} does not implement serialize().")

    def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields an event when it is time."""
        raise NotImplementedError(f"{type(self).__name__} does not implement run().")

    async def cleanup(self) -> None:
        """Called when the trigger ends, for whatever reason."""

    def __repr__(self) -> str:
        path, arguments = self.serialize()
        return f"<{path} {arguments}>"


class WatchedEvent(TriggerEvent):
    """An event of a watcher's trigger.

    ``event_id``: the same for the same event of the source, also after a restart; it is counted once. ``cursor``:
    where to go on after it. ``partition_key``: which partition of the asset it is about.
    """

    def __init__(self, payload: Any, *, event_id: str = "", cursor: str = "", partition_key: str = "") -> None:
        super().__init__(payload)
        self.event_id, self.cursor, self.partition_key = event_id, cursor, partition_key


class Bookmark:
    """What a watcher's trigger yields to keep its place without an event."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor


class BaseEventTrigger(BaseTrigger):
    """A trigger that may watch an asset: its events are worth something without a task that waits.

    As a watcher's, ``watching`` is set, and ``cursor`` is the one that it yielded last, "" the first time. After a
    crash it begins at an earlier one and yields the same events again.
    """

    watching = False
    cursor = ""
    # Whether it gets the loop back after an event only when the event is counted, so that it may forget it.
    waits_until_counted = False

    def needs_bundle(self) -> bool:
        """Whether it imports code of the DAG's bundle."""
        return not self.serialize()[0].startswith("spinner.triggers.")


def trigger_arguments(trigger: BaseTrigger) -> tuple[str, bytes]:
    """A trigger as class path and JSON. Raises SpinnerException when its arguments are not JSON."""
    path, arguments = trigger.serialize()
    return path, encode_json(arguments, f"The arguments of trigger {path}")


def load_trigger(path: str, arguments_json: bytes) -> BaseTrigger:
    """The trigger again. Raises SpinnerException when the class cannot be imported."""
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        trigger_class = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpinnerException(f"The trigger class {path!r} cannot be imported: {error}") from error
    trigger: BaseTrigger = trigger_class(**(decode_json(arguments_json) if arguments_json else {}))
    return trigger


def encode_event(event: TriggerEvent) -> bytes:
    """The payload as JSON. Raises SpinnerException when it is not JSON."""
    return encode_json(event.payload, "The payload of a trigger event")


def decode_event(payload_json: bytes) -> Any:
    """The payload again; None for no bytes."""
    return decode_json(payload_json) if payload_json else None
