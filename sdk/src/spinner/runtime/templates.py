"""Rendering of template fields with Jinja2, as Airflow does it.

Strings are templates, or the names of template files when they end with one of ``template_ext``; lists, tuples, sets
and dicts are rendered inside. References are replaced by their values, which are not rendered again. Jinja2 is loaded
when the first string looks like a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinner.core.xcom_arg import ValueSource, XComArg
from spinner.exceptions import SpinnerException

if TYPE_CHECKING:
    from jinja2 import Environment

    from spinner.core.dag import DAG
    from spinner.core.operator import BaseOperator

_MARKS = ("{{", "{%", "{#")


class LiteralValue:
    """A value that is not rendered."""

    def __init__(self, value: Any) -> None:
        self.value = value


def literal(value: Any) -> LiteralValue:
    """Wraps a value so that it is not rendered."""
    return LiteralValue(value)


class Renderer:
    """Renders for one try."""

    def __init__(self, dag: DAG, context: Mapping[str, Any], source: ValueSource) -> None:
        self._dag = dag
        self._context = context
        self._source = source
        self._environment: Environment | None = None

    def render_fields(self, task: BaseOperator) -> dict[str, Any]:
        """Renders the template fields of ``task`` in place; returns them.

        Raises SpinnerException naming the field, and what resolving a reference raises.
        """
        skip: frozenset[int] = getattr(task, "resolved_value_ids", frozenset())
        rendered: dict[str, Any] = {}
        for name in task.template_fields:
            if not hasattr(task, name):
                raise SpinnerException(f"Template field {name!r} of {task.task_type} is no attribute of it.")
            value = self.render(getattr(task, name), tuple(task.template_ext), skip, f"{task.task_id}.{name}")
            setattr(task, name, value)
            rendered[name] = value
        return rendered

    def render(self, value: Any, extensions: tuple[str, ...] = (), skip: frozenset[int] = frozenset(),
               where: str = "a template") -> Any:  # fmt: skip
        """The value, rendered."""
        if id(value) in skip:
            return value
        if isinstance(value, str):
            return self._text(value, extensions, where)
        if isinstance(value, XComArg):
            return value.resolve(self._source)
        if isinstance(value, LiteralValue):
            return value.value
        if isinstance(value, dict):
            return {key: self.render(item, extensions, skip, where) for key, item in value.items()}
        if isinstance(value, list | set | frozenset):
            return type(value)(self.render(item, extensions, skip, where) for item in value)
        if isinstance(value, tuple):
            items = [self.render(item, extensions, skip, where) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        return value

    def _text(self, text: str, extensions: tuple[str, ...], where: str) -> Any:
        is_file = bool(extensions) and text.endswith(extensions) and "\n" not in text
        if not is_file and not any(mark in text for mark in _MARKS):
            return text
        from jinja2 import TemplateError, TemplateNotFound

        environment = self.environment()
        try:
            template = environment.get_template(text) if is_file else environment.from_string(text)
            return template.render(self._context)
        except TemplateNotFound as error:
            raise SpinnerException(
                f"The template file {error.name!r} of {where} was not found. It is looked for in "
                f"{', '.join(self._folders())}; add its folder to template_searchpath."
            ) from error
        except TemplateError as error:
            raise SpinnerException(f"The template of {where} cannot be rendered: {error}") from error

    def _folders(self) -> list[str]:
        here = self._dag.folder
        return [str(here), *(str(here / Path(folder)) for folder in self._dag.template_searchpath)]

    def environment(self) -> Environment:
        """The DAG's environment, made once."""
        if self._environment is None:
            self._environment = make_environment(self._dag, self._folders())
        return self._environment


def make_environment(dag: DAG, folders: list[str]) -> Environment:
    """Jinja's environment with the DAG's macros, filters and settings; native types when the DAG says so."""
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    options: dict[str, Any] = {
        "loader": jinja2.FileSystemLoader(folders),
        "undefined": dag.template_undefined or jinja2.StrictUndefined,
        "extensions": ["jinja2.ext.do"],
        "cache_size": 0,
        **dag.jinja_environment_kwargs,
    }
    environment: Environment
    if dag.render_template_as_native_obj:
        from jinja2.nativetypes import NativeEnvironment

        environment = NativeEnvironment(**options)
    else:
        environment = SandboxedEnvironment(**options)
    environment.filters.update(_FILTERS)
    environment.globals.update(dag.user_defined_macros)
    environment.filters.update(dag.user_defined_filters)
    return environment


def _format(pattern: str) -> Any:
    return lambda value: None if value is None else value.strftime(pattern)


_FILTERS = {
    "ds": _format("%Y-%m-%d"),
    "ds_nodash": _format("%Y%m%d"),
    "ts": lambda value: None if value is None else value.isoformat(),
    "ts_nodash": _format("%Y%m%dT%H%M%S"),
    "ts_nodash_with_tz": lambda value: None if value is None else value.isoformat().replace("-", "").replace(":", ""),
}


def warm_up() -> None:
    """Compiles one template, so that a forked worker finds Jinja's lexer ready."""
    from jinja2.sandbox import SandboxedEnvironment

    SandboxedEnvironment(extensions=["jinja2.ext.do"]).from_string("{{ ds }}").render(ds="")
