"""How Arrow is set up in a process that stitches: what it looks for, and where it gets its memory.

Called once, before the first column. Imports pyarrow: see `columns`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


def set_arrow_up() -> None:
    """Leave pandas out, and take memory from the C library.

    pyarrow looks for pandas at its first scalar, and pandas, which the engine brings along, takes a second and 60 MB
    to load; nothing here uses it. Arrow's own allocator gives memory back to the kernel at once, and steps that need
    as much again and again spend a third of their time on getting it back.
    """
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(finder)
    pa.set_memory_pool(pa.system_memory_pool())


class _WithoutPandas(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=name)
        return None
