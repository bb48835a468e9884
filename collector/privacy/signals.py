"""Fingerprints of browsers whose consent to them was taken back: hidden at once, and deleted.

What has to be hidden stands in `signal_withdrawals`, filled by the consent ledger; views and the way into the store ask
the dictionary `withdrawn_signals`. So what comes in late is stripped as well. `watch_signals` loads it anew as soon as
somebody has taken consent back; `delete_signals` writes the files anew without them, many at once, because a file is
written whole however few rows of it change.
"""

from __future__ import annotations

import threading
from datetime import datetime

from collector.config import Config
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.privacy.store_files import name_local, wait_for_mutations
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import WITHDRAWN, reload_dictionaries

LOOK_S = 0.5
LONGEST_PAUSE_S = 10.0
_LATEST = "SELECT max(loaded_at) AS latest FROM signal_withdrawals"
_LAST_MS = f"dictGetOrDefault('{{database}}.{WITHDRAWN}', 'last_ms', cityHash64(own_person_id), toInt64(0))"
_WITHDRAWN = f"fingerprint != '' AND {_LAST_MS} >= toUnixTimestamp64Milli(time)"


class SignalWatch:
    """Loads the dictionary when there is something new. For one thread, as its client."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._seen: datetime | None = None

    def look(self) -> bool:
        """Look for withdrawals; returns whether there were any. Raises StoreError."""
        latest = self._client.query_rows(_LATEST)[0]["latest"]
        if latest == self._seen:
            return False
        reload_dictionaries(self._client, (WITHDRAWN,))
        self._seen = latest
        return True


def watch_signals(config: Config, keyring: Keyring, stop: threading.Event) -> None:
    """Hide fingerprints whose consent is taken back, within a second, until told to stop."""
    pause_s = LOOK_S
    with open_client(config, keyring, "writer") as client:
        watch = SignalWatch(client)
        while not stop.is_set():
            try:
                watch.look()
                pause_s = LOOK_S
            except StoreError:  # the role has said so
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            stop.wait(pause_s)


def delete_signals(client: StoreClient) -> int:
    """Delete the fingerprints that are hidden. Returns of how many events; 0 where there were none.

    Raises PrivacyError where the store cannot write a file anew, StoreError.
    """
    reload_dictionaries(client, (WITHDRAWN,))
    condition = _WITHDRAWN.format(database=client.database)
    theirs = f"own_person_id IN (SELECT key FROM signal_withdrawals) AND {condition}"  # noqa: S608  our own words
    found = client.query_rows(f"SELECT count() AS found FROM events WHERE {theirs}")  # noqa: S608  the same
    rows = int(found[0]["found"])
    if rows:
        table = name_local(client, "events")
        on_cluster = f" ON CLUSTER `{client.cluster}`" if client.cluster else ""
        client.command(
            f"ALTER TABLE {table}{on_cluster} UPDATE fingerprint = '', fingerprint_version = 0 WHERE {condition}",
            settings={"allow_nondeterministic_mutations": 1},
        )
        wait_for_mutations(client, [table])
        get_logger().info("deleted fingerprints whose consent was taken back", events=rows)
    return rows
