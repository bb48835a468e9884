"""Migrations against a real engine: repeated, broken off, too new, changed, at the same time, and by grants."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.config import Config
from collector.errors import SchemaError, StoreError, StoreUnavailable
from collector.keyring import Keyring, make_keyring
from collector.store import migrate as migrate_module
from collector.store.client import StoreClient, open_client
from collector.store.grants import list_reader_views, render_grants
from collector.store.migrate import FOUNDATION, check_landing, migrate
from collector.store.rendering import Target, read_migrations, render
from tests.engine_process import RunningEngine, running_engine
from tests.running_store import RunningStore, configure, make_event, make_row

pytestmark = pytest.mark.engine
CLUSTER = Target("cluster", cluster="main", user="writer", password="secret")
SINGLE = Target("single", user="writer", password="secret")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("migrate")) as running:
        yield running


@pytest.fixture
def fresh(engine: RunningEngine) -> Iterator[tuple[Config, Keyring, StoreClient]]:
    """A store without a schema."""
    config, keyring = configure(engine)
    with open_client(config, keyring, "writer", database="default") as client:
        client.command("DROP DATABASE IF EXISTS tagstitch SYNC")
        yield config, keyring, client


def show_schema(client: StoreClient) -> list[tuple[object, ...]]:
    rows = client.query_rows(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'tagstitch' ORDER BY name"
    )
    return [tuple(row.values()) for row in rows]


def test_a_second_migrate_does_nothing(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """What is there stays; only what is missing is carried out."""
    config, keyring, client = fresh
    first = migrate(config, keyring)
    schema = show_schema(client)
    second = migrate(config, keyring)
    assert first.applied == tuple(m.label for m in read_migrations())
    assert second.applied == ()
    assert second.version == first.version == len(read_migrations())
    assert show_schema(client) == schema


def test_a_migrate_that_broke_off_is_finished(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """Half a migration, and a lock whose process is dead: the next one repairs both."""
    config, keyring, client = fresh
    migrate(config, keyring)
    complete = show_schema(client)
    client.command("ALTER TABLE tagstitch.schema_migrations DELETE WHERE version >= 3 SETTINGS mutations_sync = 2")
    client.command("DROP TABLE tagstitch.sessions SYNC")
    dead = os.spawnlp(os.P_WAIT, "true", "true") or 2**22 - 7  # a pid that nobody has
    holder = f'{{"host": "{os.uname().nodename}", "pid": {dead}}}'
    client.command(f"CREATE TABLE tagstitch.schema_lock (holder String) ENGINE = Memory COMMENT '{holder}'")
    assert migrate(config, keyring).applied == tuple(m.label for m in read_migrations()[2:])
    assert [name for name, _ in show_schema(client)] == [name for name, _ in complete]


def test_a_newer_schema_is_refused(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """An older program does not touch what a newer one made."""
    config, keyring, client = fresh
    migrate(config, keyring)
    client.command("INSERT INTO tagstitch.schema_migrations (version, name, checksum) VALUES (999, 'later', 'x')")
    with pytest.raises(SchemaError, match=r"schema version 999, this program knows up to \d+: update tagstitch"):
        migrate(config, keyring)
    with open_client(config, keyring, "writer") as writer, pytest.raises(SchemaError, match="999"):
        check_landing(writer)


def test_a_changed_migration_is_refused(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """What was carried out must be what this program would have carried out."""
    config, keyring, client = fresh
    migrate(config, keyring)
    client.command("INSERT INTO tagstitch.schema_migrations (version, name, checksum) VALUES (2, 'identity', 'other')")
    with pytest.raises(SchemaError, match="0002_identity was carried out with other content"):
        migrate(config, keyring)


def test_migrators_at_once_carry_everything_out_once(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """Three processes that start together all succeed, and each migration is carried out by one of them."""
    config, keyring, client = fresh
    script = (
        "import msgspec, sys; from collector.config import Config; from collector.keyring import Keyring;"
        "from collector.store.migrate import migrate; given = sys.stdin.buffer.readlines();"
        "done = migrate(msgspec.json.decode(given[0], type=Config), msgspec.json.decode(given[1], type=Keyring));"
        "print(done.version)"
    )
    given = msgspec.json.encode(config) + b"\n" + msgspec.json.encode(keyring) + b"\n"
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "123"
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
    for process in started:
        assert process.stdout is not None
        with process.stdout:
            assert int(process.stdout.read().split()[-1]) == len(read_migrations())
        assert process.wait() == 0
    listed = client.query_rows("SELECT count() AS n FROM tagstitch.schema_migrations")
    assert listed == [{"n": len(read_migrations())}]


def test_a_lock_that_stays_is_named(
    fresh: tuple[Config, Keyring, StoreClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live holder is waited for, then the message says what to look for."""
    config, keyring, client = fresh
    migrate(config, keyring)
    client.command("ALTER TABLE tagstitch.schema_migrations DELETE WHERE version >= 5 SETTINGS mutations_sync = 2")
    holder = f'{{"host": "{os.uname().nodename}", "pid": {os.getppid()}}}'
    client.command(f"CREATE TABLE tagstitch.schema_lock (holder String) ENGINE = Memory COMMENT '{holder}'")
    target = Target("embedded")
    with (
        pytest.raises(SchemaError, match=r"drop table tagstitch\.schema_lock"),
        migrate_module._hold_lock(client, target, sleep=lambda _: None, wait_s=2),
    ):
        pass


def test_nothing_is_loaded_without_a_schema(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """The loader is told what to do."""
    config, keyring, client = fresh
    client.command("CREATE DATABASE tagstitch ENGINE = Atomic")
    with open_client(config, keyring, "writer") as writer, pytest.raises(SchemaError, match="tagstitch migrate"):
        check_landing(writer)


@pytest.mark.parametrize("view", ["landing_to_events", "landing_to_identity_evidence", "events_to_sessions"])
def test_nothing_is_loaded_while_a_view_is_missing(fresh: tuple[Config, Keyring, StoreClient], view: str) -> None:
    """A Null table without its views would accept the batch and lose it."""
    config, keyring, client = fresh
    migrate(config, keyring)
    with open_client(config, keyring, "writer") as writer:
        check_landing(writer)
        client.command(f"DROP VIEW tagstitch.{view} SYNC")
        with pytest.raises(SchemaError, match=view):
            check_landing(writer)


def test_nothing_is_loaded_while_a_view_changes(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """While a migrator holds the lock, the loader waits; afterwards it goes on."""
    config, keyring, client = fresh
    migrate(config, keyring)
    with open_client(config, keyring, "writer") as writer:
        with migrate_module._hold_lock(client, Target("embedded")), pytest.raises(SchemaError, match="under way"):
            check_landing(writer)
        check_landing(writer)


def test_dry_run_changes_nothing_and_hides_the_password(fresh: tuple[Config, Keyring, StoreClient]) -> None:
    """The statements are shown, not carried out."""
    config, keyring, client = fresh
    planned = migrate(config, keyring, dry_run=True)
    assert len(planned.statements) > 20
    assert show_schema(client) == []


def test_a_store_that_is_away_is_said_to_be_away() -> None:
    """No answer is no refusal."""
    config = Config(engine_port=1)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        migrate(config, make_keyring())


def test_the_embedded_engine_needs_no_grants(engine: RunningEngine) -> None:
    """Its rights are built in."""
    config, keyring = configure(engine)
    with pytest.raises(SchemaError, match="built in"):
        migrate(config, keyring, grants=True)


@pytest.mark.parametrize("target", [SINGLE, CLUSTER], ids=lambda t: t.form)
def test_server_and_cluster_forms_parse(store: RunningStore, target: Target) -> None:
    """ClickHouse's own parser takes every statement. That is all that can be shown without a cluster."""
    keyring = make_keyring()
    statements = [s for m in read_migrations() for s in render(m.source, target)]
    statements += render(FOUNDATION, target) + render_grants(target, keyring, Config())
    for statement in statements:
        try:
            assert store.query(f"EXPLAIN AST {statement}")
        except StoreError as error:
            raise AssertionError(f"{error}\n{statement}") from error


def test_grants_are_what_the_embedded_engine_gives() -> None:
    """A reader selects from the v_* views and from no table; only the analyst writes, and only to analytics."""
    statements = render_grants(SINGLE, make_keyring(), Config(query_timeout_s=7))
    reader = [s for s in statements if s.startswith("GRANT") and s.endswith("TO `tagstitch_reader`")]
    views = list_reader_views(SINGLE)
    assert {"v_events", "v_sessions", "v_customers", "v_rejected"} <= set(views)
    assert all(view.startswith("v_") for view in views)
    assert reader == [f"GRANT SELECT ON tagstitch.{view} TO `tagstitch_reader`" for view in views] + [
        "GRANT dictGet ON tagstitch.identity TO `tagstitch_reader`",
        "GRANT dictGet ON tagstitch.identity_customers TO `tagstitch_reader`",
        "GRANT dictGet ON tagstitch.identity_intervals_dict TO `tagstitch_reader`",
    ]
    writing = [s for s in statements if "INSERT" in s]
    assert len(writing) == 1
    assert writing[0].endswith("ON analytics.* TO `tagstitch_analyst`")
    assert any("max_execution_time = 7 MIN 1 MAX 7" in s for s in statements)


def test_the_check_before_each_batch_sees_a_whole_schema(store: RunningStore) -> None:
    """On a complete schema nothing is raised, and a batch goes in."""
    check_landing(store.writer)
    store.load(make_row(events=[make_event(1)]))
    assert store.value("SELECT count() FROM events") == 1


def test_migrations_are_in_the_package() -> None:
    """They are read as package data, not from the working folder."""
    folder = Path(migrate_module.__file__).parent / "migrations"
    assert [m.label for m in read_migrations()] == sorted(p.stem for p in folder.glob("*.sql"))
