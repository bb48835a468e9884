"""Which functions a reader's statement may call: an allow-list, decided one by one for each version of ClickHouse.

The list stands in `functions.txt`. A name that is not in it is refused, so a function that a newer ClickHouse
brings is refused until somebody has decided about it; a test names those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# Table functions that only make numbers or repeat what the statement itself says.
TABLE_FUNCTIONS = frozenset(
    ["numbers", "numbers_mt", "zeros", "zeros_mt", "values", "VALUES", "generateSeries", "generate_series"]
)

# Suffixes of aggregate functions, as `system.aggregate_function_combinators` has them.
_COMBINATORS = (
    *("SimpleState", "OrDefault", "Distinct", "Resample", "ForEach", "ArgMax", "ArgMin", "OrNull", "Tuple"),
    *("Merge", "State", "Array", "Null", "Map", "If"),
)


@dataclass(frozen=True, slots=True)
class Decided:
    """The three parts of the list."""

    allowed: frozenset[str]
    dictionary: frozenset[str]
    refused: frozenset[str]


@cache
def decided() -> Decided:
    """Read the list."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (files("collector.engine") / "functions.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            current = parts.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.extend(line.split())
    return Decided(frozenset(parts["allowed"]), frozenset(parts["dictionary"]), frozenset(parts["refused"]))


class Functions:
    """The list against the engine that runs. `known`: all its functions as (name, in any case, is aggregate)."""

    def __init__(self, known: Iterable[tuple[str, bool, bool]], table_functions: Iterable[str]) -> None:
        lists = decided()
        self._allowed = lists.allowed
        self.dictionary = lists.dictionary
        rows = list(known)
        self._known = {name.lower() for name, _, _ in rows}
        self._any_case = {name.lower() for name, any_case, _ in rows if any_case and name in lists.allowed}
        self._aggregates = {name for name, _, is_aggregate in rows if is_aggregate and name in lists.allowed}
        self._table_functions = {name.lower() for name in table_functions}

    def allows(self, name: str) -> bool:
        """Tell whether a reader may call `name`, an aggregate with suffixes included."""
        if name in self._allowed or name.lower() in self._any_case:
            return True
        return self._is_combined(name)

    def is_known(self, name: str) -> bool:
        """Tell whether the engine has a function of this name, in any case and with any suffix."""
        return name.lower() in self._known or self._is_combined(name)

    def is_table_function(self, name: str) -> bool:
        """Tell whether the engine has a table function of this name."""
        return name.lower() in self._table_functions

    def _is_combined(self, name: str) -> bool:
        for suffix in _COMBINATORS:
            base = name.removesuffix(suffix)
            is_cut = base not in ("", name)
            if is_cut and (base in self._aggregates or base.lower() in self._any_case or self._is_combined(base)):
                return True
        return False
