"""What an audience would be, were it kept as it is configured now: judged by the same code, written nowhere."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from collector.audiences.compile import MAX_AT_ONCE, ask_sql_audience, judge_all, keep_allowed
from collector.audiences.configuration import AudienceConfig
from collector.audiences.everybody import list_members
from collector.audiences.people import NOBODY_SPECIAL, look_up
from collector.keyring import Keyring
from collector.profiles.definitions import TraitConfig
from collector.store.client import StoreClient

SAMPLE = 10
_WHATEVER = "whatever they consented to"
"""An audience beside the one that is asked for. No name of the configuration has spaces."""


class Sampled(msgspec.Struct, frozen=True):
    """Somebody of a sample. `customer_id`: "" where not known, a pseudonym where its kind is personal."""

    person_id: str
    customer_id: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of people. `judged`: how many were looked at; of a statement, whom it gave. `members`: how many would be
    in it; `without_consent`: how many more, had they granted its purpose. `standing`: how many are in it now; `enters`
    and `leaves`: who would be told of. `sample`: a few of the members, the same ones each time."""

    audience: str
    judged: int
    members: int
    without_consent: int
    standing: int
    enters: int
    leaves: int
    sample: tuple[Sampled, ...] = ()


def make_preview(
    client: StoreClient,
    reader: StoreClient,
    audience: AudienceConfig,
    *,
    keyring: Keyring,
    traits: Mapping[str, TraitConfig],
    now_ms: int | None = None,
    sample: int = SAMPLE,
    step: Callable[[int], None] = lambda _: None,
) -> Preview:
    """Judge everybody in one audience. `client`: a writer's; `reader`: asks the statement of one that has it. `step`
    hears of how many people have been judged since. Raises StoreError.

    It holds the ids of everybody judged and of all members, some 100 bytes each.
    """
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    judging = _ask_statement if audience.sql else _ask_rules
    judged, members, refused = 0, set[str](), 0
    for people, inside, beside in judging(client, reader, audience, keyring, traits, moment):
        judged += people
        members.update(inside)
        refused += beside
        step(people)
    standing = _list_standing(client, audience)
    chosen = heapq.nsmallest(sample, members)
    known = look_up(client, audience.space, chosen) if chosen else {}
    return Preview(
        audience=audience.name,
        judged=judged,
        members=len(members),
        without_consent=refused,
        standing=len(standing),
        enters=len(members - standing),
        leaves=len(standing - members),
        sample=tuple(Sampled(person, known.get(person, NOBODY_SPECIAL).customer_id) for person in chosen),
    )


def count_everybody(client: StoreClient, space_id: str) -> int:
    """Return about how many there are to judge, for a bar. Raises StoreError."""
    sql = "SELECT uniq(own_person_id) AS people FROM visitor_facts WHERE space_id = {space:String}"
    return int(next(iter(client.query_rows(sql, {"space": space_id})))["people"])


_Pieces = Iterator[tuple[int, Iterable[str], int]]


def _ask_rules(
    client: StoreClient,
    reader: StoreClient,
    audience: AudienceConfig,
    keyring: Keyring,
    traits: Mapping[str, TraitConfig],
    now_ms: int,
) -> _Pieces:
    asked = {audience.name: audience}
    if audience.purpose:
        asked[_WHATEVER] = msgspec.structs.replace(audience, name=_WHATEVER, purpose="")
    for judged in judge_all(client, asked, audience.space, now_ms=now_ms, keyring=keyring, traits=traits):
        inside = [person for person, names in judged.items() if audience.name in names]
        beside = sum(names == {_WHATEVER} for names in judged.values())
        yield len(judged), inside, beside


def _ask_statement(
    client: StoreClient,
    reader: StoreClient,
    audience: AudienceConfig,
    keyring: Keyring,
    traits: Mapping[str, TraitConfig],
    now_ms: int,
) -> _Pieces:
    given = ask_sql_audience(reader, audience)
    inside = keep_allowed(client, audience, given, now_ms=now_ms)
    free = msgspec.structs.replace(audience, purpose="")
    beside = len(keep_allowed(client, free, given - inside, now_ms=now_ms)) if audience.purpose else 0
    yield len(given), inside, beside


def _list_standing(client: StoreClient, audience: AudienceConfig) -> set[str]:
    pages = list_members(client, audience.space, audience.name, MAX_AT_ONCE)
    standing: set[str] = set()
    while (page := pages.read()) is not None:
        standing.update(page)
        pages.settle()
    return standing
