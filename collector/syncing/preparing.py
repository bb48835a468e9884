"""What is written of some records: the rows and lines that a new, a changed and a vanished one come to.

Asks what stood of those that have changed, and writes nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from collector.keyring import Keyring
from collector.profiles.definitions import Definitions
from collector.profiles.traits import open_trait
from collector.sites.book import IdentifierKind
from collector.store.client import StoreClient
from collector.syncing.forms import Form, Former, Tied
from collector.syncing.standing import UNFINISHED, Before, Tie, read_before, read_values
from collector.syncing.writing import EvidenceLines, TraitRows

NEW, CHANGED, GONE = "new", "changed", "gone"
NOTHING = Before()
RecordRow = tuple[bytes, bytes, Sequence[Tie]]
"""Key, digest and ties of a row of `customer_records`."""


class Writable(msgspec.Struct, frozen=True):
    """What a chunk of records comes to. `begun`: their rows before, `done`: after, without those that only begin."""

    begun: list[RecordRow]
    done: list[RecordRow]
    traits: TraitRows
    evidence: EvidenceLines


class Preparer:
    """Of one sync. `traits`: in how many changed records each trait differs."""

    def __init__(
        self,
        client: StoreClient,
        keyring: Keyring,
        former: Former,
        definitions: Definitions,
        kinds: Mapping[str, IdentifierKind],
        source: str,
        *,
        vault: bool,
        show: Callable[[str, str, Sequence[str]], None],
        now_ms: Callable[[], int],
    ) -> None:
        """`show` hears of each record: its key as it is stored, what became of it, and the traits that differ."""
        self._client = client
        self._keyring = keyring
        self._former = former
        self._definitions = definitions
        self._kinds = kinds
        self._source = source
        self._space_id = definitions.space_id
        self._vault = vault
        self._show = show
        self._now_ms = now_ms
        self.traits: Counter[str] = Counter()

    def prepare(self, chunk: Sequence[tuple[Form, bool]]) -> Writable:
        """Prepare records that differ; of each whether it is new. Raises StoreError."""
        changed = [form.key for form, is_new in chunk if not is_new]
        stood = read_before(self._client, self._space_id, self._source, changed) if changed else {}
        old_values = read_values(self._client, self._space_id, self._source, changed) if changed else {}
        done = self._make_done()
        for form, is_new in chunk:
            before = stood.get(form.key, NOTHING)
            live = {tie.key: tie for tie in before.ties if not tie.is_ending}
            first = form.ties[0].named
            ties = [live.get(tied.named.key) or self._begin(tied) for tied in form.ties]
            # Of a record that was only begun it is not known whether its evidence is in the spool: it is said again.
            added = [tie for tie in ties if tie.key not in live or not before.is_finished]
            kept = {tie.key for tie in ties}
            dropped = [tie for tie in before.ties if tie.is_ending or tie.key not in kept]
            # Noted first: whoever is killed from here on finds all that may have been said.
            done.begun.append((form.key, UNFINISHED, [*ties, *map(_end, dropped)]))
            done.evidence.add(ties[0], added, form.ties)
            done.evidence.take_back(ties[0], dropped)
            done.done.append((form.key, form.digest, ties))
            values = self._former.encode(form.values)
            if is_new:
                done.traits.add(form.key, first.key, values)
                self._show(first.value, NEW, ())
                continue
            known = {
                row.name: self._open(row.key, row.name, row.value) if row.sealed else row.value.encode()
                for row in old_values.get(form.key, ())
            }
            differing = {name: text for name, text in values.items() if known.get(name) != text}
            lost = [name for name in known if name not in values]
            done.traits.add(form.key, first.key, differing)
            done.traits.take_back(form.key, lost)
            self.traits.update([*differing, *lost])
            self._show(first.value, CHANGED, (*differing, *lost))
        return done

    def _begin(self, tied: Tied) -> Tie:
        return Tie(tied.kind.name, tied.named.value, tied.named.key, self._now_ms())

    def prepare_removal(self, keys: Sequence[bytes], doubled: Collection[bytes]) -> Writable:
        """Prepare that records are taken back; `doubled` are not counted as gone. Raises StoreError."""
        done = self._make_done()
        stood = read_before(self._client, self._space_id, self._source, keys)
        values = read_values(self._client, self._space_id, self._source, keys)
        for key in keys:
            if before := stood.get(key, NOTHING).ties:
                done.begun.append((key, UNFINISHED, list(map(_end, before))))
                done.evidence.take_back(before[0], before)
                done.done.append((key, UNFINISHED, ()))
                if key not in doubled:
                    self._show(before[0].value, GONE, ())
            done.traits.take_back(key, [row.name for row in values.get(key, ())])
        return done

    def _make_done(self) -> Writable:
        evidence = EvidenceLines(self._keyring, self._space_id, self._source, self._kinds, vault=self._vault)
        return Writable([], [], TraitRows(self._keyring, self._definitions, self._source), evidence)

    def _open(self, key: str, name: str, sealed: str) -> bytes | None:
        return open_trait(self._keyring, self._space_id, key, name, sealed)


def _end(tie: Tie) -> Tie:
    return msgspec.structs.replace(tie, is_ending=1)
