"""`tagstitch links revoke`, `revocations` and `unrevoke` with a real store and a stitcher."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from collector.cli import make_app
from collector.identity.audit import list_entries
from collector.identity.identifiers import own_person_id
from collector.keyring import make_personal_key
from collector.links.minting import mint_link
from collector.links.revocations import Revocation
from collector.links.rows import RuleReader, read_revocations
from collector.links.token import LinkKind, LinkProblem, LinkToken, read_link
from collector.sites.book import DEFAULT_KINDS, Site
from collector.sites.rows import add_site
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine
NOW_S = 1_790_000_000
SHOP = Site("shop", origins=("https://shop.example",), kinds=DEFAULT_KINDS)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("revoking")) as store:
        yield store


@pytest.fixture
def data(shared_store: RunningStore, tmp_path: Path) -> Path:
    """An instance's folder with the secrets of that store, whose only row is a site."""
    shared_store.clear()
    add_site(shared_store.writer, SHOP)
    secrets = tmp_path / "secrets.json"
    secrets.touch(mode=0o600)
    secrets.write_bytes(msgspec.json.encode(shared_store.keyring))
    return tmp_path


def run(store: RunningStore, data: Path, *words: str, given: str = "") -> Any:
    """Run a command as on the command line."""
    where = ("--data", str(data), "--set", f"engine_port={store.config.engine_port}")
    return CliRunner().invoke(make_app(), ["links", *words, *where], input=given)


def revoke(store: RunningStore, data: Path, *words: str, given: str = "") -> Revocation:
    """Take links back, and return the row."""
    done = run(store, data, "revoke", "--yes", *words, given=given)
    assert done.exit_code == 0, (done.output, done.exception)
    return read_revocations(store.writer)[0]


def mint(store: RunningStore, reference: str = "4711", **shared: Any) -> str:
    """Return a token."""
    return mint_link(store.keyring, reference, now_s=NOW_S, **shared)


def is_revoked(store: RunningStore, text: str) -> bool:
    """Whether a web process that has just asked lets this token tie nobody."""
    answer = read_link(store.keyring, text, NOW_S)
    token = answer.token if isinstance(answer, LinkProblem) else answer
    assert isinstance(token, LinkToken)
    key = own_person_id(store.keyring.pseudonym_key, token.space_id, token.identifier_kind, token.reference)
    return RuleReader(store.writer).read().revocations.find(token, key) is not None


@pytest.mark.parametrize(
    "form", ["{0}", "https://shop.example/?a=promo.sale&lt={0}&utm_source=x", "{1}", "/l/{0}/o.gif"]
)
def test_one_link_is_taken_back(shared_store: RunningStore, data: Path, form: str) -> None:
    """By its token's id, the token, or a link with it; no other is."""
    token, other = mint(shared_store), mint(shared_store)
    row = revoke(shared_store, data, "--token", form.format(token, token.split(".")[1]))
    assert is_revoked(shared_store, token)
    assert not is_revoked(shared_store, other)
    assert row.token_id == token.split(".")[1]
    assert "4711" not in msgspec.json.encode(row).decode()


def test_a_sealed_link_and_one_from_standard_input(shared_store: RunningStore, data: Path) -> None:
    """What nobody can read is read by its key; a dash keeps a link out of the list of processes."""
    token = mint(shared_store, sealed=True)
    revoke(shared_store, data, "--token", "-", given=f"https://shop.example/l/{token}\n")
    assert is_revoked(shared_store, token)


def test_what_is_named_together_holds_together(shared_store: RunningStore, data: Path) -> None:
    """A campaign and a message: that message of that campaign."""
    revoke(shared_store, data, "--campaign", "spring", "--message", "launch")
    assert is_revoked(shared_store, mint(shared_store, campaign="spring", message="launch"))
    assert not is_revoked(shared_store, mint(shared_store, campaign="spring", message="reminder"))
    assert not is_revoked(shared_store, mint(shared_store, campaign="autumn", message="launch"))


def test_a_customer_a_key_and_a_time(shared_store: RunningStore, data: Path) -> None:
    """Of a customer, under the kind that is said; of a key; issued in a span of time."""
    revoke(shared_store, data, "--customer", "4711")
    assert is_revoked(shared_store, mint(shared_store))
    assert not is_revoked(shared_store, mint(shared_store, "4712"))
    mailed = mint(shared_store, "anna@shop.example", identifier_kind=DEFAULT_KINDS[1])
    assert not is_revoked(shared_store, mailed)
    row = revoke(shared_store, data, "--customer", "Anna@Shop.example ", "--kind", "email", "--reason", "asked for")
    assert is_revoked(shared_store, mailed)
    assert "anna" not in msgspec.json.encode(row).decode().lower()
    later = mint(shared_store, "1", sent_at_s=NOW_S + 3600)
    revoke(
        *(shared_store, data, "--key", shared_store.keyring.link_keys[0].id),
        *("--issued-from", "2026-09-21T15:00+00:00", "--issued-to", "2026-09-21T16:00+00:00"),
    )
    assert is_revoked(shared_store, later)
    assert not is_revoked(shared_store, mint(shared_store, "1"))


def test_to_revoke_twice_is_to_revoke_once(shared_store: RunningStore, data: Path) -> None:
    """The same row; lifting it lets the links count, and revoking again takes them back; the log has each."""
    token = mint(shared_store, campaign="spring")
    first = revoke(shared_store, data, "--campaign", "spring")
    again = revoke(shared_store, data, "--campaign", "spring", "--reason", "said again")
    assert (again.revocation_id, again.version) == (first.revocation_id, 2)
    assert run(shared_store, data, "unrevoke", first.revocation_id).exit_code == 0
    assert not is_revoked(shared_store, token)
    twice = run(shared_store, data, "unrevoke", first.revocation_id)
    assert "lifted already" in str(twice.exception)
    revoke(shared_store, data, "--campaign", "spring")
    assert is_revoked(shared_store, token)
    entries = list_entries(shared_store.writer, "main", 10)
    actions = sorted(entry.action for entry in entries)
    assert actions == ["lift-revocation", "revoke-links", "revoke-links", "revoke-links"]
    assert json.loads(entries[0].arguments) == {"revocations": [first.revocation_id], "campaign": "spring"}


def test_what_was_taken_back_is_listed(shared_store: RunningStore, data: Path) -> None:
    """The newest first, as a table or as JSON; lifted ones where they are asked for."""
    old = revoke(shared_store, data, "--campaign", "spring", "--reason", "wrong price")
    assert run(shared_store, data, "unrevoke", old.revocation_id).exit_code == 0
    revoke(shared_store, data, "--campaign", "autumn")
    listed = run(shared_store, data, "revocations", "--json", "--all")
    assert [json.loads(line)["campaign"] for line in listed.stdout.splitlines()] == ["autumn", "spring"]
    shown = run(shared_store, data, "revocations").stdout
    assert "autumn" in shown
    assert "spring" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which links"),
        (("--reason", "because"), "say which links"),
        (("--key", "zzzz"), "tagstitch key links"),
        (("--customer", "1", "--kind", "shoe size"), "no such kind"),
        (("--customer", "null", "--kind", "email"), "no value of kind email"),
        (("--token", "https://shop.example/?lt=m1a2b.forged.1.2.3"), "no token of ours"),
        (("--token", "{unsubscribe}"), "always work"),
        (("--token", "{other}"), "identity space other"),
        (("--campaign", "a\nb"), "printable"),
        (("--issued-from", "2026-02-01T00:00", "--issued-to", "2026-01-01T00:00"), "ends before"),
        (("--key", "{key}", "--take-back"), "evidence does not say"),
    ],
)
def test_what_cannot_be_taken_back_says_why(
    shared_store: RunningStore, data: Path, words: tuple[str, ...], said: str
) -> None:
    """One sentence with cause and fix; nothing is written, and no token is repeated."""
    facts = {
        "unsubscribe": mint(shared_store, kind=LinkKind.UNSUBSCRIBE),
        "other": mint(shared_store, space_id="other"),
        "key": shared_store.keyring.link_keys[0].id,
    }
    done = run(shared_store, data, "revoke", "--yes", *(word.format(**facts) for word in words))
    assert done.exit_code == 1
    assert said in str(done.exception)
    assert not any(token in str(done.exception) + done.output for token in (facts["unsubscribe"], facts["other"]))
    assert read_revocations(shared_store.writer) == []
    assert list_entries(shared_store.writer, "main", 10) == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--customer", "", "--campaign", "spring"),
        ("--customer", "-", "--campaign", "spring"),
        ("--token", " ", "--campaign", "spring"),
        ("--campaign", "spring", "--message", ""),
        ("--campaign", "spring", "--issued-from", ""),
    ],
)
def test_what_is_named_by_nothing_widens_nothing(
    shared_store: RunningStore, data: Path, words: tuple[str, ...]
) -> None:
    """An empty variable of a script, or nothing on standard input: one customer's links would become a campaign's."""
    done = run(shared_store, data, "revoke", "--yes", *words)
    assert done.exit_code != 0
    assert read_revocations(shared_store.writer) == []


@pytest.mark.parametrize(("words", "given"), [(("--dry-run",), ""), ((), "n\n")])
def test_nothing_is_written_before_it_is_wanted(
    shared_store: RunningStore, data: Path, words: tuple[str, ...], given: str
) -> None:
    """A dry run, and a no."""
    done = run(shared_store, data, "revoke", "--campaign", "spring", *words, given=given)
    assert "campaign spring" in done.output
    assert "nothing was" in done.output
    assert read_revocations(shared_store.writer) == []


def test_a_customer_with_two_names_is_revoked_under_both(shared_store: RunningStore, data: Path) -> None:
    """While personal keys rotate, links carry pseudonyms of either key."""
    keyring = shared_store.keyring
    old = mint(shared_store, "anna@shop.example", identifier_kind=DEFAULT_KINDS[1])
    rotated = msgspec.structs.replace(keyring, personal_keys=[make_personal_key(1), *keyring.personal_keys])
    (data / "secrets.json").write_bytes(msgspec.json.encode(rotated))
    new = mint_link(rotated, "anna@shop.example", now_s=NOW_S, identifier_kind=DEFAULT_KINDS[1])
    revoke(shared_store, data, "--customer", "anna@shop.example", "--kind", "email")
    assert len(read_revocations(shared_store.writer)) == 2
    assert is_revoked(shared_store, old)
    assert is_revoked(shared_store, new)
