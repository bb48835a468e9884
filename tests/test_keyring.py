from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from collector.errors import KeyringError
from collector.keyring import make_keyring, open_keyring, read_keyring


def test_secrets_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    """A second start finds the same secrets, in a file that nobody else may read."""
    path = tmp_path / "data" / "secrets.json"
    first = open_keyring(path, {})
    assert open_keyring(path, {}) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["secrets.json"]


def test_two_starters_end_with_the_same_secrets(tmp_path: Path) -> None:
    """A race at the first start makes one set of secrets."""
    path = tmp_path / "secrets.json"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: _open(path), range(8)))
    assert len({msgspec.json.encode(ring) for ring in rings}) == 1


def _open(path: Path) -> object:
    return open_keyring(path, {})


def test_secrets_open_to_others_are_refused(tmp_path: Path) -> None:
    """A careless copy is noticed, with the command that mends it."""
    path = tmp_path / "secrets.json"
    open_keyring(path, {})
    path.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        read_keyring(path, {})


def test_secrets_may_come_from_the_environment(tmp_path: Path) -> None:
    """Several hosts can share the secrets without a file."""
    ring = make_keyring()
    text = msgspec.json.encode(ring).decode()
    assert open_keyring(tmp_path / "none.json", {"TAGSTITCH_SECRETS": text}) == ring
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(("content", "word"), [("{}", "damaged"), ("not json", "damaged")])
def test_damaged_secrets_end_with_one_line(tmp_path: Path, content: str, word: str) -> None:
    """Nothing is made anew over a damaged file."""
    path = tmp_path / "secrets.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyringError, match=word):
        open_keyring(path, {})
    assert path.read_text() == content


def test_missing_secrets_say_how_they_are_made(tmp_path: Path) -> None:
    """A command on a wrong folder explains itself."""
    with pytest.raises(KeyringError, match="tagstitch run"):
        read_keyring(tmp_path / "secrets.json", {})


def test_newer_secrets_are_left_alone(tmp_path: Path) -> None:
    """A folder of a newer version is not touched."""
    path = tmp_path / "secrets.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(make_keyring(), format=99)))
    path.chmod(0o600)
    with pytest.raises(KeyringError, match="format 99"):
        read_keyring(path, {})


def test_signing_secrets_differ_by_site_and_version() -> None:
    """One site's secret says nothing about another's."""
    ring = make_keyring()
    secrets = {ring.derive_identify_secret(site, version) for site in ("a", "b") for version in (1, 2)}
    assert len(secrets) == 4
    assert all(len(secret) == 64 for secret in secrets)
