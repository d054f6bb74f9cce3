"""The part of a module that runs when it is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_RUNS_AT_PARSE = {"dag", "task_group"}


class TopLevel:
    """Walks what runs at import: not the bodies of functions, except those of `@dag` and `@task_group`."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._aliases: dict[str, str] = {}
        self._nodes: list[ast.stmt | ast.expr] | None = None
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    head = alias.name.partition(".")[0]
                    self._aliases[alias.asname or head] = alias.name if alias.asname else head
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self._aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def nodes(self) -> list[ast.stmt | ast.expr]:
        """Returns every statement and expression that runs at import."""
        if self._nodes is None:
            self._nodes = list(self._walk())
        return self._nodes

    def _walk(self) -> Iterator[ast.stmt | ast.expr]:
        pending: list[ast.AST] = list(reversed(self._tree.body))
        while pending:
            node = pending.pop()
            if isinstance(node, ast.stmt | ast.expr):
                yield node
            if isinstance(node, ast.Lambda):
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                defaults = [value for value in node.args.kw_defaults if value is not None]
                pending += [*node.decorator_list, *node.args.defaults, *defaults]
                if any(self._runs_at_parse(decorator) for decorator in node.decorator_list):
                    pending += reversed(node.body)
                continue
            if isinstance(node, ast.If) and _is_main_guard(node.test):
                pending += node.orelse
                continue
            pending += reversed(list(ast.iter_child_nodes(node)))

    def dotted(self, node: ast.expr) -> str:
        """Returns the full name of what is called, import aliases resolved; "" when it has none."""
        parts: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Call):
                node = node.func
            elif isinstance(node, ast.Name):
                parts.append(self._aliases.get(node.id, node.id))
                return ".".join(reversed(parts))
            else:
                return ""

    def _runs_at_parse(self, decorator: ast.expr) -> bool:
        return self.dotted(decorator).rpartition(".")[2] in _RUNS_AT_PARSE


def _is_main_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
