"""Sites and keys in a real store, and the copy that a web process keeps of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.errors import ConfigError
from collector.sites.book import Site
from collector.sites.keys import create_key, find_key, revoke_key, rotate_key, verify_key
from collector.sites.poll import SitePoller, read_copy
from collector.sites.rows import (
    add_identify_secret,
    add_site,
    check_sites,
    drop_identify_secrets,
    ensure_demo_site,
    find_site,
    read_book,
    read_keys,
    read_sites,
    read_uses,
)
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine
NOW = 1_790_000_000_000
SHOP = Site("shop", origins=("https://shop.example",))


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("sites")) as store:
        yield store


@pytest.fixture
def store(shared_store: RunningStore) -> RunningStore:
    """The engine with empty tables."""
    shared_store.clear()
    return shared_store


def test_a_site_is_added_once_and_changed_on_request(store: RunningStore) -> None:
    """The second add is refused; with `replace` it is the next version and keeps the signing secrets."""
    assert add_site(store.writer, SHOP).version == 1
    with pytest.raises(ConfigError, match="there already"):
        add_site(store.writer, SHOP)
    add_identify_secret(store.writer, store.keyring, "shop")
    changed = add_site(store.writer, msgspec.structs.replace(SHOP, keep_days=30), replace=True)
    assert (changed.version, changed.keep_days, changed.identify_versions) == (3, 30, (1,))
    assert read_sites(store.writer) == [changed]


def test_a_site_never_moves_to_another_space(store: RunningStore) -> None:
    """Its people belong to the space that they were seen in."""
    add_site(store.writer, SHOP)
    with pytest.raises(ConfigError, match="space"):
        add_site(store.writer, msgspec.structs.replace(SHOP, space_id="other"), replace=True)


def test_a_bad_site_is_not_written(store: RunningStore) -> None:
    """Validation comes first."""
    with pytest.raises(ConfigError, match="origins"):
        add_site(store.writer, Site("shop", origins=("shop.example",)))
    assert read_sites(store.writer) == []


def test_signing_secrets_are_derived_listed_by_version_and_dropped(store: RunningStore) -> None:
    """The newest signs first; an older one can be dropped, the newest cannot, and no version comes back."""
    add_site(store.writer, SHOP)
    for version in (1, 2):
        site, made, secret = add_identify_secret(store.writer, store.keyring, "shop")
        assert made == version
        assert secret == store.keyring.derive_identify_secret("shop", version)
    assert site.identify_versions == (2, 1)
    assert drop_identify_secrets(store.writer, "shop", {1}).identify_versions == (2,)
    with pytest.raises(ConfigError, match="newest"):
        drop_identify_secrets(store.writer, "shop", {2})
    with pytest.raises(ConfigError, match="not in force"):
        drop_identify_secrets(store.writer, "shop", {1})


def test_the_demo_site_is_made_once_and_follows_its_port(store: RunningStore) -> None:
    """A second start writes nothing; another port is another version."""
    first = ensure_demo_site(store.writer, 8000)
    assert ensure_demo_site(store.writer, 8000) == first
    moved = ensure_demo_site(store.writer, 8001)
    assert (first.version, moved.version) == (1, 2)
    assert moved.origins == ("http://127.0.0.1:8001", "http://localhost:8001")
    assert find_site(store.writer, "demo").count_automated


def test_check_names_each_site(store: RunningStore) -> None:
    """One site or all of them."""
    add_site(store.writer, SHOP)
    ensure_demo_site(store.writer, 8000)
    assert check_sites(store.writer).keys() == {"shop", "demo"}
    (finding, *_) = check_sites(store.writer, "shop")["shop"]
    assert "tagstitch key create --scope identify --site shop" in finding.fix
    with pytest.raises(ConfigError, match="no such site"):
        check_sites(store.writer, "nowhere")


def test_the_life_of_a_key(store: RunningStore) -> None:
    """Made, used, rotated with a grace, revoked; its secret never stands in the store."""
    add_site(store.writer, SHOP)
    key, text = create_key(store.writer, store.keyring, scopes=["read"], site_id="shop", now_ms=NOW, name="crm")
    assert _opens(store, text, NOW)
    rotated, second = rotate_key(store.writer, store.keyring, key.key_id, now_ms=NOW, grace_ms=1_000)
    assert (rotated.key_id, rotated.version) == (key.key_id, 2)
    assert _opens(store, text, NOW + 999)
    assert not _opens(store, text, NOW + 1_000)
    assert _opens(store, second, NOW + 1_000)
    assert revoke_key(store.writer, key.key_id, now_ms=NOW + 5).version == 3
    assert revoke_key(store.writer, key.key_id, now_ms=NOW + 9).revoked_at_ms == NOW + 5
    assert not _opens(store, second, NOW + 6)
    with pytest.raises(ConfigError, match="revoked"):
        rotate_key(store.writer, store.keyring, key.key_id, now_ms=NOW + 7)
    stored = json.dumps([row["row"] for row in store.query("SELECT row FROM api_keys")])
    assert text not in stored
    assert text.split("_", 2)[2] not in stored


@pytest.mark.parametrize(
    "settings", [{"scopes": []}, {"scopes": ["everything"]}, {"scopes": ["read"], "expires_at_ms": NOW}]
)
def test_a_key_that_opens_nothing_is_not_made(store: RunningStore, settings: dict[str, object]) -> None:
    """No scope, an unknown one, a time that is over."""
    with pytest.raises(ConfigError):
        create_key(store.writer, store.keyring, now_ms=NOW, **settings)  # type: ignore[arg-type]
    assert read_keys(store.writer) == []


def test_a_key_for_an_unknown_site_is_not_made(store: RunningStore) -> None:
    """The site is named in the error."""
    with pytest.raises(ConfigError, match="nowhere"):
        create_key(store.writer, store.keyring, scopes=["read"], site_id="nowhere", now_ms=NOW)


def test_one_damaged_row_leaves_the_others_in_force(store: RunningStore) -> None:
    """A row of a later program or a hand's slip does not switch the other sites off."""
    add_site(store.writer, SHOP)
    store.put("sites", {"id": "broken", "row": "{", "version": 1})
    assert [site.site_id for site in read_sites(store.writer)] == ["shop"]


def test_a_poller_follows_the_store_and_notes_uses(store: RunningStore, tmp_path: Path) -> None:
    """Sites and keys come with the next poll; uses go out with it, and touch no key's own row."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    poller = SitePoller(config, store.keyring, now_ms=lambda: NOW)
    assert poller.read_book().read_at_ms == 0
    add_site(store.writer, SHOP)
    key, _ = create_key(store.writer, store.keyring, scopes=["read"], now_ms=NOW)
    poller.uses.note(key.key_id, NOW)
    assert poller.poll()
    assert poller.read_book().find_site("shop") is not None
    assert poller.read_book().keys == {key.key_id: key}
    assert read_uses(store.writer) == {key.key_id: NOW - NOW % 60_000}
    assert find_key(store.writer, key.key_id) == key
    poller.stop()


def test_a_process_starts_from_the_copy_while_the_store_is_away(store: RunningStore, tmp_path: Path) -> None:
    """The copy is owner-only, survives the process, tells its age, and stays in force until the store answers."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    add_site(store.writer, SHOP)
    assert SitePoller(config, store.keyring, now_ms=lambda: NOW).poll()
    copy = tmp_path / "web" / "sites.json"
    assert copy.stat().st_mode & 0o077 == 0

    away = msgspec.structs.replace(config, engine_port=1)
    poller = SitePoller(away, store.keyring, now_ms=lambda: NOW + 7_000)
    assert not poller.poll()
    assert poller.read_book().find_site("shop") is not None
    assert poller.measure_age_s() == 7.0
    assert not poller.wait_for_poll(0)


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_jumps_does_not_stop_the_copy(store: RunningStore, tmp_path: Path, jump_ms: int) -> None:
    """An hour back or forward: the copy is as old as the last poll says, and a change is in it at once."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    now = [NOW]
    poller = SitePoller(config, store.keyring, now_ms=lambda: now[0])
    assert poller.poll()
    now[0] += jump_ms
    assert poller.poll()
    assert read_copy(tmp_path).read_at_ms == now[0]
    assert poller.measure_age_s() == 0
    add_site(store.writer, Site(site_id=f"jump{abs(jump_ms + 1)}", origins=("https://jump.example",)))
    assert poller.poll()
    assert read_copy(tmp_path).sites == poller.read_book().sites
    assert f"jump{abs(jump_ms + 1)}" in poller.read_book().sites


def test_a_damaged_copy_is_left_aside(store: RunningStore, tmp_path: Path) -> None:
    """The process starts with an empty book and reads the store."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "sites.json").write_text("{")
    config = msgspec.structs.replace(store.config, data=str(tmp_path))
    add_site(store.writer, SHOP)
    poller = SitePoller(config, store.keyring, now_ms=lambda: NOW)
    assert poller.read_book().sites == {}
    assert poller.poll()
    assert poller.read_book().sites.keys() == {"shop"}


def test_the_thread_polls_by_itself(store: RunningStore, tmp_path: Path) -> None:
    """Started, it reads the store without being asked, and ends when it is stopped."""
    config = msgspec.structs.replace(store.config, data=str(tmp_path), settings_interval_s=0.05)
    add_site(store.writer, SHOP)
    poller = SitePoller(config, store.keyring, now_ms=lambda: NOW)
    poller.start()
    assert poller.wait_for_poll(20)
    poller.stop()
    assert poller.read_book().sites.keys() == {"shop"}


def _opens(store: RunningStore, text: str, now_ms: int) -> bool:
    book = read_book(store.writer, now_ms)
    return verify_key(book, store.keyring, text, "read", "shop", now_ms=now_ms) is not None
