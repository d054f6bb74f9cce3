"""XCom values as JSON with a small typed encoding.

JSON's own types stay themselves. Others become ``{"__type__": name, "value": …}``: datetime, date, time, timedelta,
Decimal, UUID, bytes (base64), tuple, set, frozenset, dicts with keys that are no strings, and numbers that JSON lacks.
A dict of the author's that has the key ``__type__`` is wrapped too, so that every value reads back as it was written.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta
from typing import Any

from spinner.exceptions import SpinnerException

TYPE = "__type__"
_DEEPEST = 200


class ValueNotSerializable(SpinnerException):
    """A value has a part that has no JSON form."""


def encode_json(value: Any, what: str) -> bytes:
    """UTF-8 JSON. Raises ValueNotSerializable naming the part of ``what`` that cannot be encoded."""
    encoded = _encode(value, what, "", 0)
    try:
        return json.dumps(encoded, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise ValueNotSerializable(f"{what} has text that is not Unicode: {error}") from error


def decode_json(data: bytes | str) -> Any:
    """The value again. Raises ValueError for what was not made by :func:`encode_json`."""
    return _decode(json.loads(data))


def _encode(value: Any, what: str, path: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if depth > _DEEPEST:
        raise ValueNotSerializable(f"{what}{path} is nested deeper than {_DEEPEST} levels, or contains itself.")
    if kind is float:
        return value if math.isfinite(value) else {TYPE: "float", "value": repr(value)}
    if isinstance(value, dict):
        items = {key: _encode(item, what, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
        if all(type(key) is str for key in items) and TYPE not in items:
            return items
        pairs = [[_encode(key, what, f"{path} (key)", depth + 1), item] for key, item in items.items()]
        return {TYPE: "dict", "value": pairs}
    if isinstance(value, list | tuple | set | frozenset):
        ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        items_list = [_encode(item, what, f"{path}[{index}]", depth + 1) for index, item in enumerate(ordered)]
        name = next(base.__name__ for base in (list, tuple, set, frozenset) if isinstance(value, base))
        return items_list if name == "list" else {TYPE: name, "value": items_list}
    if isinstance(value, str | int):
        return _encode(value.value if hasattr(value, "value") else _base(value), what, path, depth + 1)
    return _encode_object(value, what, path, depth)


def _base(value: Any) -> Any:
    return str.__str__(value) if isinstance(value, str) else int(value)


def _encode_object(value: Any, what: str, path: str, depth: int) -> Any:
    if isinstance(value, datetime):
        zone = getattr(value.tzinfo, "key", None)
        encoded = {TYPE: "datetime", "value": value.isoformat()}
        return {**encoded, "zone": zone} if isinstance(zone, str) else encoded
    if isinstance(value, date | time):
        return {TYPE: type(value).__name__, "value": value.isoformat()}
    if isinstance(value, timedelta):
        return {TYPE: "timedelta", "value": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, bytes | bytearray):
        import base64

        return {TYPE: "bytes", "value": base64.b64encode(value).decode()}
    name = type(value).__name__
    module = type(value).__module__
    if (module, name) in (("decimal", "Decimal"), ("uuid", "UUID")):
        return {TYPE: name, "value": str(value)}
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        fields = {field: getattr(value, field) for field in value.__dataclass_fields__}
        return _encode(fields, what, path, depth + 1)
    if hasattr(value, "item") and module == "numpy":
        return _encode(value.tolist() if getattr(value, "ndim", 0) else value.item(), what, path, depth + 1)
    if hasattr(value, "value") and hasattr(type(value), "__members__"):
        return _encode(value.value, what, path, depth + 1)
    raise ValueNotSerializable(
        f"{what}{path} is a {module}.{name}, which cannot be stored. Return JSON values (strings, numbers, lists, "
        "dicts), dates, decimals, sets, tuples or bytes; write larger things to a file or table and return its name."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(TYPE)
    if kind is None:
        return {key: _decode(item) for key, item in value.items()}
    return _decode_typed(str(kind), value["value"], value)


def _decode_typed(kind: str, content: Any, whole: dict[str, Any]) -> Any:
    if kind == "dict":
        return {_decode(key): _decode(item) for key, item in content}
    if kind in ("tuple", "set", "frozenset"):
        items = [_decode(item) for item in content]
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
    if kind == "datetime":
        moment = datetime.fromisoformat(content)
        if "zone" in whole:
            from zoneinfo import ZoneInfo

            return moment.astimezone(ZoneInfo(whole["zone"]))
        return moment
    if kind == "date":
        return date.fromisoformat(content)
    if kind == "time":
        return time.fromisoformat(content)
    if kind == "timedelta":
        return timedelta(*content)
    if kind == "float":
        return float(content)
    if kind == "bytes":
        import base64

        return base64.b64decode(content)
    if kind == "Decimal":
        from decimal import Decimal

        return Decimal(content)
    if kind == "UUID":
        from uuid import UUID

        return UUID(content)
    raise ValueError(f"A stored value has the unknown type {kind!r}. A newer Spinner wrote it: update the worker.")
