"""A glance: the traits of a person for a page that asks who sits in front of it, in one small statement.

A page asks often and wants little. So whose a value is, the dictionary decides, as it does for `v_events`, and not the
map behind it: a glance follows the map as fast as `v_events` does. Of a browser whose people take turns nothing is
taken.
"""

from __future__ import annotations

from typing import Any

import msgspec

from collector.identity.evidence import LINKED
from collector.keyring import Keyring
from collector.profiles.definitions import Definitions
from collector.profiles.keys import ALWAYS, MAX_KEYS, Held
from collector.profiles.survivorship import Survivor, survive
from collector.profiles.traits import TRAITS, collect_said, decode_trait
from collector.store.client import StoreClient

_TIE = """dictGetOrDefault('{database}.identity', ('person_id', 'valid_from'), cityHash64({key}),
    ({key}, toDateTime64(0, 3, 'UTC')))"""
_SETTINGS = {"max_threads": 1}


class Glance(msgspec.Struct, frozen=True):
    """A person. `customer_id`: "" where none is known. `traits`: by name, in clear, declared or not."""

    person_id: str
    customer_id: str
    traits: dict[str, Survivor]

    def give(self, definitions: Definitions, level: int) -> dict[str, Any]:
        """Return the values that a page may have where it is so sure (0 to 4) who sits in front of it.

        What is not declared is given to nobody, nor what a page without signature has claimed.
        """
        return {
            name: survivor.said.value
            for name, survivor in self.traits.items()
            if definitions.is_declared(name)
            and definitions.find(name).min_assurance <= level
            and survivor.said.level >= LINKED
            and not survivor.said.is_closed
        }


_decode_person = msgspec.json.Decoder(tuple[str, str]).decode
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


def read_glance(client: StoreClient, keyring: Keyring, definitions: Definitions, key: str, *, now_ms: int) -> Glance:
    """Read the traits of the person whose an identifier is now. `key`: its own person id. Raises StoreError.

    Of somebody who is not known there are none.
    """
    params = {"space": definitions.space_id, "key": key, "now": now_ms}
    rows: dict[str, list[str]] = {"person": [], "trait": []}
    with client.stream(_make_sql(client.database), params, settings=_SETTINGS) as answer:
        for line in _decode_lines(b"".join(answer)):
            rows[line["part"]].append(line["row"])
    person_id, customer_id = _decode_person(rows["person"][0])
    values = [decode_trait(text) for text in rows["trait"]]
    held = {row.key: Held(row.key, "", "", ALWAYS) for row in values}
    said = collect_said(keyring, definitions.space_id, held, values)
    survivors = {name: survive(said[name], definitions.find(name)) for name in sorted(said)}
    return Glance(person_id, customer_id, {name: one for name, one in survivors.items() if one is not None})


def _make_sql(database: str) -> str:
    asked = _TIE.format(database=database, key="{key:UUID}")
    whose = _TIE.format(database=database, key="said.key")
    return f"""
    WITH
        fromUnixTimestamp64Milli({{now:Int64}}, 'UTC') AS now_at,
        (SELECT if(({asked} AS tie).2 <= now_at, tie.1, {{key:UUID}})) AS person,
        (SELECT groupUniqArray({MAX_KEYS})(key) FROM person_keys
            WHERE space_id = {{space:String}} AND person_id = person) AS known,
        arrayConcat([person, {{key:UUID}}], known) AS keys
    SELECT 'person' AS part, toJSONString((toString(person),
        dictGet('{database}.identity_customers', 'customer_id', cityHash64(person)))) AS row
    UNION ALL
    {TRAITS} AND ({whose} AS held).1 = person AND held.2 <= said.time
    """  # noqa: S608  the database's name is a setting
