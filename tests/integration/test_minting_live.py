"""Minting in a whole instance: lists, single links and the API, their records, and what lists say about consent."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from instance_process import RunningInstance, run_command, running_instance
from known_sites import wait_for_site
from tagstitch_client import Client, LinksError

from collector.identity.identifiers import own_person_id
from collector.keyring import open_keyring, read_keyring
from collector.links.minting import Mailing
from collector.links.record import FOLDER, begin_minting, put_pending
from collector.links.token import LinkToken, read_link

pytestmark = pytest.mark.engine

URL = "https://mail.example/spring"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance for this file, with a site."""
    with running_instance(tmp_path_factory.mktemp("minting")) as running:
        running.command("site", "add", "mail", "--origin", "https://mail.example", "--consent", "off")
        wait_for_site(running, "mail", lambda site: site.consent == "off")
        yield running


def run(data: Path, *words: str, given: str = "") -> CompletedProcess[str]:
    """Run a command, whatever it ends with."""
    return run_command(*words, "--data", str(data), given=given)


def list_mintings(data: Path, campaign: str) -> list[dict[str, object]]:
    """What `links mintings` knows of a campaign."""
    done = run(data, "links", "mintings", "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [row for row in rows if row["campaign"] == campaign]


def test_a_list_from_end_to_end(instance: RunningInstance, tmp_path: Path) -> None:
    """Tagged, recorded, in the ledger; told how many went out."""
    source, out = tmp_path / "members.csv", tmp_path / "tagged.csv"
    source.write_text("Customer No.,mail?\n4711,yes\nguest,yes\n4712,no\n4713,\n", encoding="utf-8")
    words = ("--url", URL, "--campaign", "list", "--consent-column", "mail?", "--out", str(out))
    done = run(instance.data, "links", "mint", str(source), *words)
    assert done.returncode == 0, done.stderr
    assert "4 rows, 3 links, 1 refused" in done.stderr
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tokens = [read_link(instance.keyring, row["link"].partition("lt=")[2], int(time.time())) for row in rows]
    assert [token.consent if isinstance(token, LinkToken) else None for token in tokens] == ["m", None, "", ""]
    refused = (tmp_path / "tagged.csv.refused.csv").read_text(encoding="utf-8").splitlines()
    assert refused[1].startswith("guest,yes,3,nobody,")
    (minting,) = list_mintings(instance.data, "list")
    assert (minting["made"], minting["refused"], minting["via"]) == (3, 1, "command")
    key = {name: own_person_id(instance.keyring.pseudonym_key, "main", "customer", name) for name in ("4711", "4712")}
    ledger = instance.sql(
        "SELECT toString(own_person_id) AS owner, state, proof FROM v_consent_history "
        "WHERE source = 'list' ORDER BY state"
    )
    assert [(row["owner"], row["state"], row["proof"]) for row in ledger] == [
        (key["4712"], "denied", minting["minting_id"]),
        (key["4711"], "granted", minting["minting_id"]),
    ]
    assert run(instance.data, "links", "sent", str(minting["minting_id"])[:12], "3").returncode == 0
    (told,) = list_mintings(instance.data, "list")
    assert told["sent"] == 3
    again = run(instance.data, "links", "mint", str(source), *words)
    assert again.returncode == 1
    assert "--force" in again.stderr


def test_what_is_not_allowed(instance: RunningInstance, tmp_path: Path) -> None:
    """Pages of others, kinds and columns that there are not; a list of nobody ends with status 1."""
    (tmp_path / "list.csv").write_text("a,b\nguest,1\n", encoding="utf-8")
    source, out = str(tmp_path / "list.csv"), ("--out", str(tmp_path / "out.csv"))
    for words, said in (
        (("--url", "https://evil.example/", "--column", "a"), "no site of the space"),
        (("--url", URL), "which column holds the references? The list has a, b"),
        (("--url", URL, "--column", "c"), "no column 'c': a, b"),
        (("--url", URL, "--column", "a", "--kind", "passport"), "one of customer, email"),
        (("--url", URL, "--column", "a", "--campaign", "x@y"), "no @"),
        (("--column", "a"), "to which page"),
    ):
        done = run(instance.data, "links", "mint", source, *words, *out)
        assert done.returncode == 2, done.stderr
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    done = run(instance.data, "links", "mint", source, "--url", URL, "--column", "a", *out)
    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_api_and_its_client(instance: RunningInstance) -> None:
    """A backend's links are verified at the edge, and their record reaches the store by itself."""
    made = instance.command("key", "create", "--scope", "links", check=False)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    wrong = instance.command("key", "create", "--scope", "read").stdout.strip()

    def ask() -> bool:
        try:
            Client(instance.url, wrong).make_links(["1x"])
        except LinksError as error:
            return error.reason == "scope"
        return False

    wait_until(ask)
    with Client(instance.url, secret) as client:
        links = client.make_links(["4711", "null"], url=URL, campaign="api", consent="m")
    assert [link.error for link in links] == ["", "nobody"]
    assert links[0].url == f"{URL}?lt={links[0].token}"
    question = "SELECT made, recipients, refused, actor FROM v_link_mintings WHERE campaign = 'api'"
    (row,) = instance.until(question, lambda rows: len(rows) == 1)
    assert (row["made"], row["recipients"], row["refused"]) == (1, 1, 1)
    assert row["actor"].startswith("key:")
    assert links[0].token not in instance.log
    assert not list((instance.data / FOLDER).glob("*.json"))


@pytest.mark.long
def test_a_record_that_a_dead_process_left(instance: RunningInstance) -> None:
    """Links were answered and the process died: the next one brings the record in."""
    keyring = read_keyring(instance.config.secrets_path, {})
    left = begin_minting(keyring, Mailing(campaign="left"), now_ms=1_800_000_000_000, actor="key:aa", via="api")
    put_pending(instance.data, left)
    os.kill(instance.role_pids()["web"], signal.SIGKILL)
    instance.until("SELECT actor FROM v_link_mintings WHERE campaign = 'left'", lambda rows: len(rows) == 1)
    wait_until(lambda: not list((instance.data / FOLDER).glob("*.json")))


def test_without_a_store(tmp_path: Path) -> None:
    """The secrets are enough; the record waits. Consent needs the store, or a word that it does not."""
    open_keyring(tmp_path / "secrets.json")
    (tmp_path / "list.csv").write_text("customer,ok\n4711,yes\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    words = ("links", "mint", str(tmp_path / "list.csv"), "--url", URL, "--out", str(out), "--set", "engine_port=9")
    done = run(tmp_path, *words, "--consent-column", "ok")
    assert done.returncode == 2
    assert "--no-ledger" in done.stderr
    assert not out.exists()
    done = run(tmp_path, *words, "--consent-column", "ok", "--no-ledger")
    assert done.returncode == 0, done.stderr
    assert "waits for the store" in done.stderr
    assert len(list((tmp_path / FOLDER).glob("*.json"))) == 1
    done = run(tmp_path, *words[:-2], "--set", "engine_port=9", "--force", "--dry-run")
    assert done.stdout.startswith("line 2: 4711\n  link: https://mail.example/spring?lt=m")
    assert len(list((tmp_path / FOLDER).glob("*.json"))) == 1


def test_refused_rows_replace_nothing_else(tmp_path: Path) -> None:
    """Not the list that was read, not the tagged one, and no other file without --force."""
    open_keyring(tmp_path / "secrets.json")
    source, out, other = tmp_path / "out.csv.refused.csv", tmp_path / "out.csv", tmp_path / "other.csv"
    listed = "customer\n4711\nguest\n"
    source.write_text(listed, encoding="utf-8")
    other.write_text("mine", encoding="utf-8")
    words = ("links", "mint", str(source), "--token-only", "--out", str(out), "--set", "engine_port=9")
    for more in ((), ("--force",), ("--refused", str(source), "--force"), ("--refused", str(out)), ("--refused", "-")):
        done = run(tmp_path, *words, *(more or ("--refused", str(other))))
        assert (done.returncode, out.exists()) == ((0, True) if more == ("--refused", "-") else (2, False)), done.stderr
        assert source.read_text(encoding="utf-8") == listed
        assert other.read_text(encoding="utf-8") == "mine"
    done = run(tmp_path, *words, "--force", "--refused", str(other))
    assert done.returncode == 0, done.stderr
    assert "guest" in other.read_text(encoding="utf-8")


def test_through_a_pipe(tmp_path: Path) -> None:
    """A list on standard input, tokens of named links and kinds on standard output, and nothing else there."""
    open_keyring(tmp_path / "secrets.json")
    words = ("links", "mint", "-", "--token-only", "--link", "a", "--link", "b", "--kind", "email", "--out", "-")
    listed = "Name;E-Mail\nAnna;anna@mail.example\nBob;bob\n"
    done = run(tmp_path, *words, "--set", "engine_port=9", given=listed)
    assert done.returncode == 0, done.stderr
    header, anna, bob = done.stdout.splitlines()
    assert (header, bob) == ("Name;E-Mail;lt_a;lt_b", "Bob;bob;;")
    tokens = [
        read_link(read_keyring(tmp_path / "secrets.json"), text, int(time.time())) for text in anna.split(";")[2:]
    ]
    assert [(token.link, token.is_pseudonym) for token in tokens if isinstance(token, LinkToken)] == [
        ("a", True),
        ("b", True),
    ]
    for wrong in (
        ("--type", "recipient"),
        ("--link", "a"),
        ("--delimiter", "ab"),
        ("--delimiter", '"'),
        ("--sent-at", "0001-01-01"),
    ):
        assert run(tmp_path, *words, *wrong, "--set", "engine_port=9", given=listed).returncode == 2
    parquet = run(tmp_path, "links", "mint", "-", "--format", "parquet", *words[3:], "--set", "engine_port=9")
    assert parquet.returncode == 1
    assert "name a file" in parquet.stderr


@pytest.mark.parametrize(("form", "mark"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_codes_for_print(tmp_path: Path, form: str, mark: bytes) -> None:
    """The link as a QR code, in what printers take."""
    open_keyring(tmp_path / "secrets.json")
    code = tmp_path / f"code.{form}"
    done = run(tmp_path, "link", "--customer", "4711", "--qr", str(code), "--set", "engine_port=9", URL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{URL}?lt=m")
    assert code.read_bytes().startswith(mark)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a web process to have polled."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
