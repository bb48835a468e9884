"""How far each webhook has followed the changes, as the store has it; which of them is gone, and what is replayed.

A webhook that is new is told of what happens from then on. One that is taken out of the configuration is forgotten:
where it comes back it is new. One whose receiver said 410 is told nothing until its address is another one, or
somebody replays it. A replay is a row of its own: the role and the command never overwrite each other's.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from collector.store.client import StoreClient
from collector.store.writer import insert_rows
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.deliveries import write_time

FOLLOWED, REPLAY = "followed", "replay"
_READ = """
SELECT webhook, subject, toUnixTimestamp64Milli(since) AS since_ms, toUnixTimestamp64Milli(at) AS at_ms,
    toUnixTimestamp64Milli(gone_at) AS gone_ms, address, version
FROM webhook_progress FINAL
"""


class Progress(msgspec.Struct, frozen=True):
    """How far one webhook is. Times in milliseconds since 1970.

    `gone_ms`: when its receiver said 410, 0: it did not. `replay_ms`: when somebody last asked for a replay, 0: nobody
    has; `replay_from_ms`: when the oldest of what is replayed was made.
    """

    webhook: str
    since_ms: int
    at_ms: int
    gone_ms: int = 0
    address: str = ""
    version: int = 0
    replay_ms: int = 0
    replay_from_ms: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether its receiver wants nothing any more."""
        return self.gone_ms > self.replay_ms


def read_progress(client: StoreClient) -> dict[str, Progress]:
    """Return how far the webhooks are that are known. Raises StoreError."""
    rows = client.query_rows(_READ)
    found = {
        row["webhook"]: Progress(**{name: value for name, value in row.items() if name != "subject"})
        for row in rows
        if row["subject"] == FOLLOWED
    }
    for row in rows:
        if row["subject"] == REPLAY and (progress := found.get(row["webhook"])):
            found[row["webhook"]] = msgspec.structs.replace(
                progress, replay_ms=row["at_ms"], replay_from_ms=row["since_ms"]
            )
    return found


def read_store_time(client: StoreClient) -> int:
    """Return the store's time, milliseconds since 1970. Raises StoreError."""
    return int(client.query_rows("SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms")[0]["now_ms"])


def begin(client: StoreClient, webhooks: Mapping[str, WebhookConfig]) -> dict[str, Progress]:
    """Return where the configured webhooks begin; what is new about them, or not configured any more, is written down.
    Raises StoreError."""
    known, now_ms = read_progress(client), read_store_time(client)
    begun, changed = {}, []
    for name, config in webhooks.items():
        before = known.get(name)
        if before is None:
            progress = Progress(name, now_ms, now_ms, address=config.address_digest)
        elif before.address != config.address_digest:
            # What happened while nobody wanted to hear of it is not told to whoever is there now.
            since_ms = now_ms if before.is_gone else before.since_ms
            progress = msgspec.structs.replace(before, since_ms=since_ms, gone_ms=0, address=config.address_digest)
        else:
            begun[name] = before
            continue
        begun[name] = step(progress, now_ms)
        changed.append(_make_row(begun[name]))
    for name, progress in known.items():
        if name not in webhooks:
            changed.append(_make_row(step(progress, now_ms)) | {"is_deleted": 1})
    insert_rows(client, "webhook_progress", changed)
    return begun


def step(progress: Progress, now_ms: int) -> Progress:
    """Return the same with the next version, later than any that was written before."""
    return msgspec.structs.replace(progress, version=max(progress.version + 1, now_ms))


def write_progress(client: StoreClient, progress: Progress) -> None:
    """Write it down, but for what is replayed. Raises StoreError."""
    insert_rows(client, "webhook_progress", [_make_row(progress)])


def write_replay(client: StoreClient, webhook: str, from_ms: int) -> None:
    """Say that deliveries of this webhook are pending again, the oldest made then, and that it is not gone. Raises
    StoreError."""
    now_ms = read_store_time(client)
    row = _make_row(Progress(webhook, from_ms, now_ms, version=now_ms)) | {"subject": REPLAY}
    insert_rows(client, "webhook_progress", [row])


def _make_row(progress: Progress) -> dict[str, object]:
    return {
        "webhook": progress.webhook,
        "subject": FOLLOWED,
        "since": write_time(progress.since_ms),
        "at": write_time(progress.at_ms),
        "gone_at": write_time(progress.gone_ms),
        "address": progress.address,
        "version": progress.version,
        "is_deleted": 0,
    }
