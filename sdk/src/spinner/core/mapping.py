"""Dynamic mapping: one task of the file becomes as many instances as its input is long.

``expand(a=…, b=…)`` is the product, the last argument varying fastest; ``expand_kwargs(list)`` takes the arguments of
each instance from one element. Lengths are expressions (:data:`spinner.core.xcom_arg.Length`), so that the scheduler
can expand without seeing a value; the worker computes the arguments of its own map index only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spinner.core.xcom_arg import Length, ValueSource, XComArg, elements, find_args, resolve_args
from spinner.exceptions import SkipTask, SpinnerDagError, SpinnerException, XComNotFound

if TYPE_CHECKING:
    from spinner.core.group import TaskGroup
    from spinner.core.operator import BaseOperator


class ExpandInput:
    """What a task or group is expanded over."""

    def length(self) -> Length:
        """Number of instances as an expression."""
        raise NotImplementedError

    def operators(self) -> Iterator[BaseOperator]:
        """Tasks whose values decide the expansion."""
        raise NotImplementedError

    def resolve(self, source: ValueSource, map_index: int) -> dict[str, Any]:
        """Arguments of one instance. Raises XComNotFound, SkipTask."""
        raise NotImplementedError

    def resolved_ids(self, arguments: Mapping[str, Any]) -> frozenset[int]:
        """Ids of those of the resolved ``arguments`` that came from XComs; they are not rendered again."""
        raise NotImplementedError


def _length(value: Any, what: str) -> Length:
    if isinstance(value, XComArg):
        return value.length()
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        return ("literal", len(value))
    raise SpinnerDagError(
        f"{what} got {value!r}, which has no length.", "Pass a list, a dict, or what another task returns."
    )


def _count(value: Any, source: ValueSource) -> int:
    return value.count(source) if isinstance(value, XComArg) else len(value)


def _item(value: Any, source: ValueSource, index: int) -> Any:
    try:
        if isinstance(value, XComArg):
            return value.resolve_item(source, index)
        return resolve_args(elements(value)[index], source)
    except XComNotFound as error:
        raise SkipTask(f"The upstream instance {index} returned nothing: {error}") from error


class ProductInput(ExpandInput):
    """``expand(**values)``."""

    def __init__(self, values: Mapping[str, Any], what: str) -> None:
        if not values:
            raise SpinnerDagError(f"{what}.expand() got no argument.", "Name at least one argument to expand over.")
        self.values = dict(values)
        self._lengths = {name: _length(value, f"{what}.expand({name}=…)") for name, value in values.items()}

    def length(self) -> Length:
        lengths = list(self._lengths.values())
        return lengths[0] if len(lengths) == 1 else ("product", lengths)

    def operators(self) -> Iterator[BaseOperator]:
        for arg in find_args(self.values):
            yield from arg.operators()

    def resolved_ids(self, arguments: Mapping[str, Any]) -> frozenset[int]:
        return frozenset(id(arguments[name]) for name, value in self.values.items() if isinstance(value, XComArg))

    def resolve(self, source: ValueSource, map_index: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        rest = map_index
        for name in reversed(self.values):
            value = self.values[name]
            if len(self.values) == 1:
                index = rest
            else:
                count = _count(value, source)
                if count == 0:
                    raise SpinnerException(f"Argument {name!r} of the expansion is empty.")
                rest, index = divmod(rest, count)
            found[name] = _item(value, source, index)
        return {name: found[name] for name in self.values}


class KwargsInput(ExpandInput):
    """``expand_kwargs(list of dicts)``."""

    def __init__(self, value: Any, what: str) -> None:
        self.value = value
        self._length = _length(value, f"{what}.expand_kwargs()")
        if not isinstance(value, XComArg):
            for item in value:
                if not isinstance(item, Mapping | XComArg):
                    raise SpinnerDagError(
                        f"{what}.expand_kwargs() got the element {item!r}.", "Each element must be a dict of arguments."
                    )

    def length(self) -> Length:
        return self._length

    def operators(self) -> Iterator[BaseOperator]:
        for arg in find_args(self.value):
            yield from arg.operators()

    def resolved_ids(self, arguments: Mapping[str, Any]) -> frozenset[int]:
        return frozenset(map(id, arguments.values())) if isinstance(self.value, XComArg) else frozenset()

    def resolve(self, source: ValueSource, map_index: int) -> dict[str, Any]:
        item = _item(self.value, source, map_index)
        if not isinstance(item, Mapping):
            raise SpinnerException(
                f"expand_kwargs() got {item!r} as element {map_index}. Each element must be a dict of arguments."
            )
        return dict(item)


class GroupArgument(XComArg):
    """A parameter of a mapped task group, as its tasks see it: the value of their own map index."""

    def __init__(self, group: TaskGroup, name: str) -> None:
        self.group = group
        self.name = name

    def __str__(self) -> str:
        return f"{{{{ expanded argument {self.name} of group {self.group.group_id} }}}}"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        if self.group.expand_input is not None:
            yield from self.group.expand_input.operators()

    def resolve(self, source: ValueSource) -> Any:
        expand_input = self.group.expand_input
        if expand_input is None:
            raise SpinnerException(f"Task group {self.group.group_id!r} is not expanded.")
        return expand_input.resolve(source, source.map_index)[self.name]

    def length(self) -> Length:
        raise SpinnerDagError(
            f"A task in the mapped group {self.group.group_id!r} cannot be expanded again.",
            "Expand either the group or the task.",
        )

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        return elements(self.resolve(source))[index]

    def count(self, source: ValueSource) -> int:
        return len(self.resolve(source))


class DagParam(XComArg):
    """A parameter of the run, from the arguments of a ``@dag`` function."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return "{{ params." + self.name + " }}"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        return iter(())

    def resolve(self, source: ValueSource) -> Any:
        return source.param(self.name)

    def length(self) -> Length:
        raise SpinnerDagError(
            f"A task cannot be expanded over the DAG's parameter {self.name!r}.",
            "Return it from a task, and expand over that task.",
        )

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        return elements(self.resolve(source))[index]

    def count(self, source: ValueSource) -> int:
        return len(self.resolve(source))
