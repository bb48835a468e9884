"""Tagged links in a whole instance: clicks in the views, consent in the ledger, and no token anywhere."""

from __future__ import annotations

import http.client
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site

from collector.identity.identifiers import own_person_id
from collector.key_changes import find_waiting
from collector.keyring import read_keyring
from collector.links.minting import mint_link
from collector.links.token import LinkKind
from collector.sites.poll import read_copy

pytestmark = pytest.mark.engine

SHOP = "https://mail.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
REFERENCE = "canary-4711"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance for this file, with a site and a list of data centres."""
    folder = tmp_path_factory.mktemp("links")
    (folder / "networks.txt").write_text("198.51.100.0/24\n", encoding="utf-8")
    settings = (
        "--set",
        "log_level=debug",
        "--set",
        "link_opens=true",
        "--set",
        f"data_centre_file={folder / 'networks.txt'}",
        "--set",
        "settings_interval_s=0.5",
    )
    with running_instance(folder, "--set", "trusted_proxies=127.0.0.1", *settings) as running:
        running.command("site", "add", "mail", "--origin", SHOP, "--consent", "off")
        wait_for_site(running, "mail", lambda site: site.consent == "off")
        yield running


def mint(instance: RunningInstance, reference: str = REFERENCE, **changes: Any) -> str:
    """Return a token of a mailing of this test's own."""
    facts = {"now_s": int(time.time()) - 3600, "target": f"{SHOP}/offer", **changes}
    return mint_link(instance.keyring, reference, **facts)


def ask(
    instance: RunningInstance, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request to web, as a browser behind a proxy does."""
    connection = http.client.HTTPConnection(instance.config.host, instance.config.port, timeout=20)
    sent = {"User-Agent": FIREFOX, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", **headers}
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer, text


def test_clicks_are_events_of_nobody(instance: RunningInstance) -> None:
    """GET, HEAD, a data centre and an unfilled tag: each a click with its class; forged ones are a count."""
    token = mint(instance, campaign="clicks", consent="m")
    silent = mint(instance, campaign="clicks")
    answer, text = ask(instance, "HEAD", f"/l/{token}")
    assert (answer.status, text, answer.getheader("Location")) == (302, b"", f"{SHOP}/offer?lt={token}")
    assert ask(instance, "GET", f"/l/{token}")[0].status == 302
    assert ask(instance, "GET", f"/l/{silent}", **{"X-Forwarded-For": "198.51.100.9"})[0].status == 302
    assert ask(instance, "GET", "/l/*%7CLT%7C*?utm_campaign=clicks", Host="mail.example")[0].status == 404
    assert ask(instance, "GET", f"/l/{token[:-4]}AAAA")[0].status == 404
    assert ask(instance, "GET", f"/l/{mint(instance, target='https://evil.example/')}")[0].status == 404
    question = """
        SELECT event_name, link_status, link_class, link_reasons, link_way, link_token_id != '' AS has_id, is_bot,
            toString(visitor_id) AS visitor, customer_id
        FROM v_events WHERE link_campaign = 'clicks' ORDER BY link_class, link_status, has_id
    """
    rows = instance.until(question, lambda rows: len(rows) == 4)
    nobody = {"visitor": "00000000-0000-0000-0000-000000000000", "customer_id": "", "event_name": "link_click"}
    assert all({**row, **nobody} == row and row["link_way"] == "redirect" for row in rows)
    assert [
        (row["link_class"], row["link_status"], row["link_reasons"], row["has_id"], row["is_bot"]) for row in rows
    ] == [
        ("human", "unconfirmed", "", 1, 0),
        ("human", "unfilled", "", 0, 0),
        ("scanner", "unconfirmed", "data_centre", 0, 1),
        ("scanner", "unconfirmed", "head", 1, 1),
    ]
    refused = instance.until(
        "SELECT field, sum(beacons) AS n FROM v_rejected WHERE step = 'link' AND reason = 'link' GROUP BY field "
        "ORDER BY field",
        lambda rows: len(rows) == 2,
    )
    assert [row["field"] for row in refused] == ["", "target"]
    assert int(refused[1]["n"]) == 1


def test_a_mail_program_unsubscribes(instance: RunningInstance) -> None:
    """One click, and the ledger says so; a scanner's GET before it says nothing."""
    token = mint(instance, "leaver", campaign="bye", kind=LinkKind.UNSUBSCRIBE, target="")
    assert ask(instance, "GET", f"/l/{token}")[0].status == 200
    form = urlencode({"List-Unsubscribe": "One-Click"})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": "mail.example"}
    answer, text = ask(instance, "POST", f"/l/{token}", form, **headers)
    assert (answer.status, b"It is noted" in text, answer.getheader("Set-Cookie")) == (200, True, None)
    instance.until("SELECT 1 FROM v_events WHERE event_name = 'unsubscribe'", bool)
    with instance_writer(instance) as client:
        [row] = client.query_rows(
            "SELECT toString(key) AS key, purpose, state, source, site_id, proof FROM consent_ledger FINAL"
        )
    key = own_person_id(instance.keyring.pseudonym_key, "main", "customer", "leaver")
    assert row == {
        "key": key,
        "purpose": "marketing",
        "state": "withdrawn",
        "source": "unsubscribe",
        "site_id": "mail",
        "proof": token.split(".")[1],
    }


def test_an_open_and_a_landing(instance: RunningInstance) -> None:
    """The picture counts for nobody; the page's own report, with a gesture, ties the visitor."""
    token = mint(instance, campaign="landing")
    answer, picture = ask(instance, "GET", f"/l/{token}/o.gif", **{"User-Agent": "Mozilla/5.0"})
    assert (answer.status, picture[:3]) == (200, b"GIF")
    now_ms = time.time_ns() // 1_000_000
    events = [
        {"i": str(uuid.uuid4()), "n": name, "t": now_ms, "q": number}
        for number, name in enumerate(("page_view", "link_confirm"), start=1)
    ]
    visitor = f"{now_ms:012x}"[:8] + "-" + f"{now_ms:012x}"[8:] + "-7000-8000-000000000001"
    beacon = {"v": 1, "s": "mail", "st": now_ms, "d": visitor, "lt": token, "hs": "pointer", "u": SHOP, "e": events}
    answer, _ = ask(instance, "POST", "/x/b", msgspec.json.encode(beacon).decode(), Origin=SHOP)
    assert answer.status == 204, answer.headers
    question = """
        SELECT event_name, link_status, link_class, link_reasons, customer_id FROM v_events
        WHERE link_campaign = 'landing' ORDER BY event_name
    """
    rows = instance.until(question, lambda rows: [row["customer_id"] for row in rows] == [REFERENCE, "", REFERENCE])
    assert [(row["event_name"], row["link_status"], row["link_class"], row["link_reasons"]) for row in rows] == [
        ("link_confirm", "confirmed", "human", ""),
        ("mail_open", "unconfirmed", "preview", "apple_privacy"),
        ("page_view", "confirmed", "human", ""),
    ]


def land(instance: RunningInstance, token: str, number: int) -> None:
    """Open the page with the token as a new visitor, and touch it."""
    now_ms = time.time_ns() // 1_000_000
    events = [
        {"i": str(uuid.uuid4()), "n": name, "t": now_ms, "q": place}
        for place, name in enumerate(("page_view", "link_confirm"), start=1)
    ]
    stamp = f"{now_ms:012x}"
    visitor = f"{stamp[:8]}-{stamp[8:]}-7000-8000-0000000001{number:02x}"
    beacon = {"v": 1, "s": "mail", "st": now_ms, "d": visitor, "lt": token, "hs": "pointer", "u": SHOP, "e": events}
    answer, _ = ask(instance, "POST", "/x/b", msgspec.json.encode(beacon).decode(), Origin=SHOP)
    assert answer.status == 204, answer.headers


def wait_for_revocations(instance: RunningInstance, count: int) -> None:
    """Wait until web knows so many. It writes its copy after it has taken them into force."""
    deadline = time.monotonic() + 20
    while read_copy(instance.data).links.revocations.count != count:
        assert time.monotonic() < deadline, instance.log[-2000:]
        time.sleep(0.05)


def test_a_campaign_is_taken_back_and_given_back(instance: RunningInstance) -> None:
    """Whom its links had tied is let go; its links lead to the page and tie nobody; given back, they tie again."""
    confirms = """
        SELECT link_status, customer_id FROM v_events
        WHERE link_campaign = 'taken' AND event_name = 'link_confirm' ORDER BY received_at
    """
    land(instance, mint(instance, campaign="taken"), 1)
    tied = {"link_status": "confirmed", "customer_id": REFERENCE}
    instance.until(confirms, lambda rows: rows == [tied])
    words = ("links", "revoke", "--campaign", "taken", "--take-back")
    assert "1 piece of evidence taken back" in instance.command(*words, "--dry-run").stdout
    done = instance.command(*words, "--yes", "--reason", "wrong list").stdout
    assert "1 piece of evidence taken back" in done
    let_go = {"link_status": "confirmed", "customer_id": ""}
    instance.until(confirms, lambda rows: rows == [let_go])

    wait_for_revocations(instance, 1)
    token = mint(instance, campaign="taken")
    answer, _ = ask(instance, "GET", f"/l/{token}")
    assert (answer.status, answer.getheader("Location")) == (302, f"{SHOP}/offer")
    land(instance, token, 2)
    revoked = {"link_status": "revoked", "customer_id": ""}
    instance.until(confirms, lambda rows: rows == [let_go, revoked])
    assert "there is nobody to take back" in instance.command(*words, "--yes").stdout

    listed = instance.command("links", "revocations", "--json").stdout
    instance.command("links", "unrevoke", msgspec.json.decode(listed)["revocation_id"])
    wait_for_revocations(instance, 0)
    land(instance, token, 3)
    instance.until(confirms, lambda rows: rows == [let_go, revoked, tied])


def test_the_key_of_links_rotates(instance: RunningInstance) -> None:
    """A key that waits is known to web after a reload, before anything is signed with it; no link is lost."""
    path = instance.config.secrets_path
    old = mint(instance, campaign="rotation")
    assert "waits" in instance.command("key", "rotate-links").stdout
    keyring = read_keyring(path)
    waiting = find_waiting(keyring)
    assert waiting is not None
    ahead = msgspec.structs.replace(keyring, link_keys=[waiting])
    new = mint_link(ahead, REFERENCE, now_s=int(time.time()) - 3600, target=f"{SHOP}/offer", campaign="rotation")
    assert [ask(instance, "GET", f"/l/{token}")[0].status for token in (old, new)] == [302, 404]
    instance.command("reload")
    deadline = time.monotonic() + 30
    while ask(instance, "GET", f"/l/{new}")[0].status != 302:
        assert time.monotonic() < deadline, instance.log[-2000:]
        time.sleep(0.1)
    assert "signs from now on" in instance.command("key", "rotate-links").stdout
    assert read_keyring(path).link_keys[0].id == waiting.id
    assert [ask(instance, "GET", f"/l/{token}")[0].status for token in (old, new)] == [302, 302]


def test_no_token_is_written_anywhere(instance: RunningInstance) -> None:
    """Neither in the log, nor in the spool, nor in the store, nor in any other file of the instance."""
    tokens = [
        mint(instance, campaign="secret", kind=kind, consent="m") for kind in (LinkKind.MESSAGE, LinkKind.UNSUBSCRIBE)
    ]
    for token in tokens:
        for path in (f"/l/{token}", f"/l/{token}/o.gif", f"/l/{token}x", f"/l/{token}/a/b", f"/x/p.gif?u={token}"):
            ask(instance, "GET", path)
        ask(instance, "POST", f"/l/{token}", "x" * 100_000)
        ask(instance, "DELETE", f"/l/{token}")
    instance.until("SELECT 1 FROM v_events WHERE link_campaign = 'secret'", bool)
    secrets = [token.rpartition(".")[2].encode() for token in tokens]
    assert not [secret for secret in secrets if secret in instance.log.encode()]
    for path in _list_files(instance.data):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # loaded meanwhile: the spool is emptied, the engine merges
            continue
        assert not [secret for secret in secrets if secret in content], path


def _list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def instance_writer(instance: RunningInstance) -> Any:
    """Return the writer's connection, for what no reader sees."""
    from collector.store.client import open_client

    return open_client(instance.config, instance.keyring, "writer")
