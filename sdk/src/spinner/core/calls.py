"""Calling user functions: with the part of the context that they ask for, after checking what the author passes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from spinner.exceptions import SpinnerDagError

CONTEXT_NAMES = frozenset(
    """
    conf conn context dag dag_run data_interval_end data_interval_start ds ds_nodash execution_date expanded_ti_count
    exception inlet_events inlets logical_date macros map_index_template outlet_events outlets params
    partition_key prev_data_interval_end_success prev_data_interval_start_success prev_execution_date_success
    prev_logical_date_success reason run_id start_date task task_instance task_instance_key_str task_reschedule_count
    templates_dict test_mode ti tomorrow_ds tomorrow_ds_nodash triggering_asset_events try_number ts ts_nodash
    ts_nodash_with_tz var yesterday_ds yesterday_ds_nodash
    """.split()  # noqa: SIM905 - a table of words
)


_known_signature = functools.lru_cache(maxsize=1024)(inspect.signature)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """As inspect.signature; known from before where the function is hashable: each task asks for its function's."""
    try:
        return _known_signature(function)
    except TypeError:
        return inspect.signature(function)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return _signature(function).parameters
    except (TypeError, ValueError):
        return {
            "args": inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        }


def _positional_names(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in parameters.items() if parameter.kind in kinds]


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters."""
    return list(_parameters(function))


def check_arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises SpinnerDagError when a call with these arguments, completed by the context, cannot work."""
    try:
        signature = _signature(function)
    except (TypeError, ValueError):
        return
    given = dict(kwargs)
    positional = _positional_names(signature.parameters)[: len(args)]
    for name, parameter in signature.parameters.items():
        if (
            name in CONTEXT_NAMES
            and name not in given
            and name not in positional
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ):
            given[name] = None
    try:
        signature.bind(*args, **given)
    except TypeError as error:
        raise SpinnerDagError(
            f"The call of {getattr(function, '__name__', function)}() does not fit: {error}.",
            f"Its signature is {getattr(function, '__name__', 'function')}{signature}.",
        ) from error


def check_names(function: Callable[..., Any], names: Iterable[str]) -> None:
    """Raises SpinnerDagError when the function takes no such keyword."""
    parameters = _parameters(function)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = sorted(set(names) - set(parameters))
    if unknown:
        raise SpinnerDagError(
            f"{getattr(function, '__name__', function)}() has no parameter {', '.join(unknown)}.",
            f"It has: {', '.join(parameters) or 'none'}.",
        )


def bind_defaults(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, completed by defaults. Raises SpinnerDagError when one has neither."""
    check_arguments(function, args, kwargs)
    bound = _signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def call_with_context(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> Any:
    """Calls ``function(*args, **kwargs)`` and adds the entries of ``context`` that it has parameters for."""
    parameters = _parameters(function)
    given = dict(kwargs)
    taken = set(_positional_names(parameters)[: len(args)])
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name, value in context.items():
            if name not in taken:
                given.setdefault(name, value)
    else:
        for name, parameter in parameters.items():
            if (
                name in context
                and name not in taken
                and name not in given
                and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            ):
                given[name] = context[name]
    return function(*args, **given)
