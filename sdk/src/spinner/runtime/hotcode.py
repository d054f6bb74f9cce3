"""The code that every try runs, side by side in memory.

Python writes to whatever it looks at: counts of references, caches inside of code objects. A forked process gets a copy
of each page that it writes to, and that is most of what a short try costs. So before a fork server forks, what a try
runs gets code objects of its own, made one after the other and run until the interpreter has specialized them. Workers
then copy a few pages full of such code instead of a page for each function.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

# The interpreter specializes code after 8 calls, and what that needs again after some more.
_RUNS = 12


def gather(run: Callable[[], object]) -> int:
    """Runs ``run`` a few times and puts the code of all functions that it calls together. Returns how many.

    The garbage collector must see those functions: call it before `gc.freeze`. Functions keep their identity.
    """
    run()
    used = _called_by(run)
    functions = [known for known in gc.get_objects() if type(known) is FunctionType and known.__code__ in used]
    copies = {id(code): (code, code.replace()) for code in {id(f.__code__): f.__code__ for f in functions}.values()}
    for function in functions:
        function.__code__ = copies[id(function.__code__)][1]
    for _ in range(_RUNS):
        run()
    return len(copies)


def _called_by(run: Callable[[], object]) -> set[CodeType]:
    used: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            used.add(frame.f_code)

    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return used
