"""What is kept of a refused beacon: what consent and minimisation leave, sealed, for a while, within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from collector import disk
from collector.accept import kept_bodies_files
from collector.accept.kept_bodies import MAX_KEPT_BYTES, KeptBody, make_kept
from collector.accept.kept_bodies_files import (
    DAY_MS,
    FILE_MS,
    MAX_CPU_S,
    MAX_PENDING,
    KeptBodies,
    list_files,
    read_bodies,
    sweep,
)
from collector.accept.pipeline import accept
from collector.event import Context
from collector.keyring import make_keyring
from collector.links.minting import mint_link
from collector.metrics import read_totals
from collector.reasons import Reason
from collector.sites.book import SiteBook
from collector.sites.cookies import OPT_OUT
from tests.edge_examples import (
    KEYRING,
    NOW_MS,
    ORIGIN,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    make_id,
)
from tests.faulty_disk import FaultyOs, fail_with

LATE = NOW_MS - 30 * DAY_MS
ASKING = msgspec.structs.replace(SITE, consent="required")
MAIL = "jane.doe@example.org"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


def keep(body: dict[str, Any] | bytes, context: Context | None = None) -> KeptBody | None:
    """Judge the body and return what may be kept of it."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    context = context or make_context()
    return make_kept(raw, context, accept(raw, context))


def kept_ids(kept: KeptBody | None) -> list[str]:
    return [] if kept is None else [event.id for event in kept.envelope.events]


def test_only_what_was_refused_is_kept() -> None:
    """Of a beacon with a late event the late one alone, with the visitor that was settled and the browser's facts."""
    kept = keep(make_body(make_event(1), make_event(2, t=LATE, u=f"{ORIGIN}/late")))
    assert kept is not None
    assert kept_ids(kept) == [make_id(2)]
    assert (kept.reason, kept.received_at_ms, kept.envelope.visitor_id) == (Reason.CLOCK, NOW_MS, VISITOR)
    assert (kept.facts.browser, kept.facts.network) == ("Chrome", "203.0.113.0/24")
    assert keep(make_body(make_event(1))) is None


@pytest.mark.parametrize(
    ("what", "body", "context"),
    [
        ("no JSON", b"{", make_context()),
        ("no beacon", b'{"v":1}', make_context()),
        ("another version", make_body(v=9), make_context()),
        ("a site id that is none", make_body(s=MAIL, c="a"), make_context()),
        ("an event without an id", make_body(make_event(1), make_event(2, i="x", t=LATE)), make_context()),
        ("switched off", make_body(), make_context(site=msgspec.structs.replace(SITE, tag=False))),
        ("objected", make_body(make_event(t=LATE)), make_context(cookies={OPT_OUT: "1"})),
        ("objected, site not known", make_body(s="other", c="a"), make_context(cookies={OPT_OUT: "1"})),
        ("not granted", make_body(make_event(1, t=LATE), c=""), make_context(site=ASKING)),
        ("not asked", make_body(make_event(1, t=LATE)), make_context(site=ASKING)),
        ("other purposes", make_body(make_event(1, t=LATE), c="im"), make_context(site=ASKING)),
        ("site not known, preset no help", make_body(s="other"), make_context()),
        ("page not known, preset no help", make_body(), make_context(origin="https://evil.example")),
        (
            "excluded",
            make_body(),
            make_context(site=msgspec.structs.replace(SITE, excluded_networks=("203.0.113.0/24",))),
        ),
        (
            "excluded, page not known",
            make_body(c="a"),
            make_context(
                site=msgspec.structs.replace(SITE, excluded_networks=("203.0.113.0/24",)), origin="https://x.example"
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_kept_of(what: str, body: dict[str, Any] | bytes, context: Context) -> None:
    """What nobody can read a consent in, and whoever has not consented or has objected."""
    assert keep(body, context) is None


@pytest.mark.parametrize(
    ("body", "context", "reason"),
    [
        (make_body(s="other", c="a"), make_context(), Reason.SITE),
        (make_body(c="a"), make_context(origin="https://new.example"), Reason.ORIGIN),
        (make_body(make_event(1), make_event(2)), make_context(max_events=1), Reason.COUNT),
        (make_body(make_event(1, p={"text": "x" * 9000})), make_context(), Reason.SIZE),
        (make_body(make_event(1, n="identify", k=[{"k": "card", "v": "1"}])), make_context(), Reason.SHAPE),
    ],
)
def test_what_a_fix_may_mend_is_kept(body: dict[str, Any], context: Context, reason: Reason) -> None:
    """An unknown site or page where the page itself says yes; too many events; too large; a kind not declared."""
    kept = keep(body, context)
    assert kept is not None
    assert kept.reason is reason
    assert len(kept.envelope.events) == len(body["e"])


def test_an_event_that_landed_is_not_kept_for_its_identifier() -> None:
    """Only an event that was dropped for its identifiers comes again; sent again, a landed one would be overwritten."""
    assert keep(make_body(make_event(1, k=[{"k": "card", "v": "1"}]))) is None


def test_what_is_kept_is_reduced() -> None:
    """Without consent to identity nothing that names somebody; never an address, a token, a mail, a foreign word."""
    body = make_body(
        make_event(
            1,
            t=LATE,
            u=f"{ORIGIN}/a/{MAIL}?token={TOKEN}&utm_source=mail#frag",
            h=f"Order of {MAIL}",
            p={"jwt": TOKEN, "deep": {"mail": MAIL}},
            k=[{"k": "email", "v": MAIL}],
        ),
        make_event(2, t=LATE, n="identify", k=[{"k": "customer", "v": "4711"}]),
        c="a",
        l=MAIL,
        z=f"Europe/{MAIL}",
        lt=f"not a token {MAIL}",
        x={"i": MAIL, "n": 1},
        f={"v": 1, "s": {"canvas": "device-signal"}},
        ho="h" * 70,
    )
    kept = keep(body, make_context(site=ASKING))
    assert kept is not None
    text = msgspec.json.encode(kept).decode()
    for canary in (MAIL, "jane", TOKEN[:20], "frag", "4711", "device-signal", "203.0.113.77", "hhhh"):
        assert canary not in text, canary
    assert kept_ids(kept) == [make_id(1)]
    assert kept.envelope.consent == "a"
    assert "utm_source=mail" in text


def test_privacy_control_is_kept_with_it() -> None:
    """What the browser's signal takes away stays away: the letters are those that were left."""
    kept = keep(make_body(make_event(1, t=LATE), c="aifm"), make_context(gpc=True))
    assert kept is not None
    assert kept.envelope.consent == "ai"


# --- files ---------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.at_ms = NOW_MS

    def __call__(self) -> int:
        return self.at_ms


def note(store: KeptBodies, number: int, context: Context | None = None, **changes: Any) -> None:
    raw = msgspec.json.encode(make_body(make_event(number, t=LATE), **changes))
    context = context or make_context()
    store.note(raw, context, accept(raw, context))


def make_store(data: Path, clock: Clock, **bounds: Any) -> KeptBodies:
    usual: dict[str, Any] = {"keep_days": 7, "max_bytes": 1_000_000, "cpu_s": lambda: 0.0}
    return KeptBodies(data, "web-0", KEYRING, now_ms=clock, **{**usual, **bounds})


def read_all(data: Path) -> list[str]:
    return [event for file in list_files(data) for kept in read_bodies(file.path, KEYRING) for event in kept_ids(kept)]


def test_bodies_are_sealed_and_come_back(tmp_path: Path) -> None:
    """On disk there is nothing to read; with the secrets they come back in order, without them or damaged as None."""
    store = make_store(tmp_path, Clock())
    for number in range(1, 4):
        note(store, number)
    note(store, 4, make_context(sites=SiteBook()), s="unknown", c="a")
    asyncio.run(store.flush())
    assert sorted(read_all(tmp_path)) == [make_id(number) for number in range(1, 5)]
    (clock_file,) = [file for file in list_files(tmp_path) if file.reason is Reason.CLOCK]
    data = clock_file.path.read_bytes()
    for word in (b"page_view", b"shop", VISITOR.encode(), b"Chrome"):
        assert word not in data
    assert [kept is None for kept in read_bodies(clock_file.path, make_keyring())] == [True] * 3
    middle = len(data) // 2
    clock_file.path.write_bytes(data[:middle] + b"?" + data[middle + 1 :])
    assert [kept is None for kept in read_bodies(clock_file.path, KEYRING)] == [False, True, False]
    assert clock_file.path.stat().st_mode & 0o077 == 0


def test_nothing_is_kept_where_the_settings_say_so(tmp_path: Path) -> None:
    """0 days or 0 bytes: no folder is even made."""
    for bounds in ({"keep_days": 0}, {"max_bytes": 0}):
        store = make_store(tmp_path, Clock(), **bounds)
        note(store, 1)
        asyncio.run(store.flush())
    assert not (tmp_path / "rejected").exists()


def test_a_site_that_keeps_less_has_nothing_kept(tmp_path: Path) -> None:
    """Its own retention is the stronger word."""
    for days in (3, 7, 0):
        store = make_store(tmp_path / str(days), Clock())
        note(store, 1, make_context(site=msgspec.structs.replace(SITE, keep_days=days)))
        asyncio.run(store.flush())
    assert [len(read_all(tmp_path / days)) for days in ("3", "7", "0")] == [0, 1, 1]


def test_old_files_go_and_a_flood_pushes_out_itself(tmp_path: Path) -> None:
    """After the days they are gone. Beyond the bound the oldest of the reason with the most goes, others stay."""
    clock = Clock()
    store = make_store(tmp_path, clock)
    stranger = make_context(sites=SiteBook())
    note(store, 1)
    asyncio.run(store.flush())
    for hour in range(1, 5):
        clock.at_ms = NOW_MS + hour * FILE_MS
        for number in range(10):
            note(store, hour * 10 + number, stranger, s="unknown", c="a")
        asyncio.run(store.flush())
    files = list_files(tmp_path)
    assert [file.reason for file in files] == [Reason.CLOCK, *[Reason.SITE] * 4]
    sweep(tmp_path, 7, sum(file.size for file in files) - 1, clock.at_ms)
    assert [file.began_ms for file in list_files(tmp_path)] == [NOW_MS, *(NOW_MS + n * FILE_MS for n in (2, 3, 4))]
    sweep(tmp_path, 7, 1_000_000, NOW_MS + 7 * DAY_MS + 3 * FILE_MS)
    assert [file.began_ms for file in list_files(tmp_path)] == [NOW_MS + 4 * FILE_MS]
    sweep(tmp_path, 0, 1_000_000, clock.at_ms)
    assert list_files(tmp_path) == []


def test_a_flood_waits_nowhere(tmp_path: Path) -> None:
    """Within one interval so many and no more are made; the rest is dropped and counted."""
    before = read_totals().counters.get("kept_bodies", {}).get("dropped", 0)
    store = make_store(tmp_path, Clock())
    for number in range(MAX_PENDING + 5):
        note(store, number + 1)
    asyncio.run(store.flush())
    assert len(read_all(tmp_path)) == MAX_PENDING
    assert read_totals().counters["kept_bodies"]["dropped"] == before + 5


def _count_attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the size of each body of which something is made."""
    sizes: list[int] = []

    def make(body: bytes, *rest: Any) -> KeptBody | None:
        sizes.append(len(body))
        return make_kept(body, *rest)

    monkeypatch.setattr(kept_bodies_files, "make_kept", make)
    return sizes


def test_a_body_that_is_too_large_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reducing a long text may take a hundred times what its judgement took, and it could not be kept anyway."""
    sizes = _count_attempts(monkeypatch)
    before = read_totals().counters.get("kept_bodies", {}).get("dropped", 0)
    store = make_store(tmp_path, Clock())
    stranger = make_context(sites=SiteBook())
    for length in (MAX_KEPT_BYTES // 2, MAX_KEPT_BYTES):
        note(store, 1, stranger, s="unknown", c="a", u="https://x.example/" + "x" * length)
    assert len(sizes) == 1
    assert sizes[0] <= MAX_KEPT_BYTES
    assert read_totals().counters["kept_bodies"]["dropped"] == before + 1


def test_attempts_are_bounded_by_what_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of which nothing is kept costs its making all the same; after the next write there is time again."""
    sizes = _count_attempts(monkeypatch)
    ticks = iter(range(1000))
    store = make_store(tmp_path, Clock(), cpu_s=lambda: next(ticks) * MAX_CPU_S / 4)
    for number in range(20):
        note(store, number, make_context(sites=SiteBook()), s="unknown")  # no consent: nothing may be kept
    assert len(sizes) == 4
    asyncio.run(store.flush())
    note(store, 1)
    asyncio.run(store.flush())
    assert read_all(tmp_path) == [make_id(1)]


def test_a_disk_that_fails_costs_the_bodies_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning, nothing raised, and later ones are kept again. So it is when somebody removes the folder."""
    store = make_store(tmp_path, Clock())
    monkeypatch.setattr(disk, "os", FaultyOs(1, fail_with(28), times=100))
    with capture_logs() as logs:
        for number in (1, 2):
            note(store, number)
            asyncio.run(store.flush())
    assert [line["log_level"] for line in logs] == ["warning"]
    monkeypatch.setattr(disk, "os", FaultyOs())
    note(store, 3)
    asyncio.run(store.flush())
    assert read_all(tmp_path) == [make_id(3)]
    list_files(tmp_path)[0].path.unlink()
    with capture_logs():
        note(store, 4)
        asyncio.run(store.flush())
    note(store, 5)
    asyncio.run(store.flush())
    assert read_all(tmp_path) == [make_id(5)]


def test_the_last_of_the_disk_is_the_spools(tmp_path: Path) -> None:
    """With less free than is to be left, or a folder that is gone, nothing is written or made; it is counted."""
    before = read_totals().counters.get("kept_bodies", {}).get("dropped", 0)
    gone = tmp_path / "gone"
    for store in (
        make_store(tmp_path, Clock(), min_free_bytes=2**62),
        make_store(gone, Clock(), min_free_bytes=1),
    ):
        note(store, 1)
        asyncio.run(store.flush())
    assert list(tmp_path.iterdir()) == []
    assert read_totals().counters["kept_bodies"]["dropped"] == before + 2


def test_a_flood_is_bounded_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is full makes room first: the bound holds between two sweeps, but for the file that grows."""
    monkeypatch.setattr("collector.accept.kept_bodies_files.FILE_BYTES", 2000)
    clock = Clock()
    store = make_store(tmp_path, clock, max_bytes=6000)
    for number in range(1, 60):
        clock.at_ms += 1
        note(store, number)
        asyncio.run(store.flush())
    files = list_files(tmp_path)
    assert sum(file.size for file in files) <= 6000 + 2 * 2000
    assert make_id(59) in read_all(tmp_path)
    assert make_id(1) not in read_all(tmp_path)


@pytest.mark.parametrize(("letters", "is_kept"), [("a", False), ("am", False), ("ai", True)])
def test_whose_link_it_was_is_kept_with_consent_to_identity_alone(letters: str, is_kept: bool) -> None:
    """A link's token names its customer: without that consent it may be counted, and not be kept."""
    token = mint_link(KEYRING, "canary-4711", now_s=NOW_MS // 1000 - 3600)
    body = make_body(make_event(1), make_event(2, t=LATE), lt=token, hs="pointer", c=letters)
    kept = keep(body)
    assert kept is not None
    assert (kept.envelope.link_token, kept.envelope.human) == ((token, "pointer") if is_kept else ("", ""))
