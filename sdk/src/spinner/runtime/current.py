"""The try that this process runs: its executor and its context, for code that is not handed them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinner.exceptions import RuntimeUnavailable

if TYPE_CHECKING:
    from spinner.runtime.api import RuntimeApi

_api: RuntimeApi | None = None
_context: dict[str, Any] | None = None
# Whether code asked for a running task where there was none.
was_missed = False


def set_current(api: RuntimeApi | None, context: dict[str, Any] | None = None) -> None:
    """Makes them current."""
    global _api, _context
    _api, _context = api, context


def current_api() -> RuntimeApi:
    """The executor's interface. Raises RuntimeUnavailable outside of a running task."""
    global was_missed
    if _api is None:
        was_missed = True
        raise RuntimeUnavailable(
            "There is no running task here: variables, connections and other runs can only be read while a task runs. "
            "Move the call from the top level of the file into a task, or use a template such as {{ var.value.x }}."
        )
    return _api


def current_context() -> dict[str, Any]:
    """The template context. Raises RuntimeUnavailable outside of a running task."""
    if _context is None:
        raise RuntimeUnavailable("There is no running task here. Call it inside a task.")
    return _context
