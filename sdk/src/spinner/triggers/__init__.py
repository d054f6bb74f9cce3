"""Triggers: what a deferred task waits for, as asyncio code in the executor's triggerer.

:func:`load_trigger` makes one from a deferral's class path and arguments; :func:`encode_event` makes the payload that
goes back into the order. Both are the only contract between this package and an executor.
"""

from spinner.triggers.base import (
    BaseEventTrigger,
    BaseTrigger,
    Bookmark,
    TriggerEvent,
    WatchedEvent,
    decode_event,
    encode_event,
    load_trigger,
    trigger_arguments,
)

__all__ = [
    "BaseEventTrigger",
    "BaseTrigger",
    "Bookmark",
    "TriggerEvent",
    "WatchedEvent",
    "decode_event",
    "encode_event",
    "load_trigger",
    "trigger_arguments",
]
