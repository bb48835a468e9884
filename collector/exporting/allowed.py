"""Of whom an export may tell: nobody who was erased or restricted, and with a purpose those who have granted it.

Both are judged by the code that judges audiences, so that an export and an audience never disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from collector.audiences.compile import judge
from collector.audiences.configuration import AudienceConfig
from collector.audiences.people import cut, find_people
from collector.audiences.rules import KnownRule
from collector.keyring import Keyring
from collector.profiles.definitions import TraitConfig
from collector.store.client import StoreClient

_NAME = "export"
_MARK = "SELECT count() AS rows, max(version) AS version FROM person_states WHERE space_id = {space:String}"
_KEYS = """
SELECT toString(said.key) AS key FROM person_states AS said FINAL
WHERE space_id = {space:String} AND is_deleted = 0
"""


class Allowed:
    """Who may be told of. Looks anew whether somebody was erased or restricted, page by page."""

    def __init__(
        self,
        client: StoreClient,
        keyring: Keyring,
        traits: Mapping[str, TraitConfig],
        space_id: str,
        *,
        purpose: str = "",
        now_ms: int,
    ) -> None:
        """`purpose`: one that people must have granted; "": none."""
        self._client = client
        self._keyring = keyring
        self._traits = traits
        self._space_id = space_id
        self._purpose = purpose
        self._now_ms = now_ms
        self._mark: tuple[int, int] | None = None
        self._hidden: frozenset[str] = frozenset()

    def find_hidden(self) -> frozenset[str]:
        """Return who was erased or restricted: people, and identifiers of theirs. Raises StoreError."""
        [row] = self._client.query_rows(_MARK, {"space": self._space_id})
        mark = (int(row["rows"]), int(row["version"]))
        if mark != self._mark:
            keys = [row["key"] for row in self._client.query_rows(_KEYS, {"space": self._space_id})]
            people = find_people(self._client, self._space_id, keys)
            self._hidden = frozenset(keys) | (people - self._judge(people, ""))
            self._mark = mark
        return self._hidden

    def find_granted(self, people: Collection[str]) -> frozenset[str]:
        """Return those of these people who have granted the purpose; all of them without one. Raises StoreError."""
        return frozenset(self._judge(people, self._purpose) if self._purpose else people)

    def _judge(self, people: Collection[str], purpose: str) -> set[str]:
        everybody = AudienceConfig(
            name=_NAME, space=self._space_id, purpose=purpose, any=(KnownRule(True), KnownRule(False))
        )
        found: set[str] = set()
        for part in cut(people):
            said = judge(
                self._client,
                {_NAME: everybody},
                self._space_id,
                part,
                now_ms=self._now_ms,
                keyring=self._keyring,
                traits=self._traits,
            )
            found |= {person for person, names in said.items() if names}
        return found
