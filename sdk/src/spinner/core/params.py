"""Parameters of a DAG or task: a default, and a JSON schema of the common keywords.

The keywords checked are type, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength,
pattern, minItems, maxItems, items; others (title, examples, format …) are kept for the form and not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from spinner.exceptions import ParamValidationError, SpinnerDagError

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list, tuple), "object": (dict,), "null": (type(None),),
}  # fmt: skip


class _NotSet:
    def __repr__(self) -> str:
        return "NOTSET"


NOTSET = _NotSet()


class Param:
    """A parameter. Without a default it must be given with each run."""

    def __init__(self, default: Any = NOTSET, description: str | None = None, **schema: Any) -> None:
        self.value = default
        self.description = description
        self.schema: dict[str, Any] = dict(schema.pop("schema", {}) or {}, **schema)
        if default is not NOTSET:
            try:
                json.dumps(default)
            except (TypeError, ValueError):
                raise ParamValidationError(
                    f"The default {default!r} of a Param is not JSON. Use strings, numbers, lists and dicts."
                ) from None

    @property
    def has_value(self) -> bool:
        """Whether there is a default."""
        return self.value is not NOTSET

    def resolve(self, value: Any = NOTSET, name: str = "value") -> Any:
        """``value``, or the default, checked. Raises ParamValidationError."""
        result = self.value if value is NOTSET else value
        if result is NOTSET:
            raise ParamValidationError(f"Parameter {name!r} has no value. Give it in the run's conf.")
        problem = schema_problem(result, self.schema)
        if problem:
            raise ParamValidationError(f"Parameter {name!r}: {problem}")
        return result

    def dump(self) -> dict[str, Any]:
        """As JSON-able facts."""
        return {
            "value": None if self.value is NOTSET else self.value,
            "required": self.value is NOTSET,
            "description": self.description,
            "schema": self.schema,
        }


def schema_problem(value: Any, schema: Mapping[str, Any]) -> str:
    """Why ``value`` does not fit ``schema``; empty when it does."""
    types = schema.get("type")
    if types is not None:
        names = [types] if isinstance(types, str) else list(types)
        fits = any(
            isinstance(value, _TYPES.get(name, (object,))) and (name == "boolean" or not isinstance(value, bool))
            for name in names
        )
        if not fits:
            return f"{value!r} is not of type {' or '.join(names)}."
        if value is None:
            return ""
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is not one of {list(schema['enum'])!r}."
    if "const" in schema and value != schema["const"]:
        return f"{value!r} is not {schema['const']!r}."
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            return f"{value!r} is less than {schema['minimum']!r}."
        if "maximum" in schema and value > schema["maximum"]:
            return f"{value!r} is greater than {schema['maximum']!r}."
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            return f"{value!r} is not greater than {schema['exclusiveMinimum']!r}."
        if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
            return f"{value!r} is not less than {schema['exclusiveMaximum']!r}."
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            return f"{value!r} is shorter than {schema['minLength']} characters."
        if len(value) > schema.get("maxLength", len(value)):
            return f"{value!r} is longer than {schema['maxLength']} characters."
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{value!r} does not match the pattern {schema['pattern']!r}."
    if isinstance(value, list | tuple):
        if len(value) < schema.get("minItems", 0):
            return f"{value!r} has fewer than {schema['minItems']} items."
        if len(value) > schema.get("maxItems", len(value)):
            return f"{value!r} has more than {schema['maxItems']} items."
        for item in value:
            problem = schema_problem(item, schema.get("items") or {})
            if problem:
                return problem
    return ""


class ParamsDict(MutableMapping[str, Any]):
    """Parameters by name; reading gives the checked value."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self._params: dict[str, Param] = {}
        for name, value in (params or {}).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Param):
            self._params[name] = value
        elif name in self._params:
            old = self._params[name]
            old.resolve(value, name)
            self._params[name] = Param(value, old.description, **old.schema)
        else:
            self._params[name] = Param(value)

    def __getitem__(self, name: str) -> Any:
        return self._params[name].resolve(name=name)

    def __delitem__(self, name: str) -> None:
        del self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def get_param(self, name: str) -> Param:
        """The parameter itself. Raises KeyError."""
        return self._params[name]

    def dump(self) -> dict[str, Any]:
        """All as JSON-able facts."""
        return {name: param.dump() for name, param in self._params.items()}

    def with_conf(self, conf: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a run: defaults, overridden by the run's conf. Raises ParamValidationError."""
        return {name: param.resolve(conf.get(name, NOTSET), name) for name, param in self._params.items()}

    def check_defaults(self, where: str) -> None:
        """Raises SpinnerDagError when a default does not fit its schema."""
        for name, param in self._params.items():
            if param.has_value:
                problem = schema_problem(param.value, param.schema)
                if problem:
                    raise SpinnerDagError(
                        f"Parameter {name!r} of {where} has a default that does not fit its schema: {problem}",
                        "Change the default or the schema.",
                    )
