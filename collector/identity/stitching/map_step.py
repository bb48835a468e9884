"""One step of stitch on the identity tables: what hangs on touched keys is resolved, and what differs is written.

    touched keys ─► components ─► resolve_columns ─► compare with the tables ─► rows that differ

Owns no state between two steps and no rule of identity. All rows of a step have one version, the position in the list
of batches that it was computed from. May be repeated. Imports pyarrow: only stitch imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.bulk.columns import ResolutionColumns, to_bytes
from collector.identity.bulk.resolve import resolve_columns
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.policy import Policy
from collector.identity.standing import find_dependents
from collector.identity.stitching.component_columns import (
    BESIDE,
    FIELDS_OF_KEYS,
    ComponentColumns,
    cut_keys,
    filter_keys,
    read_all,
    read_around,
    to_key_text,
)
from collector.identity.stitching.first_look import FirstLook
from collector.identity.stitching.standing_columns import (
    FORMS,
    GUARD_LOG,
    INTERVALS_FORM,
    MAP_FORM,
    MERGE_LOG,
    Form,
    TableChange,
    compare_table,
    pick,
    read_rows,
    read_table,
    write_all_again,
    write_log,
    write_table,
)
from collector.logs import get_logger
from collector.store.client import StoreClient
from collector.store.dictionaries import CUSTOMERS, IDENTITY, INTERVALS

ALARM_ROWS = 1_000_000
"""Evidence behind one round: with far less, a round has a few tens of thousands."""
_HUNG = f"""
    SELECT DISTINCT b_key FROM identity_evidence
    WHERE space_id = {{space:String}} AND a_key IN {FIELDS_OF_KEYS} AND level >= 2 AND kind != 'reset'
"""  # noqa: S608  our own words
# The first of an anonymous group has no row: it shows in those of the visitors next to it. By key, because a look for
# people reads the whole table.
_HEADS = f"""
    SELECT DISTINCT person_id FROM identity_map FINAL
    WHERE space_id = {{space:String}} AND key IN ({BESIDE}) AND person_id IN {FIELDS_OF_KEYS}
    UNION DISTINCT
    SELECT DISTINCT person_id FROM identity_intervals FINAL
    WHERE space_id = {{space:String}} AND key IN ({BESIDE}) AND person_id IN {FIELDS_OF_KEYS}
"""  # noqa: S608  our own words


@dataclass(slots=True)
class LetGo:
    """What one stitcher knows of the identifiers that hold nobody, because they are fused or blocked: those of which
    it has seen that nothing hangs on them in the map.

    True as long as none of their evidence is taken back, nobody is blocked or let go, and the policy stays.
    """

    _keys: dict[str, tuple[Policy, set[bytes]]] = field(default_factory=dict)

    def get(self, space_id: str, policy: Policy) -> set[bytes]:
        """Return those of a space; what is added to them is kept."""
        known = self._keys.get(space_id)
        if known is None or known[0] != policy:
            known = self._keys[space_id] = (policy, set())
        return known[1]

    def forget(self, space_id: str, keys: set[bytes] | None) -> None:
        """Forget some keys of a space, or all."""
        if keys is None:
            self._keys.pop(space_id, None)
        elif space_id in self._keys:
            self._keys[space_id][1].difference_update(keys)


def find_stale(change: TableChange) -> set[str]:
    """Return the names of the dictionaries that do not show a change of a table."""
    if not change.size or change.form not in (INTERVALS_FORM, MAP_FORM):
        return set()
    if change.form is INTERVALS_FORM:
        return {INTERVALS}
    # What kind a row had that is gone is not known here.
    kinds = set(pc.unique(change.rows["key_kind"].cast(pa.string())).to_pylist()) if not change.gone.num_rows else {""}
    return {IDENTITY} if kinds == {VISITOR_KIND} else {IDENTITY, CUSTOMERS}


@dataclass(slots=True)
class MapStep:
    """The work of one step. `is_again`: write all touched rows, changed or not. `looks`: what first looks have read, by
    space. `let_go`: of its stitcher. The other fields say what it did."""

    client: StoreClient
    version: int
    is_again: bool
    looks: Mapping[str, FirstLook] = field(default_factory=dict)
    let_go: LetGo = field(default_factory=LetGo)
    stale: set[str] = field(default_factory=set)  # dictionaries that have been overtaken
    evidence: int = 0
    written: int = 0
    refusals: dict[str, int] = field(default_factory=dict)  # new ones, by reason
    merges: int = 0  # new ones of two customers
    _entries: list[tuple[str, ResolutionColumns]] = field(default_factory=list)

    def bring(self, space_id: str, touched: set[bytes], policy: Policy, before_write: Callable[[], None]) -> set[bytes]:
        """Bring all that hangs on the touched keys to what `resolve` says. Returns the keys that are done."""
        component = self._read(space_id, touched, policy)
        self._bring_rows(space_id, component.rows, component.keys, component.fused, policy, before_write)
        holds_nobody = component.fused | set(map(to_bytes, policy.blocked_keys))
        known = self.let_go.get(space_id, policy)
        known -= component.keys - holds_nobody
        known |= component.keys & holds_nobody
        return component.keys

    def bring_all(self, space_id: str, touched: set[bytes], policy: Policy, before_write: Callable[[], None]) -> None:
        """Bring a whole space to what `resolve` says: quicker than a walk from very many touched keys."""
        rows = read_all(self.client, space_id, policy)
        self.let_go.forget(space_id, None)  # who holds somebody now is not looked at here
        self._bring_rows(space_id, rows, touched, set(), policy, before_write, is_whole=True)

    def log(self) -> None:
        """Add to the logs what this step found: after the map, because nobody waits for them."""
        for space_id, resolution in self._entries:
            refused = write_log(self.client, GUARD_LOG, space_id, resolution.guards, self.version)
            for reason, count in refused.items():
                self.refusals[reason] = self.refusals.get(reason, 0) + count
            tied = write_log(self.client, MERGE_LOG, space_id, resolution.merges, self.version)
            self.merges += tied.get("merge", 0)
            self.written += sum(refused.values()) + sum(tied.values())
        self._entries = []

    def _bring_rows(
        self,
        space_id: str,
        rows: pa.Table,
        keys: set[bytes],
        fused: Iterable[bytes],
        policy: Policy,
        before_write: Callable[[], None],
        *,
        is_whole: bool = False,
    ) -> None:
        """Resolve rows, and write what differs. `keys`: for which they are complete, where they are not all."""
        self.evidence += rows.num_rows
        resolution = resolve_columns(rows, policy, map(to_key_text, fused))
        changes: list[TableChange] = []
        for form in FORMS:
            wanted = pick(form, resolution)
            found = (
                read_table(self.client, form, space_id) if is_whole else self._read_rows(form, space_id, keys, policy)
            )
            change = compare_table(form, wanted, found)
            self.stale |= find_stale(change)
            if self.is_again:
                change = write_all_again(change, wanted, keys)
            changes.append(change)
        before_write()
        for change in changes:
            write_table(self.client, space_id, change, self.version)
            self.written += change.size
        self._entries.append((space_id, resolution))

    def _get_look(self, space_id: str, policy: Policy) -> FirstLook | None:
        look = self.looks.get(space_id)
        return look if look and look.policy == policy else None

    def _read_rows(self, form: Form, space_id: str, keys: set[bytes], policy: Policy) -> pa.Table:
        """Return the rows that stand under these keys, those that the first look has read included."""
        look = self._get_look(space_id, policy)
        if form is not MAP_FORM or not look:
            return read_rows(self.client, form, space_id, keys)
        known = filter_keys(look.map_rows, "key", keys & look.held)
        return pa.concat_tables([known, read_rows(self.client, form, space_id, keys - look.held)])

    def _read(self, space_id: str, touched: set[bytes], policy: Policy) -> ComponentColumns:
        """Read the components of touched keys; of a key newly fused or blocked, all those that hung on it too."""
        blocked = set(map(to_bytes, policy.blocked_keys))
        seen = set(self.let_go.get(space_id, policy))
        look = self._get_look(space_id, policy)
        while True:
            component = read_around(self.client, space_id, touched, policy, look.looked if look else None)
            taken_out = ((component.fused | blocked) & component.keys) - seen
            if not taken_out:
                break
            seen |= taken_out
            stood = read_rows(self.client, MAP_FORM, space_id, taken_out)
            let_go = set(stood["key"].to_pylist())
            let_go |= self._ask(_HEADS, space_id, taken_out - let_go)
            if not let_go:
                break
            people = let_go | set(stood["person_id"].to_pylist())
            # Not from the component: of what was taken out it has the rows of touched keys alone.
            hung = self._ask(_HUNG, space_id, let_go)
            dependents = find_dependents(self.client, space_id, map(to_key_text, people))
            touched = touched | people | hung | set(map(to_bytes, dependents))
            get_logger().warning(
                "identifiers were taken out: shared by too many, or blocked", space=space_id, count=len(let_go)
            )
        if component.rows.num_rows > ALARM_ROWS:
            get_logger().warning(
                "one component has very much evidence, stitch is slow: look for a shared value in v_identity_evidence",
                space=space_id,
                evidence=component.rows.num_rows,
            )
        return component

    def _ask(self, sql: str, space_id: str, keys: set[bytes]) -> set[bytes]:
        """Return the keys that a question about these keys gives."""
        questions = [{"space": space_id, **part} for part in cut_keys(keys)]
        return {key for said in questions for key in self.client.read_columns(sql, said).column(0).to_pylist()}
