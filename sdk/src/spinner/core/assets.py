"""Assets: what tasks produce and what DAGs wait for.

A task names the assets that it updates in ``outlets``; when it succeeds, each gets an event. A DAG whose schedule is
an asset, a list (all of them) or an expression (``a & (b | c)``) runs when enough of them were updated since its last
run. An alias stands for assets that a task names only when it runs (``outlet_events[alias].add(Asset(...))``).
A watcher makes events of an asset of what a trigger sees outside, such as messages and files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner_proto.definitions.v1.definitions_pb2 import AssetExpression

    from spinner.triggers.base import BaseEventTrigger

MAX_NAME = 1500
_WATCHER = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class BaseAsset:
    """What a schedule of assets is made of."""

    def __and__(self, other: BaseAsset) -> AssetAll:
        return AssetAll(*_flat(self, AssetAll), *_flat(_base(other), AssetAll))

    def __or__(self, other: BaseAsset) -> AssetAny:
        return AssetAny(*_flat(self, AssetAny), *_flat(_base(other), AssetAny))

    def leaves(self) -> Iterator[Asset | AssetAlias]:
        """The assets and aliases in the expression, in order."""
        raise NotImplementedError

    def to_expression(self) -> AssetExpression:
        """The message that the scheduler reads."""
        raise NotImplementedError


class AssetWatcher:
    """A trigger that runs all the time, once for the asset, and makes an event of the asset of each of its own."""

    def __init__(self, name: str, *, trigger: BaseEventTrigger) -> None:
        from spinner.triggers.base import BaseEventTrigger

        if not isinstance(name, str) or not _WATCHER.fullmatch(name):
            raise SpinnerDagError(
                f"{name!r} cannot be the name of a watcher.", "Use 1 to 200 of the characters A-Za-z0-9_.-"
            )
        if not isinstance(trigger, BaseEventTrigger):
            raise SpinnerDagError(
                f"Watcher {name!r} has the trigger {type(trigger).__name__}, which is made for tasks.",
                "Use a subclass of spinner.triggers.BaseEventTrigger, such as MessageQueueTrigger.",
            )
        self.name = name
        self.trigger = trigger

    def __repr__(self) -> str:
        return f"AssetWatcher({self.name!r})"


class Asset(BaseAsset):
    """A table, a file, a model … known by ``name``; without one, the ``uri`` is its name, and the other way round.

    ``freshness``: how long after an update it is fresh. One that is not, or was never updated, is shown as stale, and
    ``on_stale_callback`` is called with the context ``asset, reason, stale_time, last_update_time``, each time once.
    """

    def __init__(
        self,
        name: str | None = None,
        uri: str | None = None,
        *,
        group: str = "asset",
        extra: Mapping[str, Any] | None = None,
        freshness: timedelta | None = None,
        on_stale_callback: Callable[[dict[str, Any]], object] | None = None,
        watchers: Sequence[AssetWatcher] = (),
    ) -> None:
        self.name = _check(name or uri, "name")
        self.uri = _check(uri or name, "uri")
        self.group = group
        self.extra = dict(extra or {})
        self.freshness = freshness
        self.on_stale_callback = on_stale_callback
        self.watchers = list(watchers)
        if len({watcher.name for watcher in self.watchers}) < len(self.watchers):
            raise SpinnerDagError(f"Asset {self.name!r} has two watchers of one name.", "Give each its own.")
        if on_stale_callback is not None and freshness is None:
            raise SpinnerDagError(
                f"Asset {self.name!r} has an on_stale_callback, but is fresh for ever.", "Give it a freshness."
            )
        if freshness is not None and freshness <= timedelta():
            raise SpinnerDagError(
                f"Asset {self.name!r} has the freshness {freshness}.", "Give a positive timedelta, or none."
            )
        try:
            json.dumps(self.extra)
        except (TypeError, ValueError):
            raise SpinnerDagError(
                f"Asset {self.name!r} has an extra that is not JSON.", "Use strings, numbers, lists and dicts."
            ) from None

    def leaves(self) -> Iterator[Asset | AssetAlias]:
        yield self

    def to_expression(self) -> AssetExpression:
        from spinner_proto.definitions.v1.definitions_pb2 import AssetExpression

        return AssetExpression(asset=self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("asset", self.name))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Asset({self.name!r})"


Dataset = Asset


class AssetAlias(BaseAsset):
    """A name under which a task publishes events of assets that are known only when it runs."""

    def __init__(self, name: str, *, group: str = "asset") -> None:
        self.name = _check(name, "name")
        self.group = group

    def leaves(self) -> Iterator[Asset | AssetAlias]:
        yield self

    def to_expression(self) -> AssetExpression:
        from spinner_proto.definitions.v1.definitions_pb2 import AssetExpression

        return AssetExpression(alias=self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssetAlias) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("alias", self.name))

    def __repr__(self) -> str:
        return f"AssetAlias({self.name!r})"


DatasetAlias = AssetAlias


class _Several(BaseAsset):
    kind = ""

    def __init__(self, *items: BaseAsset) -> None:
        if not items:
            raise SpinnerDagError(f"{type(self).__name__}() has no assets.", "Pass at least one Asset.")
        self.items = [_base(item) for item in items]

    def leaves(self) -> Iterator[Asset | AssetAlias]:
        for item in self.items:
            yield from item.leaves()

    def to_expression(self) -> AssetExpression:
        from spinner_proto.definitions.v1.definitions_pb2 import AssetExpression

        message = AssetExpression()
        getattr(message, self.kind).items.extend(item.to_expression() for item in self.items)
        return message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.items))})"


class AssetAll(_Several):
    """All of them, each at least once."""

    kind = "all"


class AssetAny(_Several):
    """One of them."""

    kind = "any"


DatasetAll, DatasetAny = AssetAll, AssetAny


class Metadata:
    """What a task yields to describe an update: ``yield Metadata(asset, {"rows": 3})``, with an alias if need be."""

    def __init__(
        self,
        asset: Asset | str,
        extra: Mapping[str, Any] | None = None,
        alias: AssetAlias | str | None = None,
        *,
        partition_key: str = "",
    ) -> None:
        self.asset = Asset(asset) if isinstance(asset, str) else asset
        self.extra = dict(extra or {})
        self.alias = AssetAlias(alias) if isinstance(alias, str) else alias
        self.partition_key = partition_key


def asset_of(value: Any) -> Asset | AssetAlias:
    """What an entry of inlets or outlets means. Raises SpinnerDagError."""
    if isinstance(value, Asset | AssetAlias):
        return value
    if isinstance(value, str):
        return Asset(value)
    name, uri = getattr(value, "name", None), getattr(value, "uri", None)
    if isinstance(name, str) or isinstance(uri, str):
        return Asset(name if isinstance(name, str) else None, uri if isinstance(uri, str) else None)
    raise SpinnerDagError(f"{value!r} is no asset.", "Use Asset('name') or AssetAlias('name').")


def _base(value: Any) -> BaseAsset:
    if isinstance(value, BaseAsset):
        return value
    raise SpinnerDagError(f"{value!r} is no asset.", "Use Asset('name'), AssetAlias('name'), & and |.")


def _flat(value: BaseAsset, kind: type[_Several]) -> list[BaseAsset]:
    return value.items if isinstance(value, kind) else [value]


def _check(value: Any, what: str) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() and value == value.strip():
        return value
    raise SpinnerDagError(
        f"{value!r} cannot be the {what} of an asset.", f"Use 1 to {MAX_NAME} printable characters, such as s3://b/k."
    )
