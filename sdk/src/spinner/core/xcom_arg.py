"""References to values that tasks will have returned, before any of them has run.

A reference in an operator's argument is an edge: the task that reads runs after the task that is read. In the worker
``resolve`` fetches the value through a :class:`ValueSource`. For dynamic mapping a reference also knows its length as
an expression over the lengths of return values (``length``), which the scheduler evaluates without any value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from spinner.core.edges import DependencyMixin
from spinner.exceptions import SkipTask, SpinnerDagError, XComNotFound

if TYPE_CHECKING:
    from spinner.core.operator import BaseOperator

RETURN_KEY = "return_value"

# ("literal", n) | ("task", operator) | ("product" | "zip_shortest" | "zip_longest" | "concat", [length, …])
Length = tuple[str, Any]


class ValueSource(Protocol):
    """Where a worker reads XComs from."""

    @property
    def map_index(self) -> int:
        """Map index of the running task, -1 when it is not mapped."""

    def pull(self, operator: BaseOperator, key: str) -> Any:
        """The value as the running task sees it: one value, or the list of all instances of a mapped task.

        Raises XComNotFound.
        """

    def pull_item(self, operator: BaseOperator, index: int) -> Any:
        """Element ``index`` of what ``operator`` returned; of a mapped operator, instance ``index``'s value.

        Raises XComNotFound.
        """

    def param(self, name: str) -> Any:
        """A parameter of the run. Raises KeyError."""

    def count(self, operator: BaseOperator) -> int:
        """Length of what ``operator`` returned; of a mapped operator, the number of instances."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class XComArg(DependencyMixin):
    """The base of all references; ``XComArg(operator, key)`` makes a plain one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> XComArg:
        return object.__new__(PlainXComArg if cls is XComArg else cls)

    def operators(self) -> Iterator[BaseOperator]:
        """The tasks that this reads, with repetitions."""
        raise NotImplementedError

    def resolve(self, source: ValueSource) -> Any:
        """The value. Raises XComNotFound."""
        raise NotImplementedError

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        """Element ``index`` of the value. Raises XComNotFound; SkipTask when a map function asks for it."""
        raise NotImplementedError

    def count(self, source: ValueSource) -> int:
        """Length of the value."""
        raise NotImplementedError

    def length(self) -> Length:
        """The length as an expression."""
        raise NotImplementedError

    def roots(self) -> Sequence[BaseOperator]:
        return list(self.operators())

    def leaves(self) -> Sequence[BaseOperator]:
        return list(self.operators())

    def map(self, function: Callable[[Any], Any]) -> XComArg:
        """The same with ``function`` applied to each element in the worker; it may raise SkipTask for one."""
        return MapXComArg(self, function)

    def zip(self, *others: XComArg, fillvalue: Any = MISSING) -> XComArg:
        """Tuples of the elements side by side; as long as the shortest, or as the longest with a fillvalue."""
        return ZipXComArg((self, *others), fillvalue)

    def concat(self, *others: XComArg) -> XComArg:
        """All elements of this, then those of the others."""
        return ConcatXComArg((self, *others))

    @property
    def operator(self) -> BaseOperator:
        """The first task that this reads."""
        return next(self.operators())

    def as_setup(self) -> XComArg:
        """Marks the task as a setup."""
        for operator in self.operators():
            operator.as_setup()
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> XComArg:
        """Marks the task as the teardown of ``setups``."""
        for operator in self.operators():
            operator.as_teardown(setups=setups, on_failure_fail_dagrun=on_failure_fail_dagrun)
        return self

    def __enter__(self) -> XComArg:
        self.operator.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.operator.__exit__(*exc)

    def __iter__(self) -> Iterator[Any]:
        raise SpinnerDagError(
            f"{self} cannot be iterated while the DAG file is read: its value does not exist yet.",
            "Use .expand(...) to make one task for each element.",
        )

    def __bool__(self) -> bool:
        return True


class PlainXComArg(XComArg):
    """What one task pushed under one key."""

    def __init__(self, operator: BaseOperator, key: str = RETURN_KEY) -> None:
        self._operator = operator
        self.key = key

    def __getitem__(self, item: str) -> XComArg:
        if not isinstance(item, str):
            raise SpinnerDagError(
                f"{self}[{item!r}] is not possible: the key of an XCom is a string.",
                "Return a dict from a task with multiple_outputs=True and use its keys.",
            )
        return PlainXComArg(self._operator, item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainXComArg) and (self._operator, self.key) == (other._operator, other.key)

    def __hash__(self) -> int:
        return hash((self._operator.task_id, self.key))

    def __str__(self) -> str:
        key = "" if self.key == RETURN_KEY else f", key='{self.key}'"
        return "{{ task_instance.xcom_pull(task_ids='" + self._operator.task_id + f"'{key}" + ") }}"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        yield self._operator

    def resolve(self, source: ValueSource) -> Any:
        return source.pull(self._operator, self.key)

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        return source.pull_item(self._operator, index)

    def count(self, source: ValueSource) -> int:
        return source.count(self._operator)

    def length(self) -> Length:
        if self.key != RETURN_KEY:
            raise SpinnerDagError(
                f"A task cannot be expanded over key {self.key!r} of {self._operator.task_id!r}.",
                "Expand over the task's return value; return the list from a task of its own.",
            )
        return ("task", self._operator)


class MapXComArg(XComArg):
    """Each element passed through a function in the worker."""

    def __init__(self, arg: XComArg, function: Callable[[Any], Any]) -> None:
        if not callable(function) or hasattr(function, "expand"):
            raise SpinnerDagError(
                "map() takes a plain function, not a task.", "Pass the undecorated function, or use .expand(...)."
            )
        self._arg = arg
        self._function = function

    def __str__(self) -> str:
        return f"{self._arg}.map({getattr(self._function, '__name__', 'function')})"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        return self._arg.operators()

    def resolve(self, source: ValueSource) -> Any:
        values = []
        for item in elements(self._arg.resolve(source)):
            try:
                values.append(self._function(item))
            except SkipTask:
                continue
        return values

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        return self._function(self._arg.resolve_item(source, index))

    def count(self, source: ValueSource) -> int:
        return self._arg.count(source)

    def length(self) -> Length:
        return self._arg.length()


class ZipXComArg(XComArg):
    """Elements of several values side by side."""

    def __init__(self, args: tuple[XComArg, ...], fillvalue: Any) -> None:
        self._args = args
        self._fillvalue = fillvalue

    def __str__(self) -> str:
        return f"{self._args[0]}.zip({', '.join(map(str, self._args[1:]))})"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        for arg in self._args:
            yield from arg.operators()

    def resolve(self, source: ValueSource) -> Any:
        from itertools import zip_longest

        columns = [elements(arg.resolve(source)) for arg in self._args]
        if self._fillvalue is MISSING:
            return list(zip(*columns, strict=False))
        return list(zip_longest(*columns, fillvalue=self._fillvalue))

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        return tuple(
            arg.resolve_item(source, index)
            if self._fillvalue is MISSING or index < arg.count(source)
            else self._fillvalue
            for arg in self._args
        )

    def count(self, source: ValueSource) -> int:
        counts = [arg.count(source) for arg in self._args]
        return min(counts) if self._fillvalue is MISSING else max(counts)

    def length(self) -> Length:
        kind = "zip_shortest" if self._fillvalue is MISSING else "zip_longest"
        return (kind, [arg.length() for arg in self._args])


class ConcatXComArg(XComArg):
    """Elements of several values one after the other."""

    def __init__(self, args: tuple[XComArg, ...]) -> None:
        self._args = args

    def __str__(self) -> str:
        return f"{self._args[0]}.concat({', '.join(map(str, self._args[1:]))})"

    __repr__ = __str__

    def operators(self) -> Iterator[BaseOperator]:
        for arg in self._args:
            yield from arg.operators()

    def resolve(self, source: ValueSource) -> Any:
        return [item for arg in self._args for item in elements(arg.resolve(source))]

    def resolve_item(self, source: ValueSource, index: int) -> Any:
        for arg in self._args:
            count = arg.count(source)
            if index < count:
                return arg.resolve_item(source, index)
            index -= count
        raise XComNotFound(f"{self} has no element {index}.")

    def count(self, source: ValueSource) -> int:
        return sum(arg.count(source) for arg in self._args)

    def length(self) -> Length:
        return ("concat", [arg.length() for arg in self._args])


def elements(value: Any) -> list[Any]:
    """A value as the list that mapped tasks expand over: a dict as its (key, value) pairs."""
    if isinstance(value, dict):
        return list(value.items())
    return list(value)


def find_args(value: Any, depth: int = 0) -> Iterator[XComArg]:
    """Every reference in ``value``: itself, in lists, tuples, sets, dicts, and template fields of other objects."""
    if isinstance(value, XComArg):
        yield value
    elif depth > 20 or isinstance(value, str | bytes | int | float):
        return
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_args(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from find_args(item, depth + 1)


def resolve_args(value: Any, source: ValueSource) -> Any:
    """``value`` with every reference replaced by what it refers to; containers are copied only when one is in them."""
    if isinstance(value, XComArg):
        return value.resolve(source)
    if not isinstance(value, dict | list | tuple | set | frozenset) or next(find_args(value), None) is None:
        return value
    if isinstance(value, dict):
        return {key: resolve_args(item, source) for key, item in value.items()}
    items = [resolve_args(item, source) for item in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*items)
    return type(value)(items)
