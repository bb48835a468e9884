"""People with browsers, and servers with keys, on a real instance: what identity tests through everything are told in.

    space = world.take_space()
    anna = space.browser()
    anna.view(ago_h=30)
    anna.sign_in(customer="anna", ago_h=2)
    space.settle()
    assert space.who(anna) == ["anna", "anna"]

A browser keeps its cookies as browsers do, so its first beacon is of `script` proof and the next ones of `cookie`.
Times are hours ago, at most 7 days: what the collector takes. Every test has a space of its own. `settle` waits for a
mark of its own that was sent last: whoever sees it sees everything that was sent before.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any

import msgspec
from instance_process import RunningInstance, running_instance
from known_sites import PATIENCE_S, wait_for_site

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.identity.stitching.rebuild import rebuild
from collector.links.minting import mint_link
from collector.signing import sign_identify
from collector.sites.book import IdentifierKind, Site
from collector.sites.keys import SCOPES, create_key
from collector.sites.rows import add_site
from collector.store.client import StoreClient, open_client
from tests.edge_examples import CHROME

HOUR_MS = 3_600_000
FIRST_H = 160.0
"""When browsers were here for the first time, hours ago."""
KINDS = (
    IdentifierKind("customer", unique=True, priority=0),
    IdentifierKind("login", unique=True, priority=5),
    IdentifierKind("email", unique=False, personal=True, normaliser="email", priority=10),
    IdentifierKind("phone", unique=False, personal=True, priority=20),
)
FAST = ("segment_age_s=0.05", "load_interval_s=0.02", "stitch_interval_s=0.05", "settings_interval_s=0.3")
_NUMBERS = itertools.count(1)
_WHOSE = "SELECT customer_id FROM v_events WHERE visitor_id = {visitor:UUID} ORDER BY time"


def make_uuid(at_ms: int) -> str:
    """Return a fresh UUIDv7 made at this time; later ones of one time are greater."""
    number = next(_NUMBERS)
    text = f"{at_ms:012x}7{number >> 20 & 0xFFF:03x}8{number & 0xFFFFF:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True)
class Answer:
    """What the collector answered to a beacon."""

    status: int
    headers: Message
    said: dict[str, Any]

    @property
    def rejected(self) -> str:
        """Why parts of it, or all of it, were refused; "" where nothing was."""
        return self.headers["X-Tagstitch-Rejected"] or str(self.said.get("error", ""))


@dataclass
class Browser:
    """One browser on the sites of a space. `visitor`: what its script believes to be the visitor id, by site."""

    space: Space
    user_agent: str = CHROME
    keeps_cookies: bool = True
    clock_fast_ms: int = 0  # how far the computer's clock is ahead; the tag has noticed
    visitors: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    session: str = ""
    session_start_h: float | None = None
    more: dict[str, Any] = field(default_factory=dict)  # further fields of every beacon

    @property
    def visitor(self) -> str:
        """The visitor id on the space's first site."""
        return self.find_visitor(self.space.site_id)

    def find_visitor(self, site_id: str) -> str:
        """Return the visitor id on a site, made when it is first needed."""
        return self.visitors.setdefault(site_id, make_uuid(self.space.world.now_ms))

    def send(self, *events: dict[str, Any], site: str = "", cookie: str | None = None, **more: Any) -> Answer:
        """Send one beacon as the tag does, and keep the answer's cookie. `cookie`: another than the jar's."""
        world, site_id = self.space.world, site or self.space.site_id
        start_h = self.session_start_h
        session_ms = events[0]["t"] - 60_000 if start_h is None else world.at(start_h) + self.clock_fast_ms
        self.session = self.session or make_uuid(session_ms)
        body = {
            "v": 1,
            "s": site_id,
            "st": world.now_ms + self.clock_fast_ms,
            "o": -self.clock_fast_ms,
            "d": self.find_visitor(site_id),
            "c": "ai",
            "u": f"{name_origin(site_id)}/",
            "x": {"i": self.session, "n": 1, "t": session_ms},
            **self.more,
            **more,
            "e": list(events),
        }
        headers = {"Origin": name_origin(site_id), "User-Agent": self.user_agent, "Content-Type": "text/plain"}
        jar = self.cookies.get(site_id, "") if cookie is None else cookie
        if jar:
            headers["Cookie"] = jar
        answer = world.post("/x/b", body, headers)
        given = answer.headers["Set-Cookie"]
        if given and self.keeps_cookies:
            self.cookies[site_id] = given.partition(";")[0]
        if "d" in answer.said:
            self.visitors[site_id] = answer.said["d"]
        return answer

    def make_event(self, name: str, ago_h: float, **more: Any) -> dict[str, Any]:
        """Return an event as it stands on the wire."""
        at_ms = self.space.world.at(ago_h)
        return {"i": make_uuid(at_ms), "n": name, "t": at_ms + self.clock_fast_ms, **more}

    def view(self, ago_h: float = 0.0, site: str = "", **more: Any) -> Answer:
        """Look at a page."""
        return self.send(self.make_event("page_view", ago_h), site=site, **more)

    def sign_in(self, ago_h: float = 0.0, site: str = "", **names: str) -> Answer:
        """Sign in, vouched for by the site: `customer="anna"`, further kinds in the same request."""
        signed = [self.space.sign(kind, value, site) for kind, value in names.items()]
        return self.send(self.make_event("identify", ago_h, k=signed), site=site)

    def claim(self, ago_h: float = 0.0, **names: str) -> Answer:
        """Say who one is, without any signature."""
        said = [{"k": kind, "v": value} for kind, value in names.items()]
        return self.send(self.make_event("identify", ago_h, k=said))

    def land(self, token: str, ago_h: float = 0.0, **more: Any) -> Answer:
        """Open the page to which a tagged link leads."""
        return self.send(self.make_event("page_view", ago_h), lt=token, **more)

    def touch(self, token: str, ago_h: float = 0.0, human: str = "pointer", **more: Any) -> Answer:
        """Touch that page: the tag confirms the link."""
        return self.send(self.make_event("link_confirm", ago_h), lt=token, hs=human, **more)

    def click(self, token: str, ago_h: float = 0.0) -> None:
        """Come by a tagged link, and touch the page a second later."""
        self.session, self.session_start_h = "", ago_h
        self.land(token, ago_h)
        self.touch(token, ago_h - 1 / 3600)

    def start_session(self) -> None:
        """Begin a new session with the next beacon."""
        self.session = ""

    def cross(self, to: str, ago_h: float = 0.0) -> Answer:
        """Go from the space's first site to another one of the space by a link that hands the visitor over."""
        token = self.view(ago_h, xl=1).said["x"]
        return self.view(ago_h - 1 / 3600, site=to, ho=token, r=f"{name_origin(self.space.site_id)}/")

    def sign_out(self, ago_h: float = 0.0) -> Answer:
        """Sign out: the tag goes on with a new visitor id and names the one before."""
        site_id = self.space.site_id
        before = self.find_visitor(site_id)
        self.visitors[site_id] = make_uuid(self.space.world.now_ms)
        self.session = ""
        return self.send(self.make_event("reset", ago_h), rf=before)


@dataclass
class Space:
    """One identity space: its sites, and what readers see of its people."""

    world: World
    name: str
    site_ids: tuple[str, ...]
    keys: dict[tuple[str, ...], str]

    @property
    def site_id(self) -> str:
        """The first site."""
        return self.site_ids[0]

    def browser(self, age_h: float = 0.0, **more: Any) -> Browser:
        """Return a browser that has been here once, so that its cookie proves it from now on.

        `age_h`: how many hours ago its visitor id was made and signed.
        """
        browser = Browser(self, **more)
        if age_h:
            made_ms, keyring = self.world.at(age_h), self.world.instance.keyring
            browser.visitors[self.site_id] = made = make_uuid(made_ms)
            value = write_cookie(keyring, self.site_id, VisitorCookie(made, made_ms // 1000))
            browser.cookies[self.site_id] = f"ts_{self.site_id}={value}"
        answer = browser.view(ago_h=FIRST_H)
        assert answer.status == 204
        assert self.site_id in browser.cookies
        return browser

    def impostor(self, victim: Browser, **more: Any) -> Browser:
        """Return somebody's browser that names the victim's visitor id and has no cookie for it."""
        return Browser(self, keeps_cookies=False, visitors=dict(victim.visitors), **more)

    def sign(self, kind: str, value: str, site: str = "", expires_s: int = 0) -> dict[str, str]:
        """Return a signed identifier, as the site's server makes it for its page."""
        site_id = site or self.site_id
        secret = self.world.instance.keyring.derive_identify_secret(site_id, 1)
        expires_s = expires_s or self.world.now_ms // 1000 + 3600
        return {"k": kind, "v": value, "g": sign_identify(secret, 1, site_id, kind, value, expires_s)}

    def mint(self, customer: str, **more: Any) -> str:
        """Return the token of a tagged link for a customer."""
        now_s = self.world.now_ms // 1000 - 6 * 86_400
        return mint_link(self.world.instance.keyring, customer, now_s=now_s, space_id=self.name, **more)

    def call(self, kind: str, *scopes: str, ago_h: float = 0.0, **fields: Any) -> Answer:
        """Call the collector from a server, with a key of these scopes (all that name customers, unless given)."""
        key = self.keys[tuple(sorted(scopes)) if scopes else FULL]
        at = datetime.fromtimestamp(self.world.at(ago_h) / 1000, UTC).isoformat(timespec="milliseconds")
        message_id = make_uuid(self.world.at(ago_h))
        call = {"timestamp": at, "messageId": message_id, "context": {"siteId": self.site_id}, **fields}
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return self.world.post(f"/v1/{kind}", call, headers)

    def settle(self) -> None:
        """Wait until readers see everything that was sent: a mark of this space, sent last, that changes hands."""
        names = [f"mark-{next(_NUMBERS)}-{part}" for part in "ab"]
        mark = self.browser()
        for name, ago_h in zip(names, (1.0, 0.0), strict=True):
            assert not mark.sign_in(customer=name, ago_h=ago_h).rejected
        deadline = time.monotonic() + PATIENCE_S
        while (seen := [row["customer_id"] for row in self.query(_WHOSE, visitor=mark.visitor)]) != [names[0], *names]:
            assert time.monotonic() < deadline, f"still {seen}\n{self.world.instance.log[-3000:]}"
            time.sleep(0.05)

    def who(self, browser: Browser | str, site: str = "") -> list[str]:
        """Return whose each event of a visitor is, in order of time; the first visit of `browser` is left out.

        "": nobody's that is known; a `?` behind: provisional.
        """
        visitor = browser if isinstance(browser, str) else browser.find_visitor(site or self.site_id)
        rows = self.query(
            "SELECT customer_id, provisional FROM v_events WHERE space_id = {space:String}"
            " AND visitor_id = {visitor:UUID} AND time > {first:DateTime64(3)} ORDER BY time, event_id",
            visitor=visitor,
            first=datetime.fromtimestamp(self.world.at(FIRST_H - 1) / 1000, UTC),
        )
        return [row["customer_id"] + "?" * row["provisional"] for row in rows]

    def persons(self, browser: Browser | str, site: str = "") -> list[str]:
        """Return the person ids of a visitor's events, each once, in order of time."""
        visitor = browser if isinstance(browser, str) else browser.find_visitor(site or self.site_id)
        rows = self.query(
            "SELECT toString(person_id) AS person FROM v_events WHERE space_id = {space:String}"
            " AND visitor_id = {visitor:UUID} ORDER BY time, event_id",
            visitor=visitor,
        )
        return list(dict.fromkeys(row["person"] for row in rows))

    def customers(self) -> dict[str, str]:
        """Return the customers, provisional ones with a `?`, and their person ids."""
        rows = self.query(
            "SELECT customer_id, provisional, toString(person_id) AS person FROM v_customers"
            " WHERE space_id = {space:String} AND NOT startsWith(customer_id, 'mark-') ORDER BY customer_id"
        )
        return {row["customer_id"] + "?" * row["provisional"]: row["person"] for row in rows}

    def owners(self, kind: str) -> list[str]:
        """Return whose the identifiers of a kind are: customer ids, sorted."""
        rows = self.query(
            "SELECT customer_id FROM v_identity_map WHERE space_id = {space:String} AND kind = {kind:String}"
            " ORDER BY customer_id",
            kind=kind,
        )
        return [row["customer_id"] for row in rows]

    def refused(self) -> list[str]:
        """Return the guards' reasons, in order of time."""
        rows = self.query(
            "SELECT reason FROM v_guard_log WHERE space_id = {space:String} ORDER BY at, reason, evidence_id"
        )
        return [row["reason"] for row in rows]

    def query(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Ask as the reader; `{space:String}` is this space."""
        return self.world.reader.query_rows(statement, {"space": self.name, **values})


FULL = tuple(sorted({"track", "identify-server", "merge"} & set(SCOPES)))
CALL_CENTRE = tuple(sorted({"track", "identify-server"}))
TRACK = ("track",)


@dataclass
class World:
    """A running instance with spaces that nobody has touched yet, and one moment that is now for all its people."""

    instance: RunningInstance
    reader: StoreClient
    now_ms: int
    fresh: list[Space] = field(default_factory=list)
    named: dict[str, Space] = field(default_factory=dict)

    def take_space(self) -> Space:
        """Return a space that no other test has."""
        return self.fresh.pop()

    def at(self, ago_h: float) -> int:
        """Return a moment so many hours ago, in milliseconds since 1970."""
        return self.now_ms - int(ago_h * HOUR_MS)

    def get(self, path: str, user_agent: str = CHROME) -> Answer:
        """Fetch a page and return the answer, without following where it leads."""
        connection = http.client.HTTPConnection(self.instance.config.host, self.instance.config.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"User-Agent": user_agent})
            answer = connection.getresponse()
            answer.read()
            return Answer(answer.status, answer.headers, {})

    def post(self, path: str, body: dict[str, Any] | bytes, headers: dict[str, str]) -> Answer:
        """Send a request and return the answer, whatever its status."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.instance.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _read(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return _read(error.code, error.headers, error.read())


def _read(status: int, headers: Message, body: bytes) -> Answer:
    return Answer(status, headers, json.loads(body) if body else {})


def name_origin(site_id: str) -> str:
    """Return where a site's pages are."""
    return f"https://{site_id}.example"


@contextlib.contextmanager
def running_world(
    folder: Path, *, spaces: int, special: Sequence[Site] = (), options: Sequence[str] = ()
) -> Iterator[World]:
    """Run an instance with so many spaces of two sites each, and with special sites, each in a space of its own name.
    In the end see that what was stitched step by step is what all evidence at once gives.

    `special`: their settings; space, origin and signing secret are filled in.
    """
    given = [word for setting in (*FAST, *options) for word in ("--set", setting)]
    with running_instance(folder, *given) as instance, contextlib.ExitStack() as stack:
        reader = open_client(instance.config, instance.keyring, "reader")
        stack.enter_context(contextlib.closing(reader))
        world = World(instance, reader, time.time_ns() // 1_000_000)
        with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as writer:
            for number in range(spaces):
                sites = [Site(f"s{number}{part}", kinds=KINDS) for part in ("", "m")]
                world.fresh.append(_add_space(world, writer, sites))
            for site in special:
                world.named[site.site_id] = _add_space(world, writer, [site])
            last = _add_space(world, writer, [Site("last")])
        wait_for_site(instance, last.site_id)
        world.fresh.reverse()
        yield world
        rebuilt = rebuild(instance.config, instance.keyring, dry_run=True)
        assert rebuilt.differences == 0, rebuilt


def _add_space(world: World, writer: StoreClient, sites: Sequence[Site]) -> Space:
    """Add a space with its sites, and keys of each set of scopes."""
    name = sites[0].site_id
    keys = {
        scopes: create_key(writer, world.instance.keyring, scopes=scopes, now_ms=world.now_ms, space_id=name)[1]
        for scopes in {FULL, CALL_CENTRE, TRACK}
    }
    for site in sites:
        origins = (name_origin(site.site_id),)
        add_site(writer, msgspec.structs.replace(site, space_id=name, origins=origins, identify_versions=(1,)))
    return Space(world, name, tuple(site.site_id for site in sites), keys)


EMAIL = "anna@shop.example"
DAYS_2 = 48.0
"""A visitor id so many hours old is no longer signed into a cookie for who merely names it."""


def make_anna(space: Space) -> Browser:
    """Return the browser of Anna, the victim: a page and a sign-in with her e-mail, long before anybody else comes."""
    browser = space.browser(age_h=DAYS_2)
    browser.view(ago_h=40)
    browser.sign_in(customer="anna", email=EMAIL, ago_h=39)
    return browser


def assert_anna_is_whole(space: Space, anna: Browser, *events: str) -> None:
    """All of Anna's events are hers, those given here as well, and she has her e-mail."""
    assert space.who(anna) == ["anna", "anna", *events]
    assert space.owners("email")[:1] == ["anna"]
    assert "anna" in space.customers()
