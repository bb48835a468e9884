"""What the choice of an offer needs to know of people, as parts of the statement by which a page's glance is read.

Only what the configuration asks for is read: without audiences for pages and without offers there is no part. Whose an
exposure or a word on consent is, the dictionary says, as for traits (see `collector.profiles.glance`); of a browser
whose people take turns an exposure is whoever's turn it was, as in `v_offer_exposures`.

Consent has two sides. What the browser was told its signed cookie says (`accept.answers`). What the person has refused
or taken back by a link or a list, the ledger holds, as in `v_consents`; it is read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collector.purposes import BY_PERSON

MEMBER, SEEN, REFUSED = "member", "seen", "refused"
PARTS = (MEMBER, SEEN, REFUSED)


class Wanted(msgspec.Struct, frozen=True):
    """What is to be known of people. `windows_ms`: by offer with a cap, how far back it counts."""

    audiences: tuple[str, ...] = ()
    windows_ms: Mapping[str, int] = {}
    with_consent: bool = False


class Known(msgspec.Struct, frozen=True):
    """What is known of a person.

    `audiences`: those that a person is in, and since when, in milliseconds since 1970. `seen`: how often each offer
    with a cap came into their view within its days, shown or held out. `refused`: purposes that they have refused or
    taken back.
    """

    audiences: Mapping[str, int] = {}
    seen: Mapping[str, int] = {}
    refused: frozenset[str] = frozenset()


NOTHING = Wanted()
UNKNOWN = Known()

_decode_member = msgspec.json.Decoder(tuple[str, str, int, int], strict=False).decode
_decode_seen = msgspec.json.Decoder(tuple[str, str, int], strict=False).decode
_decode_words = msgspec.json.Decoder(tuple[str, str]).decode


def make_parts(database: str, wanted: Wanted, keys: str, people: str) -> list[str]:
    """Return further parts of a glance's statement. `keys`: a subquery of the identifiers of all who are asked for,
    `people`: an expression, the array of their person ids."""
    parts = []
    if wanted.audiences:
        parts.append(f"""
        SELECT '{MEMBER}' AS part, toJSONString((person_id, audience, argMax(is_member, version),
            toUnixTimestamp64Milli(argMax(since, version)))) AS row
        FROM audience_members AS member
        WHERE space_id = {{space:String}} AND member.person_id IN (SELECT arrayJoin({people}))
            AND audience IN {{audiences:Array(String)}}
        GROUP BY person_id, audience""")  # noqa: S608  our own words
    if wanted.windows_ms:
        parts.append(f"""
        SELECT '{SEEN}' AS part, toJSONString(({_whose_now(database, "seen.own_person_id", "time")} AS whose, offer,
            uniqExact(event_id))) AS row
        FROM offer_exposures AS seen
        WHERE space_id = {{space:String}} AND seen.own_person_id IN ({keys})
            AND time >= fromUnixTimestamp64Milli({{capped_from:Int64}}, 'UTC')
            AND toUnixTimestamp64Milli(time) >=
                transform(toString(offer), {{capped:Array(String)}}, {{capped_since:Array(Int64)}}, {{never:Int64}})
            AND action IN ('shown', 'held_out') AND is_bot = 0
        GROUP BY whose, offer""")  # noqa: S608  the same
    if wanted.with_consent:
        said = "(state, source)", "(time, received_at, state != 'granted', consent_id)"
        parts += [
            f"""
        SELECT '{REFUSED}' AS part, toJSONString(({_whose(database, "entry.key")} AS whose, purpose)) AS row
        FROM consent_ledger AS entry
        WHERE space_id = {{space:String}} AND entry.key IN ({keys}) AND {BY_PERSON}
        GROUP BY whose, purpose
        HAVING argMax({said[0]}, {said[1]}).1 != 'granted'
            OR argMaxIf({said[0]}, {said[1]}, source != 'list').1 = 'withdrawn'""",  # noqa: S608  the same
        ]
    return parts


def bind(wanted: Wanted, now_ms: int) -> dict[str, Any]:
    """Return the parameters of `make_parts`."""
    params: dict[str, Any] = {"audiences": list(wanted.audiences)} if wanted.audiences else {}
    if wanted.windows_ms:
        since = [now_ms - window_ms for window_ms in wanted.windows_ms.values()]
        params["capped"], params["capped_since"], params["capped_from"] = list(wanted.windows_ms), since, min(since)
        params["never"] = 2**62
    return params


def collect(rows: Mapping[str, Iterable[str]]) -> dict[str, Known]:
    """Return what is known, by person id and by identifier. `rows`: by part."""
    audiences: defaultdict[str, dict[str, int]] = defaultdict(dict)
    seen: defaultdict[str, dict[str, int]] = defaultdict(dict)
    refused: defaultdict[str, set[str]] = defaultdict(set)
    for person_id, audience, is_member, since_ms in map(_decode_member, rows.get(MEMBER, ())):
        if is_member:
            audiences[person_id][audience] = since_ms
    for person_id, offer, times in map(_decode_seen, rows.get(SEEN, ())):
        seen[person_id][offer] = times
    for person_id, purpose in map(_decode_words, rows.get(REFUSED, ())):
        refused[person_id].add(purpose)
    return {
        one: Known(audiences.get(one, {}), seen.get(one, {}), frozenset(refused.get(one, ())))
        for one in {*audiences, *seen, *refused}
    }


def _whose(database: str, key: str) -> str:
    return f"dictGetOrDefault('{database}.identity', 'person_id', cityHash64({key}), {key})"


def _whose_now(database: str, key: str, time: str) -> str:
    """As `v_offer_exposures` says it."""
    since = f"dictGet('{database}.identity', 'valid_from', cityHash64({key}))"
    turns = f"'{database}.identity_intervals_dict'"
    is_turn = f"(visitor_proof = 'script' OR dictGet({turns}, 'proved', cityHash64({key}), {time}) = 1)"
    in_turn = f"dictGetOrDefault({turns}, 'person_id', cityHash64({key}), {time}, {key})"
    shared = f"{since} = toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AND {is_turn}"
    return f"if({since} <= {time}, {_whose(database, key)}, if({shared}, {in_turn}, {key}))"
