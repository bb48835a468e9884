"""A small language for identity tests: who did what, when; and who is who afterwards.

Names are short: visitors A, B, C …; customers K1, K2 …; e-mails E1 …; logins L1 …. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import NAMESPACE_OID, uuid5

import msgspec

from collector.event import NIL_ID
from collector.identity.evidence import REQUEST_CHARS, Evidence
from collector.identity.identifiers import own_person_id
from collector.identity.policy import DAY_MS, HOUR_MS, MINUTE_MS, Policy
from collector.identity.rekey import make_rekey
from collector.identity.resolve import Resolution, resolve
from collector.sites.book import IdentifierKind

NOW = 1_790_000_000_000
KINDS = (
    IdentifierKind("customer", unique=True, priority=0),
    IdentifierKind("login", unique=True, priority=5),
    IdentifierKind("email", unique=False, priority=10),
    IdentifierKind("phone", unique=False, priority=20),
)
POLICY = Policy(kinds=KINDS)
_KIND_BY_LETTER = {"K": "customer", "L": "login", "E": "email", "P": "phone"}


def days(count: float) -> int:
    """Return a moment so many days into the story."""
    return NOW + int(count * DAY_MS)


def hours(count: float) -> int:
    """Return a moment so many hours into the story."""
    return NOW + int(count * HOUR_MS)


def minutes(count: float) -> int:
    """Return a moment so many minutes into the story."""
    return NOW + int(count * MINUTE_MS)


def name_kind(name: str) -> str:
    """Return the kind of a short name."""
    return _KIND_BY_LETTER.get(name[0], "visitor")


def name_value(name: str) -> str:
    """Return the stored value of a short name."""
    return str(uuid5(NAMESPACE_OID, name)) if name_kind(name) == "visitor" else f"value-{name}"


def key(name: str) -> str:
    """Return the own person id of a short name."""
    return own_person_id("secret", "main", name_kind(name), name_value(name))


def uid(text: str) -> str:
    """Return a UUID for a text, always the same."""
    return str(uuid5(NAMESPACE_OID, text))


def tie(
    first: str,
    second: str,
    at: int,
    level: int = 3,
    *,
    kind: str = "identify",
    proof: str = "cookie",
    event: str = "",
    session: str = "",
    session_start: int = 0,
    token: str = "",
    human: str = "",
    op: int = 1,
    id: str = "",
    value: str | None = None,
    site: str = "shop",
) -> Evidence:
    """Make one piece of evidence. Equal arguments give an equal row."""
    event_id = uid(event or f"{first}|{at}|{kind}") if kind != "alias" else NIL_ID
    second_value = name_value(second) if value is None else value
    own = f"{event_id}|{first}|{second}|{level}|{at}|{kind}|{token}"
    return Evidence(
        # As the edge does it: all evidence of one request has the same first half.
        evidence_id=uid(id) if id else uid(f"request|{event_id}")[:REQUEST_CHARS] + uid(own)[REQUEST_CHARS:],
        kind=kind,
        level=level,
        a_kind=name_kind(first),
        a_value=name_value(first),
        a_key=key(first),
        b_kind=name_kind(second),
        b_value=second_value,
        b_key=key(second) if value is None else own_person_id("secret", "main", name_kind(second), second_value),
        b_unique=int(POLICY.is_unique(name_kind(second))),
        source="tag",
        proof=proof,
        time_ms=at,
        session_id=uid(session) if session else NIL_ID,
        session_started_ms=session_start,
        event_id=event_id,
        token_id=token,
        human=human,
        consent="analytics,identity",
        op=op,
        space_id="main",
        site_id=site,
    )


def sign_in(
    visitor: str, *names: str, at: int, level: int = 3, proof: str = "cookie", session: str = ""
) -> list[Evidence]:
    """A visitor signs in with keys, all in one request."""
    event = f"{visitor}|{at}|{'+'.join(names)}"
    return [tie(visitor, name, at, level, proof=proof, event=event, session=session) for name in names]


def click(
    visitor: str,
    name: str,
    at: int,
    *,
    token: str = "",
    session_start: int = 0,
    proof: str = "cookie",
    human: str = "pointer",
    level: int = 2,
) -> list[Evidence]:
    """A human comes to a visitor by a customer's tagged link."""
    return [
        tie(
            visitor,
            name,
            at,
            level,
            kind="link",
            proof=proof,
            token=token or f"token-{name}",
            session_start=session_start or at - MINUTE_MS,
            human=human,
        )
    ]


def hand_over(
    arriving: str,
    leaving: str,
    at: int,
    *,
    token: str = "",
    session_start: int = 0,
    proof: str = "script",
    site: str = "",
) -> list[Evidence]:
    """A visitor of one domain arrives at another, with a token of the first. `session_start`: of the one that left."""
    return [
        tie(
            arriving,
            leaving,
            at,
            2,
            kind="handover",
            proof=proof,
            token=token or f"token-{leaving}-{at}",
            session_start=session_start,
            site=site or "shop-b",
        )
    ]


def reset(new: str, old: str, at: int, *, proof: str = "cookie") -> list[Evidence]:
    """Somebody signs out: the tag goes on with a new visitor id (or with the same). `proof`: of the old one."""
    return [tie(new, old, at, 3, kind="reset", proof=proof)]


def disown(visitor: str, name: str, at: int, *, proof: str = "cookie") -> list[Evidence]:
    """Somebody says that they are not the customer whom a link has named."""
    return [tie(visitor, visitor, at, 1, kind="disown", proof=proof, token=key(name))]


def alias(first: str, second: str, at: int, *, level: int = 4, id: str = "") -> list[Evidence]:
    """The organisation says that two identifiers are one person."""
    return [tie(first, second, at, level, kind="alias", proof="server", id=id)]


def rekey(first: str, second: str, at: int) -> list[Evidence]:
    """The edge holds two keys for one value: both names are the same identifier."""
    made = make_rekey(
        next(kind for kind in KINDS if kind.name == name_kind(first)),
        (name_value(first), key(first)),
        (name_value(second), key(second)),
        at_ms=at,
    )
    return [Evidence(**msgspec.structs.asdict(made), space_id="main", site_id="shop")]


def take_back(rows: Iterable[Evidence]) -> list[Evidence]:
    """Make the retraction of evidence."""
    return [Evidence(**{n: getattr(r, n) for n in Evidence.__struct_fields__} | {"op": -1}) for r in rows]


class People:
    """Who is who, read as the views read it."""

    def __init__(self, *logs: Iterable[Evidence], policy: Policy = POLICY, fused: Iterable[str] = ()) -> None:
        self.evidence = [row for log in logs for row in log]
        self.resolution: Resolution = resolve(self.evidence, policy, fused)
        self._map = {row.key: row for row in self.resolution.map_rows}

    def who(self, visitor: str, at: int, proof: str = "cookie") -> str:
        """Return the short-hand of the customer that the visitor's event at this time has: its id's name, or "".

        A `?` behind it: provisional. `proof`: of the visitor in that event.
        """
        row = self._map.get(key(visitor))
        if row is None or at < row.valid_from_ms:
            return ""
        found = row
        if row.several:
            spans = [
                s
                for s in self.resolution.intervals
                if s.key == row.key and s.valid_from_ms <= at and (s.valid_to_ms is None or at < s.valid_to_ms)
            ]
            assert len(spans) <= 1, "intervals of one visitor overlap"
            if not spans:
                return ""
            found = spans[0]
        if proof != "script" and not found.proved:
            return ""
        return found.customer_id.removeprefix("value-") + ("?" if found.provisional else "")

    def person(self, name: str, at: int | None = None, proof: str = "cookie") -> str:
        """Return the person id of an identifier, at a time."""
        row = self._map.get(key(name))
        if row is None or (at is not None and at < row.valid_from_ms):
            return key(name)
        if row.several and at is not None:
            for span in self.resolution.intervals:
                if span.key == row.key and span.valid_from_ms <= at < (span.valid_to_ms or at + 1):
                    return span.person_id if span.proved or proof == "script" else key(name)
            return key(name)
        return row.person_id

    def are_one(self, first: str, second: str) -> bool:
        """Whether two identifiers are one person's."""
        return self.person(first) == self.person(second)

    @property
    def refused(self) -> list[str]:
        """The guards' reasons, in order."""
        return sorted(entry.reason for entry in self.resolution.guards)

    @property
    def merged(self) -> list[str]:
        """The words of the merge log, in order."""
        return sorted(entry.reason for entry in self.resolution.merges)
