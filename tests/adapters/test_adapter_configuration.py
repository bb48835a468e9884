"""What `use.toml` may say of adapters, and how it is told what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.adapters.configuration import FilesSettings, SqlSettings
from collector.adapters.rest_settings import RestSettings
from collector.config import Config
from collector.errors import ConfigError
from collector.use.config import UseConfig, read_use

FILES = """
[adapters.crm]
kind = "files"
path = "customers.csv"
key = "number"
"""


def read(folder: Path, text: str) -> UseConfig:
    path = folder / "use.toml"
    path.write_text(text, encoding="utf-8")
    return read_use(Config(use_file=str(path)))


def test_an_adapter_of_each_kind(tmp_path: Path) -> None:
    """A field is a type, or a table; what is not said has its default."""
    use = read(
        tmp_path,
        """
        [adapters.crm]
        kind = "files"
        path = "customers.csv"
        key = "number"
        search = ["name"]
        bounds = { deadline_s = 0.1, rate_per_s = 50 }
        [adapters.crm.fields]
        name = "text"
        tier = { type = "text", personal = false, ttl_s = 60, min_assurance = 2, sentence = "Its tier." }

        [adapters.mailing]
        kind = "sql"
        key_kind = "email"
        space = "shop"
        url = "postgresql://reader@db.example/mail"
        password_env = "MAIL_PASSWORD"
        table = "recipients"
        key = "email"
        fields.language = "text"

        [adapters.orders]
        kind = "rest"
        base_url = "https://erp.example"
        path = "/customers/{key}"
        fields.points = "integer"
        map.points = "loyalty.points"

        [adapters.scores]
        kind = "clickhouse"
        table = "scores"
        key = "customer_id"
        fields.score = "number"

        [adapters.own]
        kind = "python"
        plugin = "ours"
        options = { region = "eu" }
        """,
    )
    crm = use.adapters["crm"]
    assert isinstance(crm.settings, FilesSettings) and crm.settings.path == "customers.csv"
    assert crm.key_kind == "customer" and crm.space == "main" and crm.file == tmp_path / "use.toml"
    assert crm.bounds.deadline_s == 0.1 and crm.bounds.timeout_s == 5.0
    name, tier = crm.fields
    assert name.personal and name.min_assurance == 3
    assert not tier.personal and tier.min_assurance == 2 and tier.ttl_s == 60 and tier.sentence == "Its tier."
    mailing = use.adapters["mailing"]
    assert isinstance(mailing.settings, SqlSettings) and mailing.key_kind == "email" and mailing.space == "shop"
    orders = use.adapters["orders"]
    assert isinstance(orders.settings, RestSettings) and orders.settings.map == {"points": "loyalty.points"}
    assert sorted(use.adapters) == ["crm", "mailing", "orders", "own", "scores"]


@pytest.mark.parametrize(
    ("text", "setting", "words"),
    [
        ("x = 1", "x", "no such section"),
        ("[audience.x]", "audience", "no such section"),
        ("adapters = 1", "adapters", "sections with names"),
        ("[adapters]\ncrm = 1", "adapters.crm", "[adapters.crm]"),
        ("[adapters.Crm]\nkind = 'sql'", "adapters.Crm", "small letters"),
        ("[adapters.crm]\nkind = 'ldap'", "adapters.crm.kind", "files, sql, rest, clickhouse, python"),
        ("[adapters.crm]\npath = 'x'", "adapters.crm.kind", "must be one of"),
        (FILES, "adapters.crm.fields", "name what is read"),
        (FILES + "colour = 1\nfields.a = 'text'", "adapters.crm.colour", "it has bounds, delimiter"),
        (FILES + "fields.a = 'varchar'", "adapters.crm.fields.a.type", "enum"),
        (FILES + "fields.First = 'text'", "adapters.crm.fields.First", "`map` names its column"),
        (FILES + "fields.a = 1", "adapters.crm.fields.a", "a table"),
        (FILES + "fields.a = { typ = 'text' }", "adapters.crm.fields.a", "typ"),
        (FILES + "fields.a = { min_assurance = 5 }", "adapters.crm.fields.a.min_assurance", "0, 1, 2, 3 or 4"),
        (FILES + "fields.a = { ttl_s = -1 }", "adapters.crm.fields.a.ttl_s", "604800"),
        (FILES + "fields.a = 'text'\nmap.b = 'B'", "adapters.crm.map", "no field is called b"),
        (FILES + "fields.a = 'text'\nsearch = ['b']", "adapters.crm.search", "no field is called b"),
        (FILES + "fields.a = 'text'\nbounds.deadline_s = 0", "adapters.crm.bounds.deadline_s", ">"),
        (FILES + "fields.a = 'text'\nspace = ''", "adapters.crm.space", "length"),
        ("[adapters.crm]\nkind='sql'\nkey='id'\ntable='t'\nfields.a='text'", "adapters.crm.url", "`url_env`"),
        ("[adapters.crm]\nkind='sql'\nkey='id'\nurl='x'\nfields.a='text'", "adapters.crm.table", "`query`"),
        (
            "[adapters.crm]\nkind='sql'\nkey='id'\nurl='x'\ntable='t'\nscan_query='q'\nfields.a='text'",
            "adapters.crm.scan_query",
            "leave this out",
        ),
        (
            "[adapters.crm]\nkind='sql'\nkey='id'\nurl='x'\nquery='q'\nsearch=['a']\nfields.a='text'",
            "adapters.crm.scan_query",
            "needs it",
        ),
        ("[adapters.crm]\nkind='clickhouse'\nkey='id'\nfields.a='text'", "adapters.crm.table", "`dictionary`"),
        (
            "[adapters.crm]\nkind='clickhouse'\nkey='id'\ndictionary='d'\nsearch=['a']\nfields.a='text'",
            "adapters.crm.search",
            "by its key alone",
        ),
        ("[adapters.crm]\nkind='python'\nplugin=''", "adapters.crm.plugin", "length"),
        ("[adapters", "use_file", "is not TOML"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, setting: str, words: str) -> None:
    """With the file, the whole name of the setting and what would be right."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.setting == setting
    assert words in str(caught.value) and "use.toml" in str(caught.value)


def test_without_a_file_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is optional, one that was named is not."""
    monkeypatch.chdir(tmp_path)
    assert read_use(Config()) == UseConfig()
    (tmp_path / "use.toml").write_text(FILES + "fields.a = 'text'", encoding="utf-8")
    assert list(read_use(Config()).adapters) == ["crm"]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_use(Config(use_file="away.toml"))
    (tmp_path / "use.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_use(Config())
