"""Where each role reaches the store."""

from __future__ import annotations

import pytest

from collector.config import Config
from collector.errors import ConfigError
from collector.keyring import make_keyring
from collector.store.dsn import find_address, read_dsn

KEYRING = make_keyring()


def test_embedded_roles_differ_in_their_credential_alone() -> None:
    """All three speak to the engine's own port, each under its own name."""
    config = Config(engine_host="127.0.0.1", engine_port=8123)
    writer, reader, analyst = (find_address(config, KEYRING, role) for role in ("writer", "reader", "analyst"))
    assert {(a.scheme, a.host, a.port) for a in (writer, reader, analyst)} == {("http", "127.0.0.1", 8123)}
    assert writer.password == KEYRING.writer.password
    assert (reader.user, reader.database) == ("reader", "tagstitch")
    assert (analyst.user, analyst.database) == ("analyst", "analytics")


def test_a_server_is_named_by_the_dsn() -> None:
    """The DSN's user writes; readers go to the same server with their own credential."""
    config = Config(dsn="https://loader:p%40ss%2Fword@ch.example:9440/stitch")
    writer = find_address(config, KEYRING, "writer")
    assert (writer.user, writer.password, writer.port, writer.database) == ("loader", "p@ss/word", 9440, "stitch")
    reader = find_address(config, KEYRING, "reader")
    assert (reader.scheme, reader.host, reader.port, reader.user) == ("https", "ch.example", 9440, "reader")
    assert reader.password == KEYRING.reader.password


def test_a_dsn_survives_being_written_and_read() -> None:
    """What is printed for a notebook leads back to the same place, odd passwords and IPv6 included."""
    for dsn in ("http://u:p%2F%3A%40%23@[::1]:8123/t", "https://default:@ch.example:8443/tagstitch"):
        address = read_dsn(dsn, "tagstitch")
        assert read_dsn(address.dsn, "other") == address


def test_ports_and_database_have_defaults() -> None:
    """ClickHouse's own ports; our database where the DSN names none."""
    assert read_dsn("http://ch.example", "tagstitch").port == 8123
    assert read_dsn("https://ch.example", "tagstitch").port == 8443
    assert read_dsn("http://ch.example", "tagstitch").database == "tagstitch"


@pytest.mark.parametrize("dsn", ["clickhouse://h", "ch.example:8123", "http://", "http://h:port/", "chdb:///path"])
def test_what_is_no_dsn_is_refused_without_being_quoted(dsn: str) -> None:
    """The message says what it should look like, and never repeats what may hold a password."""
    with pytest.raises(ConfigError) as refused:
        read_dsn(dsn.replace("//", "//u:hidden@") if "//h" in dsn else dsn, "tagstitch")
    assert "hidden" not in str(refused.value)
    assert "https://user:password@host" in str(refused.value)


def test_a_password_does_not_show_in_a_representation() -> None:
    """Addresses turn up in tracebacks."""
    assert "hidden" not in repr(read_dsn("http://u:hidden@h/", "t"))
