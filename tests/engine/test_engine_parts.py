"""The engine's parts by themselves: credentials, sessions, settings, errors, bodies, functions, catalogue."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from collector.engine.body import Body, choose_encoder
from collector.engine.catalog import pattern_condition, redirect
from collector.engine.config import EngineConfig, read_config
from collector.engine.credentials import Credential, Role, authenticate, digest_password, read_basic
from collector.engine.errors import QueryFailed, read_error
from collector.engine.functions import Functions
from collector.engine.sessions import Sessions
from collector.engine.settings import admit_settings, is_settable


def test_digests_are_salted_and_only_the_right_password_fits() -> None:
    """Two digests of one password differ, both take it, and neither takes another."""
    first, second = digest_password("a-password"), digest_password("a-password")
    assert first != second
    for digest in (first, second):
        known = {"reader": Credential("reader", digest, Role.READER)}
        assert authenticate(known, "reader", "a-password").role is Role.READER
        for user, password in (("reader", "a-passwort"), ("reader", ""), ("other", "a-password")):
            with pytest.raises(QueryFailed) as failed:
                authenticate(known, user, password)
            assert failed.value.code == 516


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic ???", "Basic " + base64.b64encode(b"\xff").decode()])
def test_other_credentials_than_basic_are_none(header: str) -> None:
    """What is not a readable Basic header gives nothing."""
    assert read_basic(header) is None


def test_a_password_may_hold_a_colon() -> None:
    """Only the first colon separates."""
    assert read_basic("basic " + base64.b64encode(b"u:p:q").decode()) == ("u", "p:q")


def test_sessions_end_after_their_timeout_and_are_bounded() -> None:
    """A session lives from its last use; the longest idle one makes room; a held one is never dropped."""
    now = 0.0
    sessions = Sessions(limit=2, max_timeout_s=100, clock=lambda: now)
    first = sessions.take("u", "a", 10, must_exist=False)
    first.settings["x"] = "1"
    with pytest.raises(QueryFailed, match="locked"):
        sessions.take("u", "a", 10, must_exist=False)
    sessions.give_back(first)
    now = 9.0
    assert sessions.take("u", "a", 1000, must_exist=True) is first
    sessions.give_back(first)
    now = 108.0
    assert sessions.take("u", "a", 10, must_exist=True) is first
    sessions.give_back(first)
    now = 120.0
    with pytest.raises(QueryFailed, match="not found"):
        sessions.take("u", "a", 10, must_exist=True)
    held = sessions.take("u", "b", 10, must_exist=False)
    sessions.give_back(sessions.take("u", "c", 10, must_exist=False))
    sessions.take("u", "d", 10, must_exist=False)
    with pytest.raises(QueryFailed, match="busy"):
        sessions.take("u", "e", 10, must_exist=False)
    assert held.is_held


def test_settings_are_bounded_ignored_or_refused() -> None:
    """Limits go down only, habits change nothing, everything else is refused by name."""
    bounds = {"max_execution_time": "60", "max_result_rows": "0"}
    asked = {"max_execution_time": "10.0", "max_result_rows": "5", "readonly": "1", "extremes": "1"}
    assert admit_settings(asked, bounds) == {"max_execution_time": "10", "max_result_rows": "5", "extremes": "1"}
    for value in ("0", "61", "DEFAULT", "99999999999999999999"):
        assert admit_settings({"max_execution_time": value}, bounds)["max_execution_time"] == "60"
    refused = {"format_schema": 452, "max_execution_time": 36, "readonly": 164}
    for name, code in refused.items():
        with pytest.raises(QueryFailed) as failed:
            admit_settings({name: "x"}, bounds)
        assert failed.value.code == code
    assert not any(
        map(is_settable, ("output_format_schema", "input_format_record_errors_file_path", "format_template_row"))
    )


def test_errors_are_read_from_what_chdb_raises() -> None:
    """Code, reason and name come out of a message, also out of one that is wrapped in another."""
    inner = "Code: 164. DB::Exception: Cannot modify it. (READONLY) (version 26.9.2.1)"
    error = read_error(f"Code: 164. DB::Exception: {inner}. (READONLY)")
    assert (error.code, error.name) == (164, "READONLY")
    assert error.reason.startswith("Cannot modify it")
    assert read_error("something else").code == 0
    assert QueryFailed(62, "x").text("1.2") == "Code: 62. DB::Exception: x (SYNTAX_ERROR) (version 1.2)"


def test_a_large_body_goes_to_disk_and_leaves_nothing(tmp_path: Path) -> None:
    """Beyond 16 MiB a body lies in an unlinked file; what was read is what came."""
    body = Body("", 64 * 1024 * 1024, tmp_path)
    for number in range(20):
        body.feed(bytes([number]) * 1_000_000)
    assert list(tmp_path.iterdir()) == []
    assert body.read(1) == b"\0"
    assert sum(map(len, body.chunks())) == 19_999_999
    body.close()


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    """432 names what is known."""
    with pytest.raises(QueryFailed, match="gzip, deflate, lz4 or zstd") as failed:
        Body("br", 100, tmp_path)
    assert failed.value.code == 432


def test_the_first_known_encoding_is_chosen() -> None:
    """The client's order decides; what it excludes is not taken."""
    for accept, expected in (("br, gzip, lz4", "gzip"), ("gzip;q=0, zstd", "zstd"), ("", None), ("br", None)):
        chosen = choose_encoder(accept)
        assert (chosen[0] if chosen else None) == expected


def test_functions_with_suffixes() -> None:
    """An aggregate may carry suffixes, any other function may not; case counts where ClickHouse lets it count."""
    functions = Functions(
        [("sum", True, True), ("uniqExact", False, True), ("lower", True, False), ("file", False, False)], ["url"]
    )
    assert all(map(functions.allows, ("sum", "SUM", "sumIf", "SUMIf", "uniqExactStateIfOrNull", "LOWER")))
    assert not any(map(functions.allows, ("file", "fileIf", "UniqExact", "sumWhatever", "")))
    assert functions.is_known("FILE")
    assert functions.is_table_function("URL")


def test_system_tables_are_redirected_by_name_only() -> None:
    """Quoted or not, `system.tables` becomes the filtered view; text in quotes and longer names stay."""
    assert redirect('SELECT 1 FROM system . `tables`, "system"."columns"') == (
        "SELECT 1 FROM engine_catalog.tables, engine_catalog.columns"
    )
    assert redirect("SELECT system.tables.name FROM system.tables") == (
        "SELECT engine_catalog.tables.name FROM engine_catalog.tables"
    )
    for same in ("SELECT 'system.tables'", "SELECT a.system.tables", "SELECT * FROM system.parts -- system.tables"):
        assert redirect(same) == same


def test_patterns_become_conditions() -> None:
    """A policy's names are literals in SQL, quoted."""
    assert pattern_condition(["d.v_*", "d.it's"]) == (
        "(database = 'd' AND startsWith(name, 'v_')) OR (database = 'd' AND name = 'it\\'s')"
    )
    assert pattern_condition([]) == "0"


def test_a_configuration_is_one_line_of_json() -> None:
    """What is written is what is read; an unknown field is an error that names it."""
    line = b'{"path": "/d", "tmp": "/t", "credentials": {"writer": {"user": "w", "digest": "x"}}, "port": 0}'
    config = read_config(line)
    assert config.policy.views == ("tagstitch.v_*",)
    assert msgspec.json.decode(msgspec.json.encode(config), type=EngineConfig) == config
    with pytest.raises(msgspec.ValidationError, match="colour"):
        read_config(b'{"colour": 1}')
