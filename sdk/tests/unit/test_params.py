"""Parameters are checked against their schema, and a problem says which, what and how to mend it (A1, B4)."""

from __future__ import annotations

from typing import Any

import pytest
from spinner.core.params import Param, ParamsDict, schema_problem, values_problem


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, [1, 9, 4.0], [0, 10, 1.5, True, "3", None]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5], [0, 1]),
        ({"type": "number", "multipleOf": 0.1}, [0.3, 2], [0.35]),
        ({"type": ["null", "string"], "minLength": 2, "maxLength": 3}, [None, "ab"], ["a", "abcd", 3]),
        ({"type": "string", "pattern": "^s3://"}, ["s3://b"], ["b"]),
        ({"type": "string", "format": "date"}, ["2026-02-28"], ["2026-02-30", "yesterday", "2026-02-28T00:00:00Z"]),
        ({"type": "string", "format": "date-time"}, ["2026-02-28T01:00:00+02:00"], ["2026-02-28"]),
        ({"type": "string", "format": "time"}, ["08:30:00"], ["25:00:00"]),
        ({"enum": ["a", 1]}, ["a", 1], ["b"]),
        ({"const": 3}, [3], [4]),
        ({"type": "boolean"}, [True], [1, "true"]),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
            [[1, 2]],
            [[], [1, 1], ["1"]],
        ),
        (
            {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
            [{"n": 1}],
            [{}, {"n": "1"}, {"n": 1, "m": 2}],
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, [1, None], ["x"]),
        ({"oneOf": [{"minimum": 0}, {"maximum": 10}]}, [-1, 11], [5]),
        ({"allOf": [{"minimum": 0}, {"maximum": 10}]}, [5], [11]),
        ({"not": {"enum": ["prod"]}}, ["test"], ["prod"]),
    ],
)
def test_keywords(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if schema_problem(value, schema)] == []
    assert [value for value in bad if not schema_problem(value, schema)] == []


def test_a_problem_names_the_parameter_what_is_wrong_and_how_to_mend_it() -> None:
    params = ParamsDict(
        {
            "day": Param(type="string", format="date", description="Which day", examples=["2026-01-31"]),
            "n": Param(3, minimum=1),
        }
    ).dump()
    missing = values_problem(params, {"n": 2})
    assert missing is not None and (missing.name, missing.kind) == ("day", "missing")
    assert '{"day": "2026-01-31"}' in missing.fix and "Which day" in missing.fix
    invalid = values_problem(params, {"day": "2026-01-31", "n": 0})
    assert invalid is not None and (invalid.name, invalid.kind, invalid.what) == ("n", "invalid", "0 is less than 1.")
    assert "minimum 1" in invalid.fix
    assert values_problem(params, {"day": "2026-01-31", "other": object()}) is None
    unknown = values_problem(params, {"day": "2026-01-31", "other": 1}, whole=True)
    assert unknown is not None and (unknown.name, unknown.kind) == ("other", "unknown")


def test_defaults_are_filled_in() -> None:
    params = ParamsDict({"n": Param(3, type="integer"), "plain": "x"})
    assert params.with_conf({"plain": "y", "other": 1}) == {"n": 3, "plain": "y"}
