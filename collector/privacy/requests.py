"""Requests of people about their data: what was asked for, until when it must be answered, and what became of it.

    waiting ─► open ─► running ─► done
       └─► refused        └─► open (begins again)   └─► failed

A request is a row with versions. Whom it is about stands in it until it has been carried out, in the words in which it
was asked; then those words are removed from the disk, earlier versions included.

Deadline: one month, see Article 12(3) GDPR; 45 days where the law is California's, see Cal. Civ. Code 1798.130(a)(2).
"""

from __future__ import annotations

from typing import Any

import msgspec

from collector.errors import PrivacyError, PrivacyReason
from collector.privacy.store_files import wait_for_files
from collector.privacy.subjects import Subject
from collector.privacy.traces import Names
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

COMMAND, PAGE = "command", "page"
"""By which way a request came: a command was given, or the person has asked on our page."""

PERSON = "person"
"""Who has asked on our page."""

WAITING, OPEN, RUNNING, DONE, REFUSED, FAILED = "waiting", "open", "running", "done", "refused", "failed"
STATES = (WAITING, OPEN, RUNNING, DONE, REFUSED, FAILED)
ERASE, ANONYMISE, EXPORT, CORRECT = "erase", "anonymise", "export", "correct"
RESTRICT, UNRESTRICT, OBJECT = "restrict", "unrestrict", "object"
LINK = "link"
"""A confirmation link is to be sent to somebody who wants to see what is held, and has not proved who they are."""
KINDS = (ERASE, ANONYMISE, EXPORT, CORRECT, RESTRICT, UNRESTRICT, OBJECT, LINK)
DAY_MS = 86_400_000
DUE_DAYS = 30
"""Never more than the shortest month, so that it is kept in each."""
MAX_LISTED = 1_000

_COLUMNS = """
SELECT toString(asked.request_id) AS request_id, kind, state, toUnixTimestamp64Milli(requested_at) AS requested_at_ms,
    toUnixTimestamp64Milli(due_at) AS due_at_ms, people, subjects, actor, approved_by, via, step, reason,
    toUnixTimestamp64Milli(changed_at) AS changed_at_ms, certificate, version
FROM data_requests AS asked FINAL
WHERE space_id = {space:String}
"""


class Asked(msgspec.Struct, frozen=True):
    """Whom and what: names as `find_identifier` takes them, and what else the kind needs.

    Of an erasure that has begun also whom they named then, what else names these on a disk, and what there was: once
    tombstones stand, the same names are somebody new's.
    """

    names: tuple[str, ...] = ()
    values: dict[str, Any] = {}  # of an objection: purposes; of a correction that waits: traits; of a link: page
    found: tuple[Subject, ...] = ()
    traces: Names | None = None
    counted: dict[str, tuple[int, int]] = {}


class DataRequest(msgspec.Struct, frozen=True):
    """One request. Times in milliseconds since 1970. `subjects`: an Asked as JSON, "" when it has been carried out."""

    request_id: str
    kind: str
    state: str
    requested_at_ms: int
    due_at_ms: int
    actor: str
    via: str
    people: int = 0
    subjects: str = ""
    approved_by: str = ""
    step: str = ""
    reason: str = ""
    changed_at_ms: int = 0
    certificate: str = ""
    version: int = 1

    @property
    def asked(self) -> Asked:
        """Whom it is about. Raises PrivacyError where that was removed."""
        if not self.subjects:
            raise PrivacyError(PrivacyReason.CONFLICT, "this request has been carried out: it names nobody any more")
        return msgspec.json.decode(self.subjects, type=Asked)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in (DONE, REFUSED)

    def count_days_left(self, now_ms: int) -> int:
        """Return in how many days it must be answered; negative: it is late."""
        return (self.due_at_ms - now_ms) // DAY_MS


def write_request(client: StoreClient, space_id: str, request: DataRequest) -> None:
    """Write a version of a request. Raises StoreError."""
    fields = msgspec.structs.asdict(request)
    times = {name.removesuffix("_ms"): fields.pop(name) / 1000 for name in list(fields) if name.endswith("_ms")}
    insert_rows(client, "data_requests", [{**fields, **times, "space_id": space_id}])


def change_request(client: StoreClient, space_id: str, request: DataRequest, now_ms: int, **fields: Any) -> DataRequest:
    """Write the next version of a request with these fields, and return it. Raises StoreError."""
    changed = msgspec.structs.replace(request, **fields, changed_at_ms=now_ms, version=request.version + 1)
    write_request(client, space_id, changed)
    return changed


def read_request(client: StoreClient, space_id: str, request_id: str) -> DataRequest:
    """Return a request. Raises PrivacyError where there is none, StoreError."""
    rows = client.query_rows(
        _COLUMNS + " AND asked.request_id = {request:UUID}", {"space": space_id, "request": request_id}
    )
    if not rows:
        raise PrivacyError(PrivacyReason.UNKNOWN, "there is no such request: `tagstitch privacy requests` lists them")
    return msgspec.convert(rows[0], DataRequest)


def list_requests(
    client: StoreClient, space_id: str, *, states: tuple[str, ...] = (), most: int = 100
) -> list[DataRequest]:
    """Return requests, those first that are due first. Raises StoreError."""
    sql = (
        _COLUMNS
        + " AND ({any:UInt8} OR state IN {states:Array(String)}) ORDER BY due_at, asked.request_id LIMIT {most:UInt32}"
    )
    params = {"space": space_id, "any": int(not states), "states": list(states), "most": min(most, MAX_LISTED)}
    return [msgspec.convert(row, DataRequest) for row in client.query_rows(sql, params)]


def list_open(client: StoreClient) -> list[tuple[str, DataRequest]]:
    """Return the erasures of all spaces that wait to be carried out, with their spaces, the oldest first.

    Raises StoreError."""
    rows = client.query_rows(
        "SELECT space_id, toString(request_id) AS request_id FROM data_requests FINAL"
        " WHERE state IN {states:Array(String)} AND kind IN {kinds:Array(String)} ORDER BY requested_at",
        {"states": [OPEN, RUNNING], "kinds": [ERASE, ANONYMISE]},
    )
    return [(row["space_id"], read_request(client, row["space_id"], row["request_id"])) for row in rows]


def list_spaces(client: StoreClient, kind: str) -> list[str]:
    """Return the spaces that have requests of a kind which are not over. Raises StoreError."""
    rows = client.query_rows(
        "SELECT DISTINCT space_id FROM data_requests FINAL WHERE kind = {kind:String} AND state = {running:String}",
        {"kind": kind, "running": RUNNING},
    )
    return sorted(row["space_id"] for row in rows)


def count_requests(client: StoreClient, now_ms: int) -> tuple[int, int]:
    """Return how many requests wait to be answered, and how many of them are late. Raises StoreError."""
    row = client.query_rows(
        "SELECT count() AS waiting, countIf(due_at < fromUnixTimestamp64Milli({now:Int64})) AS late"
        " FROM data_requests FINAL WHERE state NOT IN {over:Array(String)}",
        {"now": now_ms, "over": [DONE, REFUSED]},
    )[0]
    return int(row["waiting"]), int(row["late"])


def forget_subjects(client: StoreClient, space_id: str, request: DataRequest) -> None:
    """Remove from the disk in which words a request named whom it is about: all versions but the last.

    The caller has written the last one, without them. Raises StoreError.
    """
    on_cluster = f" ON CLUSTER `{client.cluster}`" if client.cluster else ""
    client.command(
        f"ALTER TABLE data_requests{on_cluster} DELETE WHERE space_id = {{space:String}}"
        " AND request_id = {request:UUID} AND version < {version:UInt64}",
        {"space": space_id, "request": request.request_id, "version": request.version},
        {"mutations_sync": 2},
    )
    wait_for_files(client, ["data_requests"])
