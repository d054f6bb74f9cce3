"""Imports a legacy repository on Python 3: its modules are converted when they are Python 2, and what they import
from Pinball is the shims of this package.

A file is converted when it does not compile, or when it uses names that Python 3 no longer has. The file itself
stays as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHIMS = Path(__file__).parent / "shims"
_PYTHON_2 = re.compile(
    rb"\.(iteritems|itervalues|iterkeys|has_key)\(|\b(xrange|raw_input|unichr|basestring|unicode|reduce|execfile)\(|"
    rb"\bbasestring\b|^\s*(import|from)\s+(urllib2|ConfigParser|StringIO|cPickle|urlparse|Queue|HTMLParser|httplib|__builtin__)\b",
    re.MULTILINE,
)


def convert(source: bytes, path: str) -> str:
    """Returns Python 2 source as Python 3. Raises SyntaxError when it is neither."""
    from fissix import pygram
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError
    from fissix.refactor import RefactoringTool, get_fixers_from_package

    text = source.decode("utf-8", errors="replace")
    if not text.endswith("\n"):
        text += "\n"
    tool = RefactoringTool(get_fixers_from_package("fissix.fixes"), {"print_function": False})
    if "print_function" in text:
        tool.driver.grammar = pygram.python_grammar_no_print_statement
    try:
        return str(tool.refactor_string(text, path))
    except (ParseError, TokenError) as error:
        place = getattr(error, "context", None)
        line = place[1][0] if place else 0
        raise SyntaxError("neither Python 3 nor Python 2", (path, line, 0, _line(text, line))) from error


def compile_legacy(source: bytes, path: str) -> types.CodeType:
    """Compiles a file of either Python. Raises SyntaxError with the place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code: types.CodeType = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return compile(convert(source, path), path, "exec", dont_inherit=True)
        if _PYTHON_2.search(source):
            return compile(convert(source, path), path, "exec", dont_inherit=True)
        return code


class _LegacyLoader(importlib.machinery.SourceFileLoader):
    def source_to_code(  # type: ignore[override]  # the base class is static in typeshed only
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> types.CodeType:
        return compile_legacy(bytes(data), str(path))


class RepositoryFinder(importlib.abc.MetaPathFinder):
    """Finds modules below the given folders; folders without `__init__.py` are packages too."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [str(folder) for folder in folders]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        tail = fullname.rpartition(".")[2]
        for folder in self._folders if path is None else list(path):
            if not any(folder == root or folder.startswith(f"{root}/") for root in self._folders):
                continue
            base = Path(folder, tail)
            if (base / "__init__.py").is_file():
                file = str(base / "__init__.py")
                loader = _LegacyLoader(fullname, file)
                return importlib.util.spec_from_file_location(
                    fullname, file, loader=loader, submodule_search_locations=[str(base)]
                )
            if base.with_suffix(".py").is_file():
                file = str(base.with_suffix(".py"))
                return importlib.util.spec_from_file_location(fullname, file, loader=_LegacyLoader(fullname, file))
        return None


class _Placeholder:
    """Stands for anything of Pinball that reading workflows does not need."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __call__(self, *_arguments: Any, **_named: Any) -> _Placeholder:
        return self

    def __getattr__(self, name: str) -> _Placeholder:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder()


class _PlaceholderModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (_Placeholder,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class PlaceholderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last resort for `pinball.*` and `pinball_ext.*`: modules of placeholders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.startswith(("pinball.", "pinball_ext.")):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _PlaceholderModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs."""


def install(root: Path) -> None:
    """Makes the repository at `root` and Pinball's shims importable in this process."""
    root = root.resolve()
    sys.dont_write_bytecode = True
    # Import paths of a repository may begin with the name of its own folder.
    folders = [root, root.parent]
    sys.path[:0] = [str(SHIMS)]
    sys.path += [str(root)]
    position = next(
        (place for place, finder in enumerate(sys.meta_path) if finder is importlib.machinery.PathFinder),
        len(sys.meta_path),
    )
    sys.meta_path.insert(position, _OwnFirst(folders))
    sys.meta_path.append(PlaceholderFinder())


class _OwnFirst(RepositoryFinder):
    """Repository files before installed packages, except for what Python and the shims provide."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top in ("pinball", "pinball_ext") or top in sys.stdlib_module_names:
            return None
        return super().find_spec(fullname, path, target)


def _line(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line - 1] if 0 < line <= len(lines) else ""
