"""`tagstitch site add` and `tagstitch snippet` with a real store, and without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from collector.cli import make_app
from collector.sites.book import DEFAULT_KINDS, CookieCapture, Issuer, Site, SiteBook
from collector.sites.rows import find_site
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("commands")) as store:
        yield store


@pytest.fixture
def data(store: RunningStore, tmp_path: Path) -> Path:
    """An instance's folder with the secrets of that store; the store is empty."""
    store.clear()
    secrets = tmp_path / "secrets.json"
    secrets.touch(mode=0o600)
    secrets.write_bytes(msgspec.json.encode(store.keyring))
    return tmp_path


def run(store: RunningStore, data: Path, *words: str, port: int = 0) -> Any:
    """Run a command as on the command line."""
    where = ("--data", str(data), "--set", f"engine_port={port or store.config.engine_port}")
    return CliRunner().invoke(make_app(), [*words, *where])


def test_every_setting_can_be_given(store: RunningStore, data: Path) -> None:
    """What the options say stands in the site's row; what is not named stays; an empty value is the default again."""
    done = run(
        *(store, data, "site", "add", "shop", "--origin", "https://shop.example", "--consent", "cookieless"),
        *("--issuer", "https://login.example,web,kind=customer,claim=no", "--capture-cookie", "uid:email:signed"),
        *("--capture-cookie", "sid2", "--cookie-name", "sid", "--cookie-domain", "shop.example"),
        *("--capture", "customer=param:cid", "--capture", "email=meta:mail", "--auto", "spa forms"),
        *(
            "--consent-from",
            "tcf google",
            "--linked-domain",
            "outlet.example",
            "--link-host",
            "apps.example",
            "--sample",
            "0.25",
            "--no-tag",
        ),
    )
    assert done.exit_code == 0, done.output
    assert "no site of space main has pages on outlet.example" in done.output
    site = find_site(store.writer, "shop")
    assert site == Site(
        "shop",
        version=1,
        origins=("https://shop.example",),
        consent="cookieless",
        issuers=(Issuer("https://login.example", "web", "customer", "no"),),
        capture_cookies=(CookieCapture("uid", "email", signed=True), CookieCapture("sid2")),
        cookie="sid",
        cookie_domain="shop.example",
        capture=("customer=param:cid", "email=meta:mail"),
        auto="spa forms",
        consent_from="tcf google",
        linked_domains=("outlet.example",),
        link_hosts=("apps.example",),
        sample=0.25,
        tag=False,
        keep_days=426,
        network_days=30,
        rejected_days=14,
    )
    empty = [
        word
        for name in ("issuer", "capture", "cookie-name", "auto", "linked-domain", "link-host", "kind", "time-zone")
        for word in (f"--{name}", "")
    ]
    assert run(store, data, "site", "add", "shop", "--replace", "--tag", *empty).exit_code == 0
    changed = find_site(store.writer, "shop")
    assert (changed.issuers, changed.capture, changed.cookie, changed.auto, changed.linked_domains) == (
        (),
        (),
        "",
        "",
        (),
    )
    assert (changed.tag, changed.kinds, changed.time_zone) == (True, DEFAULT_KINDS, "UTC")
    assert (changed.cookie_domain, changed.sample, changed.consent) == ("shop.example", 0.25, "cookieless")


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--issuer", "https://login.example", "audience"),
        ("--capture-cookie", "uid:customer:maybe", "COOKIE:KIND:signed"),
        ("--kind", "customer:number", "number is none of"),
        ("--sample", "0", "--no-tag"),
        ("--capture", "member=param:cid", "no declared kind"),
        ("--cookie-domain", "other.example", "does not lie in"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: RunningStore, data: Path, option: str, value: str, problem: str
) -> None:
    """A sentence and a failure; nothing is written."""
    done = run(store, data, "site", "add", "shop", "--origin", "https://shop.example", option, value)
    assert done.exit_code != 0
    assert problem in done.output + str(done.exception)
    assert store.query("SELECT id FROM sites") == []


def test_the_snippet_follows_the_sites_row(store: RunningStore, data: Path) -> None:
    """What the row says is printed at once, without flags; a flag is stronger."""
    run(
        *(store, data, "site", "add", "shop", "--origin", "https://shop.example", "--consent", "implied"),
        *("--capture", "customer=param:cid", "--cookie-domain", "shop.example"),
    )
    done = run(store, data, "snippet", "--site", "shop")
    assert (done.exit_code, done.stderr) == (0, "")
    assert 'data-consent="implied" data-capture="customer=param:cid" data-cookie-domain="shop.example"' in done.stdout
    assert "(?:cid)=" in done.stdout
    assert "data-consent" not in run(store, data, "snippet", "--site", "shop", "--consent", "required").stdout


def test_the_snippet_without_the_store(store: RunningStore, data: Path) -> None:
    """With the store away the copy in the data folder serves; without that, defaults and a word on standard error."""
    done = run(store, data, "snippet", "--site", "shop", port=9)
    assert done.exit_code == 0
    assert 'data-site="shop"></script>' in done.stdout
    assert "default settings" in done.stderr
    (data / "web").mkdir()
    book = SiteBook(sites={"shop": Site("shop", consent="off")}, read_at_ms=1)
    (data / "web" / "sites.json").write_bytes(msgspec.json.encode(book))
    done = run(store, data, "snippet", "--site", "shop", port=9)
    assert ('data-consent="off"' in done.stdout, done.stderr) == (True, "")
    done = run(store, data, "snippet", "--site", "shpo", port=9)
    assert (done.exit_code, "there is no site shpo in the copy" in done.stderr) == (0, True)
    assert "there is no site shpo in the store" in run(store, data, "snippet", "--site", "shpo").stderr
