"""New objects in S3, by listing a prefix. Needs ``spinner[s3]``.

An object is new when it was modified after what the cursor says, and is not among those that the cursor names: writers
may take up to ``lateness`` from an object's time to its appearance. The cursor names at most ``_REMEMBERED`` objects,
so where more than that appear within ``lateness``, one that comes very late may be overlooked, and one that came before
a crash counted again; notifications through a queue (`spinner.triggers.sqs`) have no such limit. The id of an event is
key, ETag and time of the object.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from spinner.exceptions import SpinnerException
from spinner.triggers.base import BaseEventTrigger, Bookmark, TriggerEvent, WatchedEvent

_REMEMBERED = 1_000
# Events between two bookmarks.
_BATCH = 200


@dataclass(frozen=True, slots=True)
class _Object:
    modified: float
    key: str
    etag: str
    size: int

    @property
    def identity(self) -> str:
        return f"{self.key}@{self.etag}@{self.modified}"

    @property
    def hash(self) -> str:
        return blake2b(self.identity.encode(), digest_size=8).hexdigest()


class S3KeyTrigger(BaseEventTrigger):
    """Fires for each new object; of a task, as soon as an object is there.

    ``bucket_key``: a prefix, or a pattern such as ``in/*.csv`` with ``wildcard_match``. Looks each ``poke_interval``
    seconds, at most ``max_pages`` pages of 1,000 keys each time; the next look goes on from there.
    """

    def __init__(
        self,
        bucket_name: str,
        bucket_key: str = "",
        wildcard_match: bool = False,
        aws_conn_id: str | None = "aws_default",
        poke_interval: float = 10.0,
        max_pages: int = 10,
        lateness: float = 600.0,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.bucket_name = bucket_name
        self.bucket_key = bucket_key
        self.wildcard_match = wildcard_match
        self.aws_conn_id = aws_conn_id
        self.poke_interval = poke_interval
        self.max_pages = max_pages
        self.lateness = lateness
        self.client_options = dict(client_options or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.s3.S3KeyTrigger", {
            "bucket_name": self.bucket_name, "bucket_key": self.bucket_key, "wildcard_match": self.wildcard_match,
            "aws_conn_id": self.aws_conn_id, "poke_interval": self.poke_interval, "max_pages": self.max_pages,
            "lateness": self.lateness, "client_options": self.client_options,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent | Bookmark]:  # type: ignore[override]
        client = await asyncio.to_thread(aws_client, "s3", self.aws_conn_id, self.client_options)
        if not self.watching:
            while not (found := await self._found(client)):
                await asyncio.sleep(self.poke_interval)
            yield TriggerEvent({"status": "success", "bucket": self.bucket_name, "key": found.key})
            return
        place = f"{self.bucket_name}/{self.bucket_key}"
        kept = json.loads(self.cursor) if self.cursor else {}
        begun = kept.get("place") == place
        floor, seen = (kept["floor"], set(kept["seen"])) if begun else (0.0, set())
        cursor = self.cursor if begun else ""
        recent: dict[str, float] = dict.fromkeys(seen, floor)
        while True:
            latest, after = floor, ""
            while True:
                objects, after = await asyncio.to_thread(self._list, client, after)
                latest = max([latest, *(one.modified for one in objects)])
                new = sorted((o for o in objects if o.modified > floor and o.hash not in seen), key=_by_time)
                recent.update((one.hash, one.modified) for one in objects if one.modified > floor)
                if not begun:  # what is there already
                    recent = dict(_latest(recent))
                    new = []
                for number, one in enumerate(new, 1):
                    seen.add(one.hash)
                    yield self._event(one)
                    if number % _BATCH == 0:
                        yield Bookmark(_cursor(place, floor, recent, new[number:]))
                if not after:
                    break
                await asyncio.sleep(self.poke_interval)
            begun = True
            times = _latest(recent)
            oldest = times[0][1] if len(recent) > _REMEMBERED else 0.0
            floor = max(floor, latest - self.lateness, oldest)
            recent = {name: at for name, at in times if at > floor}
            seen = set(recent)
            moved = _cursor(place, floor, recent, [])
            if moved != cursor:
                cursor = moved
                yield Bookmark(cursor)
            await asyncio.sleep(self.poke_interval)

    async def _found(self, client: Any) -> _Object | None:
        after = ""
        while True:
            objects, after = await asyncio.to_thread(self._list, client, after)
            if objects or not after:
                return objects[0] if objects else None

    def _event(self, one: _Object) -> WatchedEvent:
        payload = {
            "bucket": self.bucket_name,
            "key": one.key,
            "etag": one.etag,
            "size": one.size,
            "last_modified": datetime.fromtimestamp(one.modified, UTC).isoformat(),
        }
        return WatchedEvent(payload, event_id=f"{self.bucket_name}/{one.identity}")

    def _list(self, client: Any, after: str) -> tuple[list[_Object], str]:
        """Some pages of objects that match, and after which key to go on, "" at the end. Blocks."""
        pattern = self.bucket_key
        prefix = pattern
        if self.wildcard_match:
            at = min((pattern.find(sign) for sign in "*?[" if sign in pattern), default=len(pattern))
            prefix = pattern[:at]
        found: list[_Object] = []
        for _ in range(self.max_pages):
            page = client.list_objects_v2(Bucket=self.bucket_name, Prefix=prefix, StartAfter=after)
            contents = page.get("Contents", ())
            for item in contents:
                if not self.wildcard_match or fnmatch.fnmatchcase(item["Key"], pattern):
                    etag = item["ETag"].strip('"')
                    found.append(_Object(item["LastModified"].timestamp(), item["Key"], etag, item["Size"]))
            if not page.get("IsTruncated") or not contents:
                return found, ""
            after = contents[-1]["Key"]
        return found, after


def _by_time(one: _Object) -> tuple[float, str]:
    return one.modified, one.key


def _latest(recent: Mapping[str, float]) -> list[tuple[str, float]]:
    """The latest of these objects, oldest first."""
    return sorted(recent.items(), key=lambda item: item[1])[-_REMEMBERED:]


def _cursor(place: str, floor: float, recent: Mapping[str, float], ahead: Sequence[_Object]) -> str:
    """The cursor when the events of these objects are still to come."""
    coming = {one.hash for one in ahead}
    names = sorted(name for name, _ in _latest(recent) if name not in coming)
    return json.dumps({"place": place, "floor": floor, "seen": names}, separators=(",", ":"))


def aws_client(service: str, conn_id: str | None, options: Mapping[str, Any]) -> Any:
    """A boto3 client: keys of the connection (login, password; extra: ``region_name``, ``endpoint_url``), else boto3's.

    ``options`` go first. Blocks. Raises SpinnerException.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise SpinnerException("The triggerer has no boto3. Install spinner[s3] there.") from None
    given: dict[str, Any] = {}
    if conn_id:
        from spinner.connections import Connection
        from spinner.runtime.current import current_api

        found: Connection | None = current_api().get_connection(conn_id)
        if found is None and conn_id != "aws_default":
            raise SpinnerException(f"Connection {conn_id!r} does not exist. Create it, or correct the id.")
        if found is not None:
            given = {
                name: found.extra_dejson[name] for name in ("region_name", "endpoint_url") if name in found.extra_dejson
            }
            if found.login and found.password:
                given.update(aws_access_key_id=found.login, aws_secret_access_key=found.password)
    given.update(options)
    config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 5, "mode": "standard"})
    make: Any = boto3.client
    return make(service, config=config, **given)
