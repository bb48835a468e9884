"""Renames: identifiers that have several names, because the key behind their pseudonyms was changed.

Rekey evidence says that two names are one identifier (see `rekey`). All other evidence is read under the first name,
so that guards, caps and person ids know nothing of a rotation: nobody becomes another person by it. In the map every
name has its row, and the value shown is the newest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from collector.identity.evidence import SERVER, Evidence
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy
from collector.identity.rekey import REKEY


class Renamed(NamedTuple):
    """An identifier with several names, by own person id: the first one, and all others."""

    first: str
    others: tuple[str, ...]
    kind: str
    value: str  # as stored, under the newest key


class Renames(NamedTuple):
    """The renames of a component, and by each name its identifier."""

    identifiers: tuple[Renamed, ...]
    by_name: dict[str, Renamed]

    def rewrite(self, standing: Iterable[Evidence]) -> list[Evidence]:
        """Return the evidence by first names, in its order, without that which says so."""
        return [self._rewrite(row) for row in standing if row.kind != REKEY]

    def find_first(self, keys: Iterable[str]) -> frozenset[str]:
        """Return the keys, by first names."""
        return frozenset(self.by_name[key].first if key in self.by_name else key for key in keys)

    def leave_out(self, keys: frozenset[str]) -> Renames:
        """Return the renames without identifiers of these first names: whoever is taken out has no rows, because a
        component need not reach beyond them."""
        return self._replace(identifiers=tuple(one for one in self.identifiers if one.first not in keys))

    def rewrite_policy(self, policy: Policy) -> Policy:
        """Return the policy; whoever is blocked by one name is by all."""
        return replace(policy, blocked_keys=self.find_first(policy.blocked_keys))

    def rewrite_disowned(self, disowned: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """Return until when links are disowned, the customer keys by first names."""
        until_ms: dict[tuple[str, str], int] = {}
        for (visitor, key), at_ms in disowned.items():
            pair = (visitor, self.by_name[key].first if key in self.by_name else key)
            until_ms[pair] = max(until_ms.get(pair, at_ms), at_ms)
        return until_ms

    def _rewrite(self, row: Evidence) -> Evidence:
        a, b = self.by_name.get(row.a_key), self.by_name.get(row.b_key)
        if a is not None:
            row = msgspec.structs.replace(row, a_key=a.first, a_value=a.value)
        if b is not None:
            row = msgspec.structs.replace(row, b_key=b.first, b_value=b.value)
        return row


def find_renames(standing: Sequence[Evidence]) -> Renames | None:
    """Return the renames that stand, or None where there are none.

    The first name is the one that came in place of no other; of several such the smallest.
    """
    rekeys = [row for row in standing if row.kind == REKEY]
    if not rekeys:
        return None
    group_of: dict[str, set[str]] = {}
    rows_of: defaultdict[str, list[Evidence]] = defaultdict(list)
    for row in rekeys:
        if row.level < SERVER or row.a_kind != row.b_kind or row.a_kind == VISITOR_KIND:
            continue
        merged = group_of.get(row.a_key, {row.a_key}) | group_of.get(row.b_key, {row.b_key})
        group_of |= dict.fromkeys(merged, merged)
        rows_of[row.b_key].append(row)
    groups = {min(group): group for group in group_of.values()}
    identifiers = tuple(_make_renamed(groups[least], rows_of) for least in sorted(groups))
    by_name = {name: renamed for renamed in identifiers for name in (renamed.first, *renamed.others)}
    return Renames(identifiers, by_name)


def _make_renamed(group: set[str], rows_of: dict[str, list[Evidence]]) -> Renamed:
    rows = [row for name in sorted(group) for row in rows_of.get(name, ())]
    named, replaced = {row.b_key for row in rows}, {row.a_key for row in rows}
    first = min((group - named) or group)
    last = max(rows, key=lambda row: (row.b_key not in replaced, row.time_ms, row.b_key))
    return Renamed(first, tuple(sorted(group - {first})), last.b_kind, last.b_value)
