"""Whether a conf fits the parameters that a DAG declares, and a decision what was asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from spinner.core.params import values_problem

from spinner_webgateway.domain.problems import invalid

_CODES = {"missing": "PARAM_MISSING", "invalid": "PARAM_INVALID"}
_FIELD_CODES = {"missing": "FIELD_MISSING", "invalid": "FIELD_INVALID", "unknown": "FIELD_UNKNOWN"}


def check_params(dag_id: str, params_json: str, conf: dict[str, Any]) -> None:
    """Raises the 400 problem that names the parameter. Keys of conf that are no parameters may be anything."""
    found = values_problem(orjson.loads(params_json) if params_json else {}, conf)
    if found is not None:
        raise invalid(_CODES[found.kind], f"Parameter {found.name!r} of DAG {dag_id!r}: {found.what}", found.fix)


def check_decision(asked: Mapping[str, Any], options: Sequence[str], values: Mapping[str, Any]) -> None:
    """Raises the 400 problem when an answer is none to what was asked (the shape `Decision`)."""
    name = f"Task {asked['task_id']!r} of run {asked['run_id']!r} of {asked['dag_id']!r}"
    offered = list(asked["options"])
    choices = f"Choose {'one or more' if asked['multiple'] else 'one'} of {', '.join(offered)}."
    unknown = next((option for option in options if option not in offered), None)
    if unknown is not None:
        raise invalid("OPTION_UNKNOWN", f"{name} has no option {unknown[:200]!r}.", choices)
    if offered and not options:
        raise invalid("OPTION_MISSING", f"No option of {name[0].lower()}{name[1:]} is chosen.", choices)
    if len(options) > 1 and not asked["multiple"]:
        raise invalid("OPTIONS_TOO_MANY", f"{name} takes one option, not {len(options)}.", choices)
    found = values_problem(asked["params"] or {}, values, whole=True)
    if found is not None:
        raise invalid(
            _FIELD_CODES[found.kind],
            f"Field {found.name!r} of the form of {name[0].lower()}{name[1:]}: {found.what}",
            found.fix,
        )
