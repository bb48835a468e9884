"""`[webhooks.<name>]`: what is read, and what is refused with its name, cause and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collector.config import Config
from collector.errors import ConfigError
from collector.use.config import read_use
from collector.webhooks.configuration import WebhookConfig, read_webhooks

FILE = Path("use.toml")
LEAST = {"url": "https://mail.example/hooks?list=7", "secret_env": "SECRET"}
AUDIENCES = {"lamps": {}, "elsewhere": {"space": "other"}}


def read(**settings: Any) -> WebhookConfig:
    return read_webhooks({"mailing": LEAST | settings}, FILE, AUDIENCES)["mailing"]


def test_the_least_that_is_said() -> None:
    """Everything else has its default: all audiences of the main space, both changes."""
    webhook = read()
    assert (webhook.origin.scheme, webhook.origin.host, webhook.origin.port) == ("https", "mail.example", 443)
    assert webhook.target == "/hooks?list=7"
    assert (webhook.audiences, webhook.changes, webhook.timeout_s) == ((), ("enter", "leave"), 10)
    assert webhook.secret_names == ("SECRET",)
    assert webhook.wants("main", "whatever", "enter")
    assert not webhook.wants("other", "whatever", "enter")


def test_what_it_wants() -> None:
    """Audiences and changes that are named, and no others."""
    webhook = read(audiences=["lamps"], changes=["leave"])
    assert webhook.wants("main", "lamps", "leave")
    assert not webhook.wants("main", "lamps", "enter")
    assert not webhook.wants("main", "desks", "leave")


def test_the_digest_follows_the_address() -> None:
    """Another path is another address; another time limit is not."""
    assert read().address_digest == read(timeout_s=3).address_digest
    assert read().address_digest != read(url="https://mail.example/hooks?list=8").address_digest


def test_inside_is_allowed_where_it_is_said() -> None:
    """http and private addresses need `allow_private`, and never leave the inside."""
    webhook = read(url="http://127.0.0.1:8099/x", allow_private=True)
    assert webhook.origin.authority == "127.0.0.1:8099"
    assert webhook.networks
    assert not read().networks


@pytest.mark.parametrize(
    ("settings", "place", "reason"),
    [
        ({"url": "http://mail.example/"}, "url", "must begin with https://"),
        ({"url": "ftp://mail.example/"}, "url", "must begin with https://"),
        ({"url": "https://ada:secret@mail.example/"}, "url", "no name or password"),
        ({"url": "https://mail.example/#x"}, "url", "without a #fragment"),
        ({"url": "https://mail.example/?a=b c"}, "url", "plain ASCII"),
        ({"url": "https://10.0.0.8/"}, "url", "allow_private = true"),
        ({"url": "https://[::1]/"}, "url", "allow_private = true"),
        ({"url": "https://2130706433/"}, "url", "no host"),
        ({"url": "https://169.254.169.254/latest", "allow_private": True}, "url", "never reached"),
        ({"url": "http://93.184.216.34/", "allow_private": True}, "url", "a public one"),
        ({"secret_env": "whsec_abc="}, "secret_env", "regex"),
        ({"previous_secret_env": "SECRET"}, "previous_secret_env", "the same variable"),
        ({"audiences": ["desks"]}, "audiences", "there is elsewhere, lamps"),
        ({"audiences": ["elsewhere"]}, "audiences", "of space other"),
        ({"changes": []}, "changes", "length"),
        ({"changes": ["come"]}, "changes", "Invalid enum value"),
        ({"timeout_s": 0}, "timeout_s", ">= 0.1"),
        ({"secret": "whsec_abc"}, "secret", "no such setting"),
    ],
)
def test_what_cannot_be_meant(settings: dict[str, Any], place: str, reason: str) -> None:
    """File, webhook and setting are named; an address, which may hold a secret, is not."""
    with pytest.raises(ConfigError) as caught:
        read(**settings)
    assert f"webhooks.mailing.{place}" in str(caught.value)
    assert reason in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_names_and_sections() -> None:
    """A name as all others have; a section, not a value."""
    for name, section in (("Mailing", LEAST), ("mailing", "https://x.example")):
        with pytest.raises(ConfigError, match=f"webhooks.{name}"):
            read_webhooks({name: section}, FILE, {})


def test_in_the_file(tmp_path: Path) -> None:
    """It is one of the sections of `use.toml`."""
    file = tmp_path / "use.toml"
    file.write_text('[webhooks.mailing]\nurl = "https://mail.example"\nsecret_env = "SECRET"\nca_file = "ca.pem"\n')
    webhook = read_use(Config(use_file=str(file))).webhooks["mailing"]
    assert webhook.target == "/"
    assert webhook.ca_file == tmp_path / "ca.pem"
