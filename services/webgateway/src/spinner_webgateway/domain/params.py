"""Whether a conf fits the parameters that a DAG declares. Pure."""

from __future__ import annotations

from typing import Any

import orjson
from spinner.core.params import schema_problem

from spinner_webgateway.domain.problems import invalid


def check_params(dag_id: str, params_json: str, conf: dict[str, Any]) -> None:
    """Raises the 400 problem that names the parameter. Keys of conf that are no parameters may be anything."""
    params: dict[str, Any] = orjson.loads(params_json) if params_json else {}
    for name, param in params.items():
        if name not in conf and param.get("required"):
            raise invalid(
                "PARAM_MISSING",
                f"Parameter {name!r} of DAG {dag_id!r} has no default and is not in conf.",
                f'Add it, for example {{"{name}": …}}; {_hint(param)}',
            )
        if name in conf:
            problem = schema_problem(conf[name], param.get("schema") or {})
            if problem:
                raise invalid("PARAM_INVALID", f"Parameter {name!r} of DAG {dag_id!r}: {problem}", _hint(param))


def _hint(param: dict[str, Any]) -> str:
    schema = param.get("schema") or {}
    facts = [f"{key} {orjson.dumps(value).decode()}" for key, value in schema.items()]
    described = (param.get("description") or "").rstrip(".")
    return f"{described + '. ' if described else ''}Its schema: {', '.join(facts) or 'anything'}."
