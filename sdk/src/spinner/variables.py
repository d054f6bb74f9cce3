"""Variables: named texts that tasks share."""

from __future__ import annotations

import json
from typing import Any

from spinner.core.xcom_arg import MISSING
from spinner.exceptions import SpinnerException


class Variable:
    """Reads and writes variables from a running task."""

    @classmethod
    def get(
        cls, key: str, default_var: Any = MISSING, deserialize_json: bool = False, *, default: Any = MISSING
    ) -> Any:
        """The value, or the default. Raises KeyError when there is neither; RuntimeUnavailable outside of a task."""
        from spinner.runtime.current import current_api

        value = current_api().get_variable(key)
        if value is None:
            fallback = default if default is not MISSING else default_var
            if fallback is MISSING:
                raise KeyError(f"Variable {key} does not exist. Create it, or give a default.")
            return fallback
        if not deserialize_json:
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise SpinnerException(f"Variable {key} is not JSON: {error}") from error

    @classmethod
    def set(cls, key: str, value: Any, description: str | None = None, serialize_json: bool = False) -> None:
        """Writes a variable."""
        from spinner.runtime.current import current_api

        current_api().set_variable(key, json.dumps(value) if serialize_json else str(value))

    @classmethod
    def delete(cls, key: str) -> None:
        """Deletes a variable."""
        from spinner.runtime.current import current_api

        current_api().set_variable(key, None)


class VariableAccessor:
    """``var.value.NAME`` and ``var.json.NAME.field`` in templates; ``.get(name, default)`` too."""

    def __init__(self, deserialize_json: bool) -> None:
        self._json = deserialize_json

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Variable.get(name, deserialize_json=self._json)

    def __getitem__(self, name: str) -> Any:
        return Variable.get(name, deserialize_json=self._json)

    def get(self, name: str, default_var: Any = None) -> Any:
        """The value, or the default."""
        return Variable.get(name, default_var, deserialize_json=self._json)


class VariableContext:
    """``var`` in templates."""

    value = VariableAccessor(False)
    json = VariableAccessor(True)
