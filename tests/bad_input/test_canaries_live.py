"""Canaries through a whole instance: planted wherever a client can write to, they are nowhere that anything is kept.

Looked for in every file of the instance's folder (spool, load, rejected, run, the engine's own files), in every column
of every table, and in what all roles have written to their logs. A word that may be kept is planted beside them: the
same search finds that one, or the test would prove nothing. The site has a vault: what is in that is sealed.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from instance_process import RunningInstance, start_instance
from known_sites import wait_for_site

from collector.load.maintenance import set_maintenance
from collector.store.client import open_client
from tests.chaos.outcome import chaos_case

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

EMAIL = "canary.person@mail.example"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk"
TOKEN = "Zk3Jf9Qz1Lm8Tx2Vb7Rc4Wd6Ys5Ng0Hp3"
ADDRESS = "203.0.113.77"
CARD = "4111111111111111"
UNLISTED = "canaryparameter"
FRAGMENT = "canaryfragment"
COOKIE = "canarycookie"
UNCONSENTED = "canaryunconsented"
UNREADABLE = "canaryunreadable"
HEADER = "canaryheader"
REFUSED = "canaryrefused"
TRACES = {
    "e-mail": ["canary.person", "canary%2eperson", "canary.person@mail"],
    "JWT": [JWT[:24], "c2lnbmF0dXJl"],
    "token": [TOKEN],
    "address": [ADDRESS],
    "card number": [CARD],
    "parameter that no list names": [UNLISTED],
    "fragment": [FRAGMENT],
    "cookie of somebody else": [COOKIE],
    "body without consent": [UNCONSENTED],
    "body that cannot be read": [UNREADABLE],
    "header": [HEADER],
    "body that is refused": [REFUSED],
}
KEPT = "wordthatmaystay"
"""Planted beside the canaries, in an event's name."""


def _event(name: str, **fields: Any) -> dict[str, Any]:
    return {"i": str(uuid.uuid4()), "n": name, "t": time.time_ns() // 1_000_000, **fields}


def _beacon(instance: RunningInstance, *events: dict[str, Any], **fields: Any) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    page = {"u": f"{instance.url}/demo?utm_source=letter", "c": "aifm", "d": str(uuid.uuid4())}
    return {"v": 1, "s": "demo", "st": now_ms, **page, "e": list(events), **fields}


def _plant(instance: RunningInstance) -> list[dict[str, Any]]:
    """Return beacons that are kept, with each canary in every field that a text can stand in."""
    made = []
    for canary in (EMAIL, JWT, TOKEN, ADDRESS):
        quoted = urllib.parse.quote(canary, safe="")
        url = (
            f"https://{canary}:{CARD}@shop.example/{canary}/{quoted}?utm_source={canary}&utm_term={quoted}"
            f"&q={canary}&card={CARD}&x={UNLISTED}&{UNLISTED}=1#{FRAGMENT}{CARD}{canary}"
        )
        texts = {"u": url, "r": url, "h": f"Hello {canary}"}
        props = {"plain": canary, "inside": f"a {canary} b", "list": [[canary]], canary: canary, "deep": {canary: 1}}
        made.append(
            _beacon(
                instance,
                _event(KEPT, **texts, p=props, zz=canary),
                _event(f"name {canary}"),
                _event("identify", k=[{"k": "email", "v": canary}, {"k": canary, "v": canary, "g": canary}]),
                _event("alias", k=[{"k": "customer", "v": "", "j": canary, "o": canary}]),
                _event("page_view", i=canary),
                **texts,
                l=canary,
                z=canary,
                w=canary,
                hs=canary,
                lt=canary,
                ho=canary,
                x={"i": str(uuid.uuid4()), "n": 1},
                f={"v": 1, "s": {"platform": canary, "canvas": canary}},
                zz={"unknown": CARD},
            )
        )
    return made


def _refuse(instance: RunningInstance) -> list[bytes]:
    """Return bodies that are refused, each for another reason."""
    events = [_event(word, h=word, p={word: word}) for word in (UNCONSENTED, EMAIL, TOKEN)]
    old = [_event(REFUSED, h=f"{REFUSED} {EMAIL}", p={"a": TOKEN}, t=1)]
    cases = (
        _beacon(instance, *events, c=""),
        _beacon(instance, *events, c="m", u=f"{instance.url}/{UNCONSENTED}"),
        _beacon(instance, *events, c=None),
        _beacon(instance, _event(REFUSED, p={"a": EMAIL}), s=REFUSED),
        _beacon(instance, _event(REFUSED, p={"a": EMAIL}), v=99),
        _beacon(instance, _event(REFUSED, p={"a": EMAIL}), d=REFUSED),
        _beacon(instance, _event(REFUSED, p=REFUSED)),
        _beacon(instance, *old, u=f"{instance.url}/?{UNLISTED}=1#{FRAGMENT}"),
    )
    bodies = [json.dumps(case).encode() for case in cases]
    return [*bodies, UNREADABLE.encode(), b'{"v":1,"s":"demo","zz":"' + UNREADABLE.encode(), b"[" * 500 + JWT.encode()]


def _knock(instance: RunningInstance) -> None:
    """Ask the other paths, with canaries in address and headers."""
    quoted = urllib.parse.quote(EMAIL, safe="")
    forwarded = f"{HEADER}, {ADDRESS}"
    headers = {"X-Forwarded-For": forwarded, "Authorization": f"Bearer ts_{TOKEN}", "Cookie": f"sid={COOKIE}"}
    for path in (
        f"/l/{JWT}",
        f"/l/{TOKEN}?x={UNLISTED}",
        f"/x/p.gif?s=demo&c=&n={UNCONSENTED}&u={quoted}",
        f"/x/p.gif?s={REFUSED}&c=a&n={REFUSED}&h={quoted}",
        f"/x/p.gif?s=demo&c=a&n={KEPT}&u=https://shop.example/%3F{UNLISTED}%3D1%23{FRAGMENT}&h={quoted}",
        f"/x/t.js?{UNLISTED}={quoted}",
        f"/x/opt-out?{UNLISTED}={quoted}",
        f"/v1/sites?key={TOKEN}",
        f"/metrics?key={TOKEN}",
        f"/demo?key={TOKEN}&mail={quoted}",
        f"/{UNLISTED}/{quoted}",
    ):
        request = urllib.request.Request(instance.url + path, headers=headers)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


def _read_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below the folder. One that goes meanwhile was somebody's draft."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                yield str(path.relative_to(folder)), path.read_bytes()


def _read_tables(instance: RunningInstance) -> Iterator[tuple[str, bytes]]:
    """Yield every table and view of ours, all columns as text."""
    with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as client:
        columns = client.query_rows(
            "SELECT table, name, type FROM system.columns WHERE database = {database:String} AND table IN (SELECT name"
            " FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree')",
            {"database": instance.config.database},
        )
        by_table: dict[str, list[str]] = {}
        for column in columns:
            is_state = column["type"].startswith("AggregateFunction")
            text = f"finalizeAggregation(`{column['name']}`)" if is_state else f"`{column['name']}`"
            by_table.setdefault(column["table"], []).append(f"toString({text})")
        assert len(by_table) > 8
        for table, texts in by_table.items():
            rows = client.query_rows(f"SELECT concat_ws('|', {', '.join(texts)}) AS row FROM `{table}`")
            yield f"table {table}", "\n".join(row["row"] for row in rows).encode()


def _find(word: str, places: list[tuple[str, bytes]]) -> list[str]:
    return [name for name, contents in places if word.lower().encode() in contents.lower()]


def _check(places: list[tuple[str, bytes]]) -> None:
    for what, traces in TRACES.items():
        for trace in traces:
            assert _find(trace, places) == [], f"a canary ({what}) is kept"


@chaos_case("canaries", "12 kinds in bodies, heads, cookies and paths; searched in all files, tables and logs")
def test_no_canary_is_kept_anywhere(tmp_path: Path) -> None:
    """First while everything waits in the spool, then when it is loaded, then when the instance has ended."""
    environ = {"TAGSTITCH_TRUSTED_PROXIES": "127.0.0.0/8", "TAGSTITCH_LOG_LEVEL": "debug"}
    instance = start_instance(tmp_path / "data", tmp_path / "log", "--demo", environ=environ)
    try:
        instance.command("site", "add", "demo", "--replace", "--vault")
        wait_for_site(instance, "demo", lambda site: site.vault)
        set_maintenance(instance.data, True)
        headers = {
            "X-Forwarded-For": f"{HEADER}, {ADDRESS}",
            "User-Agent": f"Mozilla/5.0 ({EMAIL} {TOKEN}) {HEADER}/1.0",
            "Referer": f"https://shop.example/{HEADER}",
            "Cookie": f"sid={COOKIE}; {COOKIE}=1; ts_demo={TOKEN}",
            "Accept-Language": HEADER,
            "X-Custom": f"{HEADER} {CARD}",
        }
        kept = _plant(instance)
        assert [instance.post(body, headers)[0] for body in kept] == [204] * len(kept)
        statuses = [instance.post(body, headers)[0] for body in _refuse(instance)]
        assert set(statuses) <= {204, 400, 404, 413}
        _knock(instance)

        deadline = time.monotonic() + 20  # refusals are written a second after their answer
        while not _find('"reason":"syntax"', spooled := list(_read_files(instance.data / "spool"))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert _find(KEPT, spooled), "the spool is not where it was looked for"
        assert _find('"vault":[', spooled), "the address was not sealed"
        _check(list(_read_files(instance.data)))

        set_maintenance(instance.data, False)
        instance.until(f"SELECT count() AS n FROM v_events WHERE event_name = '{KEPT}'", lambda rows: rows[0]["n"] >= 5)
        instance.until("SELECT count() AS n FROM v_rejected WHERE reason = 'syntax'", lambda rows: rows[0]["n"] > 0)
        tables = list(_read_tables(instance))
        assert "table events" in _find(KEPT, tables), "the tables are not where they were looked for"
        assert _find("203.0.113.0/24", tables), "the address came in, and was cut"
        assert dict(tables)["table identifier_vault"], "the e-mail address is not in the vault"
        _check([*tables, *_read_files(instance.data), ("logs", instance.log.encode())])
        assert instance.stop() == 0
        _check([*_read_files(instance.data), ("logs", instance.log.encode())])
        assert "web listens" in instance.log
    finally:
        if instance.process.poll() is None:
            instance.process.kill()
            instance.process.wait()
        if instance.process.stdout is not None:
            instance.process.stdout.close()
