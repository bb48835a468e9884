"""The record of a minting: who made how many links, when, for which campaign. One row, nothing about recipients.

Links can be made with the store away: the record then waits in the data folder, in `links/pending`, and goes in with
the next one that reaches the store, or when a web process starts. So a record is written to the folder first; only what
is in the store is removed there. Writing one twice is harmless: the table keeps the row of the highest version.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import ConfigError, StoreError, StoreUnavailable
from collector.keyring import Keyring
from collector.links.minting import Mailing, find_days
from collector.logs import get_logger
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient, open_client
from collector.store.writer import insert_rows

FOLDER = "links/pending"
TABLE = "link_mintings"
_TIMES = ("minted_at", "sent_at", "expires_at")
_COLUMNS = (
    "toString(minting_id) AS minting_id, space_id, toUnixTimestamp64Milli(minted_at) AS minted_at_ms, "
    "toUnixTimestamp64Milli(sent_at) AS sent_at_ms, kind, identifier_kind, campaign, message, links, made, recipients, "
    "refused, key_id, toUnixTimestamp64Milli(expires_at) AS expires_at_ms, is_test, actor, via, sent, version"
)


class Minting(msgspec.Struct, frozen=True):
    """One row of `link_mintings`. Times in milliseconds since 1970; 0: not said, or never. `sent`: -1: not told."""

    minting_id: str
    minted_at_ms: int
    kind: str
    key_id: str
    actor: str
    via: str  # command, api or page
    space_id: str = DEFAULT_SPACE
    identifier_kind: str = "customer"
    campaign: str = ""
    message: str = ""
    links: tuple[str, ...] = ()
    made: int = 0
    recipients: int = 0
    refused: int = 0
    sent_at_ms: int = 0
    expires_at_ms: int = 0
    is_test: bool = False
    sent: int = -1
    version: int = 1


def begin_minting(keyring: Keyring, mailing: Mailing, *, now_ms: int, actor: str, via: str) -> Minting:
    """Return the record of a minting of which nothing is made yet. It knows the mailing, and no recipient."""
    days = find_days(mailing)
    issued_s = mailing.sent_at_s or now_ms // 1000
    return Minting(
        minting_id=str(uuid.uuid4()),
        minted_at_ms=now_ms,
        kind=mailing.kind.value,
        key_id=keyring.link_keys[0].id,
        actor=actor,
        via=via,
        space_id=mailing.space_id,
        identifier_kind=mailing.identifier_kind.name,
        campaign=mailing.campaign,
        message=mailing.message,
        links=(mailing.link,) if mailing.link else (),
        sent_at_ms=mailing.sent_at_s * 1000,
        expires_at_ms=round((issued_s + days * 86_400) * 1000) if days else 0,
        is_test=mailing.is_test,
    )


def keep_minting(config: Config, keyring: Keyring, minting: Minting) -> bool:
    """Bring the record, and all that wait, into the store. False: it waits in the data folder.

    Raises StoreError where neither the folder nor the store takes it.
    """
    try:
        put_pending(config.data_path, minting)
    except OSError as error:
        get_logger().warning("the record of a minting cannot wait on disk", reason=error.strerror or "unknown")
        with contextlib.closing(open_client(config, keyring, "writer")) as client:
            write_minting(client, minting)
        return True
    try:
        with contextlib.closing(open_client(config, keyring, "writer")) as client:
            send_pending(client, config.data_path)
    except StoreError:
        return False
    return not _find_pending(config.data_path, minting.minting_id).exists()


def put_pending(data: Path, minting: Minting) -> None:
    """Write the record to the folder of those that wait, durably. Raises OSError."""
    path = _find_pending(data, minting.minting_id)
    disk.make_folder(path.parent)
    disk.write_file(path, msgspec.json.encode(minting))
    if os.geteuid() == 0:  # root mints, and the roles go on writing and sending records
        owner = data.stat()
        for each in (path.parent.parent, path.parent, path):
            with contextlib.suppress(FileNotFoundError):  # sent by another process already
                os.lchown(each, owner.st_uid, owner.st_gid)  # the folder is another user's: links in it lead nowhere


def send_pending(client: StoreClient, data: Path) -> int:
    """Bring all records that wait into the store; return how many. Raises StoreUnavailable:
    then they go on waiting.

    One that cannot be read, or that the store refuses, is left where it is, and the log says so.
    """
    found: dict[Path, Minting] = {}
    for path in sorted((data / FOLDER).glob("*.json")):
        try:
            found[path] = msgspec.json.decode(path.read_bytes(), type=Minting)
        except FileNotFoundError:  # another process has just sent it
            continue
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            get_logger().warning("the record of a minting cannot be read", path=str(path), reason=str(error))
    sent = _insert(client, found)
    for path in sent:
        with contextlib.suppress(OSError):  # it is sent again, which changes nothing
            disk.unlink(path)
    return len(sent)


def count_pending(data: Path) -> int:
    """Return how many records wait."""
    return sum(1 for _ in (data / FOLDER).glob("*.json"))


def write_minting(client: StoreClient, minting: Minting) -> None:
    """Write the record. Raises StoreError."""
    insert_rows(client, TABLE, [_make_row(minting)])


def read_mintings(client: StoreClient, space_id: str = "", limit: int = 1000) -> list[Minting]:
    """Return the mintings of a space, or of all, the newest first. Raises StoreError."""
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM {TABLE} FINAL WHERE {{space:String}} IN ('', space_id) "  # noqa: S608  our own columns
        "ORDER BY minted_at DESC, minting_id LIMIT {limit:UInt32}",
        {"space": space_id, "limit": limit},
    )
    return [_read_row(row) for row in rows]


def tell_sent(client: StoreClient, minting_id: str, sent: int, sent_at_ms: int = 0) -> Minting:
    """Note how many mails of a minting went out, and return the record as it is then.

    `sent_at_ms`: when; 0 where that is not said. `minting_id`: may be cut, as long as it names one. Raises
    ConfigError where it does not.
    """
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM {TABLE} FINAL "  # noqa: S608  our own columns
        "WHERE startsWith(toString(minting_id), {start:String}) LIMIT 2",
        {"start": minting_id.lower()},
    )
    if not minting_id or len(rows) != 1:
        problem = "stands for several: write more of it" if rows else "there is no such minting"
        raise ConfigError("minting", minting_id, f"{problem}; `tagstitch links mintings` shows them")
    known = _read_row(rows[0])
    told = msgspec.structs.replace(
        known,
        sent=sent,
        sent_at_ms=sent_at_ms or known.sent_at_ms,
        version=max(known.version + 1, time.time_ns() // 1_000_000),
    )
    write_minting(client, told)
    return told


def _insert(client: StoreClient, found: Mapping[Path, Minting]) -> list[Path]:
    """Insert what was found and return which of it is in: one that the store refuses must not hold up the others.
    Raises StoreUnavailable."""
    try:
        insert_rows(client, TABLE, [_make_row(minting) for minting in found.values()])
        return list(found)
    except StoreUnavailable:
        raise
    except StoreError as error:
        if len(found) == 1:
            (path,) = found
            get_logger().error("the record of a minting is refused by the store", path=str(path), reason=str(error))
            return []
    return [path for one in found.items() for path in _insert(client, dict([one]))]


def _find_pending(data: Path, minting_id: str) -> Path:
    return data / FOLDER / f"{minting_id}.json"


def _make_row(minting: Minting) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(minting)
    return row | {name: row.pop(f"{name}_ms") / 1000 for name in _TIMES}


def _read_row(row: Mapping[str, Any]) -> Minting:
    values = dict(row) | {"links": tuple(row["links"]), "is_test": bool(row["is_test"])}
    return Minting(**values)
