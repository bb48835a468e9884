"""Migrations as text: their numbers, their words, and what they become for each form of store."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest

from collector.config import Config
from collector.errors import SchemaError
from collector.store.migrate import FOUNDATION
from collector.store.rendering import (
    Target,
    find_target,
    list_views,
    quote_text,
    read_migrations,
    render,
    split_statements,
)

EMBEDDED = Target("embedded")
SINGLE = Target("single", user="writer", password="pass'word\\")
CLUSTER = Target("cluster", cluster="main", user="writer", password="secret")


def render_all(target: Target) -> list[str]:
    return [statement for migration in read_migrations() for statement in render(migration.source, target)]


def test_numbers_run_from_one_without_a_gap() -> None:
    """A migration's place is its number."""
    assert [m.version for m in read_migrations()] == list(range(1, len(read_migrations()) + 1))


@pytest.mark.parametrize("target", [EMBEDDED, SINGLE, CLUSTER], ids=lambda t: t.form)
def test_every_statement_may_be_repeated(target: Target) -> None:
    """A migration that broke off is carried out again from its first statement."""
    for statement in [*render(FOUNDATION, target), *render_all(target)]:
        assert re.match(
            r"CREATE OR REPLACE VIEW|CREATE (TABLE|DATABASE|DICTIONARY|MATERIALIZED VIEW) IF NOT EXISTS"
            r"|(DROP|TRUNCATE) \w+ IF EXISTS|ALTER TABLE .* (ADD|DROP) \w+ IF (NOT )?EXISTS|ALTER TABLE .* MODIFY",
            statement,
        ), statement[:80]


@pytest.mark.parametrize("target", [EMBEDDED, SINGLE, CLUSTER], ids=lambda t: t.form)
def test_no_word_is_left_over(target: Target) -> None:
    """Every @word is replaced."""
    assert not [s for s in render_all(target) if re.search(r"@[a-z_]+", s)]


def test_the_checksum_is_over_the_source() -> None:
    """A changed source has another checksum; a password or a cluster's name is in no source, so in no checksum."""
    first = read_migrations()[0]
    assert replace(first, source=first.source + " ").checksum != first.checksum
    assert first.checksum == hashlib.sha256(first.source.encode()).hexdigest()


def test_the_cluster_gets_local_tables_with_a_distributed_one_over_them() -> None:
    """Rows of a shard stand in t_local, t is Distributed; views go from local to local, those on the map to what stands
    on every node as the map does."""
    statements = render_all(CLUSTER)
    made = {m[1] for s in statements if (m := re.match(r"CREATE TABLE IF NOT EXISTS tagstitch\.(\w+)", s))}
    local = {name for name in made if name.endswith("_local")}
    names = (
        *("landing", "events", "identity_evidence", "identity_pairs"),
        *("sessions", "rejected_events", "identifier_vault", "consent_ledger"),
        *("timeline", "visitor_facts", "traits", "touched_people", "touched_keys", "profile_reads", "offer_exposures"),
        "signal_withdrawals",
    )
    assert local == {f"{name}_local" for name in names}
    for name in local:
        facade = next(s for s in statements if s.startswith(f"CREATE TABLE IF NOT EXISTS tagstitch.{name[:-6]} "))
        assert f"Distributed(`main`, tagstitch, {name}," in facade
    for statement in statements:
        assert "ON CLUSTER `main`" in statement, statement[:80]
        if statement.startswith("CREATE MATERIALIZED"):
            if "_to_person_keys_local " in statement:
                assert re.search(r"TO tagstitch\.person_keys AS", statement)
                assert re.search(r"FROM tagstitch\.(identity_map|identity_intervals) ", statement)
                continue
            if re.search(r"\.(identity_\w+|person_states)_to_touched_keys_local ", statement):
                assert re.search(r"TO tagstitch\.touched_keys_local AS", statement)
                continue
            assert re.search(r"TO tagstitch\.\w+_local AS", statement)
            assert re.search(r"FROM tagstitch\.\w+_local", statement)


def test_state_stands_on_every_node_of_a_cluster() -> None:
    """The map and its like have one path for all shards; events have one per shard."""
    statements = "\n".join(render_all(CLUSTER))
    assert "'/clickhouse/tables/all/tagstitch/identity_map', '{shard}-{replica}', version, is_deleted)" in statements
    assert "'/clickhouse/tables/{shard}/tagstitch/events', '{replica}', precedence)" in statements


def test_every_table_behind_a_view_has_its_window() -> None:
    """A replayed batch is recognised in each target on its own."""
    for target, setting in ((EMBEDDED, "non_replicated_deduplication_window"), (CLUSTER, "replicated_dedup")):
        statements = render_all(target)
        targets = {m[1] for s in statements if (m := re.match(r"CREATE MATERIALIZED VIEW .* TO (\S+) AS", s))}
        assert len(targets) == 16
        for name in targets:
            table = next(s for s in statements if s.startswith(f"CREATE TABLE IF NOT EXISTS {name} "))
            window = re.search(rf"{setting}\w* = (\d+)", table)
            assert window
            assert int(window[1]) >= 1000


def test_a_dictionary_reads_as_the_writer_with_a_quoted_password() -> None:
    """A quote in a password does not end the literal."""
    dictionary = next(s for s in render_all(SINGLE) if "DICTIONARY" in s)
    assert "HOST '127.0.0.1' USER 'writer' PASSWORD 'pass\\'word\\\\' QUERY" in dictionary
    assert quote_text("a'b\\c") == "'a\\'b\\\\c'"
    assert "pass" not in repr(SINGLE)


def test_readers_need_no_rights_behind_a_view_on_a_server() -> None:
    """Views for readers run with the rights of who made them; the embedded engine has no users."""
    for target, expected in ((SINGLE, True), (CLUSTER, True), (EMBEDDED, False)):
        views = [s for s in render_all(target) if s.startswith("CREATE OR REPLACE VIEW")]
        assert all(("SQL SECURITY DEFINER" in s) is expected for s in views)


@pytest.mark.parametrize("engine", ["Kafka('k', 't', 'g', 'JSONEachRow')", "ReplicatedMergeTree('/p', 'r')", "NATS"])
def test_engines_that_would_brick_an_embedded_store_are_refused(engine: str) -> None:
    """One Kafka table, and chdb does not open its folder again."""
    with pytest.raises(SchemaError, match="embedded"):
        render(f"CREATE TABLE IF NOT EXISTS @name(t) (a UInt8) ENGINE = {engine};", EMBEDDED)
    assert render(f"CREATE TABLE IF NOT EXISTS @name(t) (a UInt8) ENGINE = {engine};", SINGLE)


def test_an_unknown_word_is_refused() -> None:
    """A misspelt word does not reach ClickHouse."""
    with pytest.raises(SchemaError, match="@nmae"):
        render("CREATE TABLE @nmae(t) (a UInt8);", EMBEDDED)


def test_statements_end_at_the_end_of_a_line() -> None:
    """Comments go, a semicolon inside a line stays."""
    assert split_statements("-- a;\nSELECT ';' ;\n-- b\nSELECT 2;\n") == ["SELECT ';'", "SELECT 2"]


def test_the_target_follows_the_settings() -> None:
    """No DSN: embedded. A DSN: one server. A cluster's name: the cluster."""
    assert find_target(Config()).form == "embedded"
    single = find_target(Config(dsn="https://w:p%40ss@ch.example/stitch"))
    assert (single.form, single.database, single.user, single.password) == ("single", "stitch", "w", "p@ss")
    assert find_target(Config(dsn="http://ch.example", cluster="c")).form == "cluster"


def test_the_views_to_wait_for_come_from_the_migrations() -> None:
    """The loader's check knows every view on the way."""
    assert list_views(EMBEDDED) == {
        "landing_to_events",
        "landing_to_identity_evidence",
        "evidence_to_identity_pairs",
        "landing_to_rejected_events",
        "landing_to_identifier_vault",
        "landing_to_consent_ledger",
        "landing_to_profile_reads",
        "events_to_sessions",
        "events_to_timeline",
        "events_to_offer_exposures",
        "timeline_to_visitor_facts",
        "identity_map_to_person_keys",
        "identity_intervals_to_person_keys",
        "landing_to_traits",
        "landing_to_touched_people",
        "identity_map_to_touched_keys",
        "identity_intervals_to_touched_keys",
        "traits_to_touched_keys",
        "consent_ledger_to_touched_keys",
        "consent_ledger_to_signal_withdrawals",
        "person_states_to_touched_keys",
    }
    assert list_views(CLUSTER) == {f"{name}_local" for name in list_views(EMBEDDED)}
