"""What was erased, as rows in the store: read whole when anything has changed, because erasures are few."""

from __future__ import annotations

from collector.privacy.tombstones import NONE, Tombstones
from collector.store.client import StoreClient

_MARK = "SELECT count() AS found, toUnixTimestamp64Milli(max(changed_at)) AS changed_ms FROM tombstones"
_ROWS = """
    SELECT space_id, mark, max(to_ms) AS erased_ms FROM tombstones FINAL
    WHERE begins_anew = 1 AND ({space:String} = '' OR space_id = {space:String})
    GROUP BY space_id, mark
"""


def read_tombstones(client: StoreClient, space_id: str = "") -> Tombstones:
    """Return the tombstones of a space, "": of all. Raises StoreError."""
    spaces: dict[str, dict[str, int]] = {}
    for row in client.query_rows(_ROWS, {"space": space_id}):
        spaces.setdefault(row["space_id"], {})[row["mark"]] = int(row["erased_ms"])
    return Tombstones(spaces) if spaces else NONE


class TombstoneReader:
    """Reads them for a poller: two numbers, and the rows where these have changed. For one thread, as its client."""

    def __init__(self, client: StoreClient, tombstones: Tombstones = NONE) -> None:
        """Begin with what a copy said. It stays in force until the store has answered."""
        self.tombstones = tombstones
        self._client = client
        self._seen: tuple[int, int] | None = None

    def read(self) -> bool:
        """Ask the store; return whether anything has changed. Raises StoreError."""
        row = self._client.query_rows(_MARK)[0]
        seen = (int(row["found"]), int(row["changed_ms"]))
        if seen == self._seen:
            return False
        tombstones = read_tombstones(self._client)
        has_changed = tombstones != self.tombstones
        self._seen = seen
        if has_changed:
            self.tombstones = tombstones
        return has_changed
