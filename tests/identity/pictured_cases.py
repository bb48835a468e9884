"""The stories of docs/identity.md's pictures: what happens in each, as evidence. What comes of it, `resolve` says.

A story has lanes (visitors; `server` for who speaks without one) and marks on them, at hours from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector.identity.evidence import Evidence
from tests.identity.story import alias, click, hand_over, hours, reset, sign_in, take_back, tie

SERVER = "server"
LAST_H = 12.0


@dataclass(frozen=True)
class Mark:
    """Something that happens: a page that is looked at where nothing is said, else what is said, as evidence.

    `origin`: the lane from which a hand-over or a sign-out came.
    """

    lane: str
    at_h: float
    text: str = ""
    evidence: tuple[Evidence, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Story:
    """One picture. `number`: of the classic case, "" for others. `sentence`: what is to be seen, for who cannot."""

    name: str
    number: str
    title: str
    sentence: str
    lanes: tuple[str, ...]
    marks: tuple[Mark, ...]


def _pages(lane: str, *at_h: float) -> tuple[Mark, ...]:
    return tuple(Mark(lane, hour) for hour in at_h)


def _sign(lane: str, at_h: float, *names: str, proof: str = "cookie") -> Mark:
    rows = sign_in(lane, *names, at=hours(at_h), session=f"{lane}{at_h}", proof=proof)
    return Mark(lane, at_h, "signs in: " + " + ".join(names), tuple(rows))


def _click(lane: str, at_h: float, name: str, text: str) -> Mark:
    rows = click(lane, name, hours(at_h), session_start=hours(at_h - 0.5))
    return Mark(lane, at_h, text, tuple(rows))


def _server(at_h: float, text: str, *evidence: Evidence) -> Mark:
    return Mark(SERVER, at_h, text, evidence)


def _cross(to: str, origin: str, at_h: float) -> Mark:
    rows = hand_over(to, origin, hours(at_h), session_start=hours(1))
    return Mark(to, at_h, "opens by hand-over", tuple(rows), origin)


_APART = (_sign("A", 2, "K1"), _sign("B", 4, "K2"))
_MERGE = alias("K1", "K2", hours(8))

STORIES = (
    Story(
        "case-1",
        "1",
        "A new anonymous visitor",
        "Visitor A looks at pages and says nothing: a person of its own, without a key.",
        ("A",),
        _pages("A", 1, 3, 4, 8),
    ),
    Story(
        "case-2",
        "2",
        "A new visitor gives a key that nobody has",
        "A signs in as customer K1: all of A is K1's, the pages before the sign-in included.",
        ("A",),
        (*_pages("A", 1, 3, 9), _sign("A", 6, "K1")),
    ),
    Story(
        "case-3",
        "3",
        "The same human phones: a key without a visitor",
        "The call centre names customer K1 and no visitor: a second person; visitor A stays apart.",
        ("A", SERVER),
        (
            *_pages("A", 1, 3, 9),
            _server(6, "call centre: K1", tie("K1", "K1", hours(6), 4, kind="server", proof="server")),
        ),
    ),
    Story(
        "case-4",
        "4",
        "An anonymous visitor gives an e-mail that has an owner",
        "E1 is K1's since A signed in with both. B signs in with E1 and joins K1, its history included.",
        ("A", "B"),
        (_sign("A", 2, "K1", "E1"), *_pages("B", 3, 5), _sign("B", 8, "E1"), *_pages("B", 10)),
    ),
    Story(
        "case-5",
        "5",
        "A known customer gives a further key",
        "A is K1's and signs in with E1 later: E1 is K1's as well.",
        ("A",),
        (*_pages("A", 1, 10), _sign("A", 3, "K1"), _sign("A", 7, "E1")),
    ),
    Story(
        "case-6",
        "6",
        "Another value of a unique key: a switch",
        "K2 signs in on K1's browser: from then on it is K2's; what came before stays K1's. No merge.",
        ("A",),
        (*_pages("A", 1, 5, 10), _sign("A", 3, "K1"), _sign("A", 7, "K2")),
    ),
    Story(
        "case-7",
        "7",
        "Several keys in one request",
        "Customer, login, e-mail and phone in one sign-in are tied at once.",
        ("A",),
        (*_pages("A", 2, 9), _sign("A", 5, "K1", "L1", "E1", "P1")),
    ),
    Story(
        "case-8",
        "8",
        "Keys of two people in one request, signed",
        "C gives K1's e-mail and K2's phone: no merge. C is K1's, who owns the stronger key; the guard's log has it.",
        ("A", "B", "C"),
        (
            _sign("A", 2, "K1", "E1"),
            _sign("B", 4, "K2", "P2"),
            *_pages("C", 3, 10),
            _sign("C", 7, "E1", "P2"),
        ),
    ),
    Story(
        "case-8-server",
        "8",
        "The same from a server that names two unique keys",
        "Level 4 names customer K1 and login L2 of visitor C: K1 and L2 are one person. C is hers from that word on.",
        ("A", "B", "C"),
        (
            _sign("A", 2, "K1"),
            _sign("B", 4, "L2"),
            *_pages("C", 5, 10),
            Mark("C", 7, "server says: K1 + L2", tuple(sign_in("C", "K1", "L2", at=hours(7), level=4, proof="server"))),
        ),
    ),
    Story(
        "case-9",
        "9",
        "A new value of a unique key, with the other's e-mail",
        "K2 signs in on K1's browser and gives K1's e-mail: the browser is K2's from then on, the e-mail stays K1's.",
        ("A",),
        (*_pages("A", 1, 5, 10), _sign("A", 3, "K1", "E1"), _sign("A", 7, "K2", "E1")),
    ),
    Story(
        "case-10",
        "10",
        "An anonymous app opens the mobile site",
        "App install B hands over to web visitor A: two ids, one person, nobody's customer.",
        ("A", "B"),
        (*_pages("B", 1, 3), _cross("A", "B", 6), *_pages("A", 8, 10)),
    ),
    Story(
        "case-11",
        "11",
        "A known customer's app opens the mobile site",
        "B is K1's app. Web visitor A joins K1 at the hand-over, provisionally (striped).",
        ("A", "B"),
        (_sign("B", 2, "K1"), *_pages("A", 3, 9), _cross("A", "B", 6)),
    ),
    Story(
        "link-confirmed",
        "",
        "A tagged link, then a sign-in",
        "A clicks a link that was sent to K1, then signs in as K1: the link is confirmed, the history before it opens.",
        ("A",),
        (*_pages("A", 1, 9), _click("A", 4, "K1", "clicks K1's link"), _sign("A", 7, "K1")),
    ),
    Story(
        "link-forwarded",
        "",
        "A forwarded mail",
        "A clicks K1's link and signs in as K2: the link is withdrawn, all of A is K2's.",
        ("A",),
        (*_pages("A", 1, 9), _click("A", 4, "K1", "clicks K1's link"), _sign("A", 7, "K2")),
    ),
    Story(
        "sign-out",
        "",
        "A household laptop, with a sign-out",
        "K1 signs out and the browser gets a new visitor id. K2's look-back does not cross the sign-out.",
        ("A", "B"),
        (
            *_pages("A", 1),
            _sign("A", 3, "K1"),
            Mark("B", 5.5, "signs out of A", tuple(reset("B", "A", hours(5.5))), "A"),
            *_pages("B", 7),
            _sign("B", 9, "K2"),
        ),
    ),
    Story(
        "shared-device",
        "",
        "A tablet with six accounts",
        "More than five people in 30 days: only signed sessions are anybody's, what lies between is nobody's.",
        ("A",),
        (
            *_pages("A", 0.4, 11.6),
            *(_sign("A", 1.3 + 1.8 * place, f"K{place + 1}") for place in range(6)),
        ),
    ),
    Story(
        "known-id",
        "",
        "Somebody knows the visitor's id",
        "K2 signs in naming A, without A's cookie: refused as unproved. What A's cookie proves is K1's throughout.",
        ("A",),
        (*_pages("A", 1, 5, 10), _sign("A", 3, "K1"), _sign("A", 7, "K2", proof="script")),
    ),
    Story(
        "unmerge",
        "",
        "A merge that was taken back",
        "An operator merges K1 and K2, then takes it back: both have their old ids, as if it had never been said.",
        ("A", "B", SERVER),
        (*_APART, _server(7, "merge", *_MERGE), _server(9.5, "taken back", *take_back(_MERGE))),
    ),
    Story(
        "merge",
        "",
        "An operator merges two customers",
        "Level 4 says that K1 and K2 are one: both browsers are one person's, by the older customer's id.",
        ("A", "B", SERVER),
        (*_APART, _server(8, "merge", *_MERGE)),
    ),
)
