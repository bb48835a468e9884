"""Who is in which audience: the rules of all audiences of a space as one statement about a list of people, after one
that says what is theirs; and audiences that are a statement themselves.

    judge(client, audiences, "main", person_ids, now_ms=…)    {person id: names of the audiences}
    judge_all(client, audiences, "main", now_ms=…)            the same page by page, of everybody
    run_sql_audience(reader, audience)                        person ids, with a reader's rights

`make_judge` binds what sealed and declared traits need. Nothing is written here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from uuid import UUID

import msgspec

from collector.audiences.configuration import AudienceConfig
from collector.audiences.everybody import Everybody
from collector.audiences.holding import find_places, is_in
from collector.audiences.known import Material
from collector.audiences.rules import EventRule
from collector.audiences.statement import MAX_KEYS, MAX_WORDS, PARTS, SETTINGS, Plan, make_plan, make_statement
from collector.audiences.ties import Bonds, find_cuts, read_bonds
from collector.errors import StoreError, StoreUnavailable
from collector.keyring import Keyring, make_keyring
from collector.profiles.definitions import Definitions, TraitConfig
from collector.store.client import StoreClient

MAX_AT_ONCE = 2_000
"""39 bytes each; a server takes 128 KiB in one field of a form."""
MAX_SQL_ROWS = 5_000_000
PERSON = "person_id"
NOBODY = frozenset[str]()
_QUOTES_DATA = frozenset({6, 26, 27, 33, 38, 41, 69, 70, 72, 117, 321, 349, 376, 395, 467, 675, 676})
"""Refusals of values (CANNOT_PARSE_… and the like), whose text holds the value: for no log."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Judged = dict[str, frozenset[str]]

_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class AudienceSqlError(StoreError):
    """The statement of an audience gives no list of people. Names the audience, cause and fix."""


def judge(
    client: StoreClient,
    audiences: Mapping[str, AudienceConfig],
    space_id: str,
    person_ids: Collection[str],
    *,
    now_ms: int,
    keyring: Keyring | None = None,
    traits: Mapping[str, TraitConfig] | None = None,
) -> Judged:
    """Return in which of the audiences with rules each of these people is, by what is known now.

    Audiences of other spaces, and those by `sql`, are nobody's here. Who is part of somebody else now, unknown, erased
    or restricted is in none. `person_ids`: at most MAX_AT_ONCE; `traits`: as declared, by name; `keyring`: without one
    sealed values are not looked into. Raises StoreError, ValueError for too many people.
    """
    if len(person_ids) > MAX_AT_ONCE:
        raise ValueError(f"at most {MAX_AT_ONCE:,} people are judged at once")
    found = dict.fromkeys(person_ids, NOBODY)
    chosen = [one for one in audiences.values() if one.space == space_id and not one.sql]
    if not found or not chosen:
        return found
    definitions = Definitions(traits or {}, space_id)
    opening = keyring or _stranger()
    people = read_bonds(client, space_id, list(found))
    for part in _cut(chosen):
        plan = make_plan(part)
        material = _read(client, plan, space_id, people.values(), now_ms)
        places = find_places(plan)
        for person_id, bonds in people.items():
            known = material.find(person_id, bonds, opening, definitions, now_ms)
            if known is not None:
                found[person_id] |= {one.name for one in part if is_in(one, known, places, now_ms)}
    return found


def judge_all(
    client: StoreClient,
    audiences: Mapping[str, AudienceConfig],
    space_id: str,
    *,
    now_ms: int,
    keyring: Keyring | None = None,
    traits: Mapping[str, TraitConfig] | None = None,
) -> Iterator[Judged]:
    """As `judge`, of everybody in a space, page by page; each person once, whose ids it holds: some 100 bytes each.
    Raises StoreError."""
    everybody = Everybody(client, space_id)
    done: set[int] = set()
    while (people := everybody.read()) is not None:
        page = sorted(person for person in people if UUID(person).int not in done)
        done.update(UUID(person).int for person in page)
        for start in range(0, len(page), MAX_AT_ONCE):
            part = page[start : start + MAX_AT_ONCE]
            yield judge(client, audiences, space_id, part, now_ms=now_ms, keyring=keyring, traits=traits)
        everybody.settle()


def make_judge(keyring: Keyring, traits: Mapping[str, TraitConfig]) -> Callable[..., Judged]:
    """Return `judge` with what it needs to look into sealed values, and to know whom to believe."""
    return partial(judge, keyring=keyring, traits=traits)


def ask_sql_audience(reader: StoreClient, audience: AudienceConfig, *, most: int = MAX_SQL_ROWS) -> set[str]:
    """Return the person ids that the statement of an audience gives, asked with a reader's rights and bounds.

    Raises AudienceSqlError where the statement is refused, gives no UUID as `person_id`, or more than `most` people;
    StoreUnavailable.
    """
    sql = f"SELECT DISTINCT toString({PERSON}) AS id FROM (\n{audience.sql}\n) LIMIT {most + 1:d}"  # noqa: S608
    people: set[str] = set()
    try:
        with reader.stream(sql) as answer:
            for lines in _take_lines(answer):
                people.update(line["id"] for line in _decode_lines(lines))
    except StoreUnavailable:
        raise
    except StoreError as error:
        reason = f"cannot make of a value what it asks for (code {error.code}): write toUUIDOrNull and the like"
        raise _explain(audience, reason if error.code in _QUOTES_DATA else str(error), error.code) from None
    except msgspec.ValidationError:
        raise _explain(audience, f"{PERSON} is NULL in a row: leave such rows out") from None
    if len(people) > most:
        raise _explain(audience, f"gives more than {most:,} people: ask for fewer")
    if any(not _UUID.fullmatch(person) for person in people):
        raise _explain(audience, f"{PERSON} must be a person's id, as v_events and the other views have it")
    return people


def keep_allowed(client: StoreClient, audience: AudienceConfig, people: Iterable[str], *, now_ms: int) -> set[str]:
    """Return those people who may be in an audience by `sql`: less who have not granted its purpose, are part of
    somebody else, unknown in its space, erased or restricted. `client`: a writer's. Raises StoreError."""
    asked = {audience.name: msgspec.structs.replace(audience, sql="")}
    ordered = sorted(people, key=lambda person: person[19:])
    kept: set[str] = set()
    for start in range(0, len(ordered), MAX_AT_ONCE):
        judged = judge(client, asked, audience.space, ordered[start : start + MAX_AT_ONCE], now_ms=now_ms)
        kept.update(person for person, names in judged.items() if names)
    return kept


def run_sql_audience(reader: StoreClient, audience: AudienceConfig, *, checking: StoreClient) -> set[str]:
    """Return who is in an audience by `sql` now: what it gives, less who may not be. Raises as the two above."""
    people = ask_sql_audience(reader, audience)
    return keep_allowed(checking, audience, people, now_ms=time.time_ns() // 1_000_000)


def _take_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Return an answer in pieces that end where lines do."""
    rest = b""
    for piece in pieces:
        lines, end, rest = (rest + piece).rpartition(b"\n")
        yield lines + end
    yield rest


def _explain(audience: AudienceConfig, reason: str, code: int = 0) -> AudienceSqlError:
    return AudienceSqlError(f"audiences.{audience.name}.sql: {reason}", code)


@cache
def _stranger() -> Keyring:
    """Return secrets that open nothing."""
    return make_keyring()


def _read(client: StoreClient, plan: Plan, space_id: str, people: Iterable[Bonds], now_ms: int) -> Material:
    chosen = list(people)
    cuts = find_cuts(chosen)
    # In the order of the tables, so that each statement reads another part of them.
    keys = sorted({key for bonds in chosen for key in bonds.held}, key=lambda key: key[19:])
    rows: dict[str, list[str]] = {part: [] for part in PARTS}
    for start in range(0, len(keys), MAX_KEYS):
        sql, params = make_statement(plan, space_id, keys[start : start + MAX_KEYS], cuts, now_ms=now_ms)
        with client.stream(sql, params, settings=SETTINGS) as answer:
            for line in _decode_lines(b"".join(answer)):
                rows[line["part"]].append(line["row"])
    return Material(plan, cuts, rows)


def _cut(audiences: Iterable[AudienceConfig]) -> list[list[AudienceConfig]]:
    """Return audiences in parts, each of which one statement can count for."""
    parts: list[list[AudienceConfig]] = []
    left = 0
    for audience in audiences:
        words = sum(1 + (len(rule.where) if isinstance(rule, EventRule) else 0) for rule in audience.rules)
        if not parts or words > left:
            parts.append([])
            left = MAX_WORDS
        left -= words
        parts[-1].append(audience)
    return parts
