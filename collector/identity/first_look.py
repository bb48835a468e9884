"""The first look at new evidence: which of the keys that it names must be resolved again, and which may be left.

Reads little of each visitor and nothing of what hangs on it; `settled` judges. Imports pyarrow: only stitch imports
this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from collector.identity.columns import to_bytes
from collector.identity.component_columns import BESIDE, FIELDS_OF_KEYS, read_parts, to_key_text
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.names import expand_names
from collector.identity.settled import Held, Seen, find_settled
from collector.store.client import StoreClient

LEAST_KEYS = 100
"""With fewer, three questions more cost as much as resolving all of them."""

_NEWS = """
    SELECT DISTINCT space_id, a_kind, a_key, b_key, kind = 'block' AS is_block
    FROM identity_evidence
    WHERE batch_host = {host:String} AND batch_seq BETWEEN {first:UInt64} AND {last:UInt64}
        AND (level >= 2 OR kind = 'reset' OR op < 0)
"""
_SEEN = f"""
    SELECT evidence.a_key AS visitor, kind, level, b_kind, b_key, proof, toUnixTimestamp64Milli(time) AS time_ms,
        event_id, token_id != '' AS has_token, op, indexOf({{hosts:Array(String)}}, batch_host) AS place,
        multiIf(
            batch_seq > arrayElement({{lasts:Array(UInt64)}}, place), 2,
            batch_seq > arrayElement({{dones:Array(UInt64)}}, place), 1, 0) AS age
    FROM identity_evidence AS evidence
    WHERE space_id = {{space:String}} AND (level >= 2 OR kind = 'reset' OR op < 0)
        AND evidence.a_key IN {FIELDS_OF_KEYS}
"""  # noqa: S608  our own words
_TIED = f"""
    SELECT DISTINCT b_key FROM identity_pairs WHERE space_id = {{space:String}} AND b_key IN {FIELDS_OF_KEYS}
"""  # noqa: S608  our own words
_HELD = f"""
    SELECT key, person_id, several = 0 AND provisional = 0 AND proved = 1 AS is_plain
    FROM identity_map FINAL
    WHERE space_id = {{space:String}} AND key IN {FIELDS_OF_KEYS}
"""  # noqa: S608  our own words


def read_news(client: StoreClient, done: Mapping[str, int], position: Mapping[str, int]) -> dict[str, pa.Table]:
    """Return which identifiers the evidence of new batches names together, by space: `a_kind`, `a_key`, `b_key`;
    `is_block`: 1 where an identifier was blocked or let go.

    `done`, `position`: the last number by host, before and now.
    """
    tables = [
        client.read_columns(_NEWS, {"host": host, "first": done.get(host, 0) + 1, "last": last})
        for host, last in position.items()
        if done.get(host, 0) < last
    ]
    if not tables:
        return {}
    news = pa.concat_tables(tables).unify_dictionaries()
    spaces = pc.unique(news["space_id"].cast(pa.string())).to_pylist()
    return {space: news.filter(pc.equal(news["space_id"], space)).drop_columns("space_id") for space in spaces}


def find_touched(news: pa.Table) -> set[bytes]:
    """Return all keys that news name."""
    return {*news["a_key"].to_pylist(), *news["b_key"].to_pylist()}


def find_beside_blocked(client: StoreClient, space_id: str, news: pa.Table) -> set[bytes]:
    """Return whom evidence names together with identifiers that were blocked or let go.

    Who was shared by too many may not be without these. It has no rows then by which it would be found.
    """
    keys = news.filter(pc.equal(news["is_block"], 1))["a_key"].to_pylist()
    if not keys:
        return set()
    names = expand_names(client, space_id, map(to_key_text, keys))
    return set(read_parts(client, BESIDE, map(to_bytes, names), {"space": space_id})["a_key"].to_pylist())


def leave_settled(
    client: StoreClient, space_id: str, news: pa.Table, done: Mapping[str, int], position: Mapping[str, int]
) -> set[bytes]:
    """Return the keys that news name, without those for which all new evidence is of settled visitors."""
    pairs = list(zip(*(news[name].to_pylist() for name in ("a_kind", "a_key", "b_key")), strict=True))
    visitors = {a_key for a_kind, a_key, _ in pairs if a_kind == VISITOR_KIND}
    hosts = sorted(position)
    params: dict[str, Any] = {
        "space": space_id,
        "hosts": hosts or [""],
        "lasts": [position[host] for host in hosts] or [0],
        "dones": [done.get(host, 0) for host in hosts] or [0],
    }
    rows = read_parts(client, _SEEN, visitors, params)
    seen = [Seen(*cells) for cells in zip(*(rows[name].to_pylist() for name in Seen._fields), strict=True)]
    tied = set(read_parts(client, _TIED, visitors, {"space": space_id})["b_key"].to_pylist())
    # Nobody else needs a look at the map: a visitor with a sign-out, a link or no past is not settled in any case.
    keys = {row.visitor for row in seen if not row.age} | {row.b_key for row in seen}
    map_rows = read_parts(client, _HELD, keys, {"space": space_id})
    cells = zip(*(map_rows[name].to_pylist() for name in ("key", "person_id", "is_plain")), strict=True)
    held = {key: Held(person, bool(is_plain)) for key, person, is_plain in cells}
    settled = find_settled(seen, tied, held)
    return {key for _, a_key, b_key in pairs if a_key not in settled for key in (a_key, b_key)}
