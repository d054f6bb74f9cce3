"""Parameters of a DAG or task: a default, and a JSON schema of the common keywords.

The keywords checked are type, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength,
maxLength, pattern, format (date, date-time, time), minItems, maxItems, uniqueItems, items, properties, required,
additionalProperties (a boolean), anyOf, oneOf, allOf, not; others (title, examples …) are kept for the form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from spinner.exceptions import ParamValidationError, SpinnerDagError

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list, tuple), "object": (dict,), "null": (type(None),),
}  # fmt: skip


def _date_time(text: str) -> datetime:
    if len(text) <= len("2026-01-31"):
        raise ValueError(text)
    return datetime.fromisoformat(text)


_FORMATS: dict[str, tuple[Callable[[str], Any] | None, str]] = {
    "date": (date.fromisoformat, "2026-01-31"),
    "date-time": (_date_time, "2026-01-31T08:00:00+00:00"),
    "time": (time.fromisoformat, "08:00:00"),
}


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
        if not any(_is_of(value, name) for name in names):
            return f"{value!r} is not of type {' or '.join(names)}."
        if value is None:
            return ""
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is not one of {list(schema['enum'])!r}."
    if "const" in schema and value != schema["const"]:
        return f"{value!r} is not {schema['const']!r}."
    problem = ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        problem = _number_problem(value, schema)
    elif isinstance(value, str):
        problem = _text_problem(value, schema)
    elif isinstance(value, list | tuple):
        problem = _list_problem(value, schema)
    elif isinstance(value, Mapping):
        problem = _object_problem(value, schema)
    return problem or _combined_problem(value, schema)


def _is_of(value: Any, name: str) -> bool:
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, (object,))) and (name == "boolean" or not isinstance(value, bool))


def _number_problem(value: float, schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and value < schema["minimum"]:
        return f"{value!r} is less than {schema['minimum']!r}."
    if "maximum" in schema and value > schema["maximum"]:
        return f"{value!r} is greater than {schema['maximum']!r}."
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        return f"{value!r} is not greater than {schema['exclusiveMinimum']!r}."
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        return f"{value!r} is not less than {schema['exclusiveMaximum']!r}."
    step = schema.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        return f"{value!r} is not a multiple of {step!r}."
    return ""


def _text_problem(value: str, schema: Mapping[str, Any]) -> str:
    if len(value) < schema.get("minLength", 0):
        return f"{value!r} is shorter than {schema['minLength']} characters."
    if len(value) > schema.get("maxLength", len(value)):
        return f"{value!r} is longer than {schema['maxLength']} characters."
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{value!r} does not match the pattern {schema['pattern']!r}."
    reader, example = _FORMATS.get(schema.get("format", ""), (None, ""))
    if reader is not None:
        try:
            reader(value)
        except ValueError:
            return f"{value!r} is no {schema['format']} such as {example!r}."
    return ""


def _list_problem(value: Sequence[Any], schema: Mapping[str, Any]) -> str:
    if len(value) < schema.get("minItems", 0):
        return f"{value!r} has fewer than {schema['minItems']} items."
    if len(value) > schema.get("maxItems", len(value)):
        return f"{value!r} has more than {schema['maxItems']} items."
    if schema.get("uniqueItems") and any(item in value[:place] for place, item in enumerate(value)):
        return f"{value!r} has an item twice."
    for item in value:
        problem = schema_problem(item, schema.get("items") or {})
        if problem:
            return problem
    return ""


def _object_problem(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name not in value:
            return f"its key {name!r} is missing."
    for name, item in value.items():
        if name in properties:
            problem = schema_problem(item, properties[name])
            if problem:
                return f"its key {name!r}: {problem}"
        elif schema.get("additionalProperties") is False:
            return f"its key {name!r} is unknown: it may have {', '.join(properties) or 'none'}."
    return ""


def _combined_problem(value: Any, schema: Mapping[str, Any]) -> str:
    for part in schema.get("allOf") or ():
        problem = schema_problem(value, part)
        if problem:
            return problem
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword)
        if parts:
            problems = [schema_problem(value, part) for part in parts]
            fitting = problems.count("")
            if not fitting:
                return f"{value!r} fits none of {len(parts)} alternatives: {problems[0]}"
            if keyword == "oneOf" and fitting > 1:
                return f"{value!r} fits {fitting} of the alternatives, but must fit one."
    if "not" in schema and not schema_problem(value, schema["not"]):
        return f"{value!r} is what it must not be: {json.dumps(schema['not'])}."
    return ""


@dataclass(frozen=True, slots=True)
class ValueProblem:
    """What is wrong with a value of a form, in sentences. ``kind``: "missing", "invalid" or "unknown"."""

    name: str
    kind: str
    what: str
    fix: str


def values_problem(params: Mapping[str, Any], values: Mapping[str, Any], whole: bool = False) -> ValueProblem | None:
    """The first value that does not fit the parameters as `ParamsDict.dump` tells them; None when all fit.

    A parameter without a default must be there. ``whole``: a name that is no parameter is a problem, too.
    """
    for name, raw in params.items():
        param = raw if isinstance(raw, Mapping) else {"value": raw}
        if name not in values:
            if param.get("required"):
                example = (param.get("schema") or {}).get("examples") or ["…"]
                fix = f"Give it, for example {json.dumps({name: example[0]}, ensure_ascii=False)}. {_hint(param)}"
                return ValueProblem(name, "missing", "it has no default and no value.", fix)
            continue
        problem = schema_problem(values[name], param.get("schema") or {})
        if problem:
            return ValueProblem(name, "invalid", problem, _hint(param))
    unknown = next((name for name in values if name not in params), None) if whole else None
    if unknown is not None:
        return ValueProblem(
            unknown, "unknown", "there is no such field.", f"Choose from {', '.join(params) or 'none'}."
        )
    return None


def _hint(param: Mapping[str, Any]) -> str:
    facts = [f"{key} {json.dumps(value)}" for key, value in (param.get("schema") or {}).items()]
    described = (param.get("description") or "").rstrip(".")
    return f"{described + '. ' if described else ''}Its schema: {', '.join(facts) or 'anything'}."


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
