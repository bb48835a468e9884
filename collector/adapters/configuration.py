"""What the file of configuration says of adapters, read: `[adapters.<name>]` becomes an AdapterConfig.

A section holds what all kinds say (kind, key_kind, fields, bounds, …), and beside it what its own kind says: the
settings of REST stand with REST, those of the other kinds here. Nothing is opened here, and no secret is read: a
secret is named by the environment variable that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collector.adapters.bounds import SourceBounds
from collector.adapters.contract import Field, Wrong
from collector.adapters.rest_settings import RestSettings, read_targets
from collector.errors import ConfigError
from collector.sites.book import DEFAULT_SPACE

NAME = "^[a-z][a-z0-9_]{0,62}$"
Name = Annotated[str, Meta(pattern=NAME)]
MaybeVariable = Annotated[str, Meta(pattern="^([A-Za-z_][A-Za-z0-9_]*)?$")]
MAX_FIELDS = 200

Kind = Literal["files", "sql", "rest", "clickhouse", "python"]


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `files`: a table in one file. Columns are called as fields are, where `map` does not say otherwise."""

    path: Annotated[str, Meta(min_length=1)]
    """Relative to the folder of the file of configuration."""

    key: Annotated[str, Meta(min_length=1)]
    """The column that holds the key."""

    format: Literal["", "csv", "jsonl", "parquet"] = ""
    """Empty: as the path ends."""

    map: dict[str, str] = {}
    """By field: its column."""

    search: tuple[str, ...] = ()
    """Fields by whose beginning records are found."""

    ignore_case: bool = False
    """Keys are the same whatever their case, as e-mail addresses are."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8-sig"
    settle_s: Annotated[float, Meta(ge=0, le=3_600)] = 1.0
    """A file that was written to within so many seconds may be written to still: it is waited for."""


class SqlSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `sql`: a table or view, or a query of one's own. Either `url` or `url_env`; either `table` or `query`."""

    key: Annotated[str, Meta(min_length=1)]
    """The column that holds the key; of a query, the column of its answer."""

    url: str = ""
    """`postgresql://user@host:5432/database`, `mysql://…`, `mariadb://…` or `sqlite:///path`; never with a password."""

    url_env: MaybeVariable = ""
    """The variable that holds such an URL, which may then have a password."""

    password_env: MaybeVariable = ""
    socket: str = ""
    """Path of the server's socket (MySQL) or of its folder (PostgreSQL), instead of host and port."""

    tls: Literal["", "verify", "require", "off"] = ""
    """`verify`: encrypted, and the server is who it says; `require`: encrypted. Empty: `verify`, but `off` on this
    machine."""

    ca_file: str = ""
    """Certificates that TLS trusts instead of the system's, PEM."""

    table: str = ""
    """With its schema, if it needs one: `crm.customers`."""

    query: str = ""
    """One SELECT with the place `:key`."""

    key_type: Literal["", "text", "integer", "uuid"] = ""
    """What a query's `:key` is compared with; a table tells by itself."""

    scan_query: str = ""
    """Beside `query`: one SELECT of all records, for searches and for `sync`."""

    map: dict[str, str] = {}
    search: tuple[str, ...] = ()
    ignore_case: bool = False
    connections: Annotated[int, Meta(ge=1, le=64)] = 4
    """The most at once, in one process."""


class ClickHouseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `clickhouse`: a table, view or dictionary, of our own store or of another server."""

    key: Annotated[str, Meta(min_length=1)]
    table: str = ""
    """`database.name`; without a database: `analytics`, or the DSN's."""

    dictionary: str = ""
    dsn_env: MaybeVariable = ""
    """The variable that holds `https://user:password@host:8443/database`; empty: our own store."""

    final: bool = False
    """Rows of a ReplacingMergeTree are put together when they are read."""

    map: dict[str, str] = {}
    search: tuple[str, ...] = ()
    connections: Annotated[int, Meta(ge=1, le=64)] = 4


class PythonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `python`: a class of an installed package, by its name in the entry point group `tagstitch.adapters`."""

    plugin: Annotated[str, Meta(min_length=1)]
    options: dict[str, Any] = {}
    """What the class is made with, beside the environment."""


KindSettings = FilesSettings | SqlSettings | RestSettings | ClickHouseSettings | PythonSettings

SETTINGS: Mapping[str, type[KindSettings]] = {
    "files": FilesSettings,
    "sql": SqlSettings,
    "rest": RestSettings,
    "clickhouse": ClickHouseSettings,
    "python": PythonSettings,
}


class _Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a section says whatever its kind is."""

    kind: Kind
    key_kind: Name = "customer"
    space: Annotated[str, Meta(min_length=1)] = DEFAULT_SPACE
    sentence: str = ""
    bounds: SourceBounds = SourceBounds()


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter, as configured. `file`: where; relative paths begin at its folder."""

    name: str
    kind: Kind
    key_kind: str
    space: str
    sentence: str
    fields: tuple[Field, ...]
    bounds: SourceBounds
    settings: KindSettings
    file: Path


def read_adapters(sections: Mapping[str, Any], file: Path) -> dict[str, AdapterConfig]:
    """Read what stands below `adapters`. Raises ConfigError that names file, setting, cause and fix; it quotes no
    value that may be a secret."""
    return {name: _read_adapter(name, section, file) for name, section in sections.items()}


def wrap_wrong(config: AdapterConfig, wrong: Wrong) -> ConfigError:
    """Return what is wrong with a setting of this adapter, with its whole name."""
    return ConfigError(f"adapters.{config.name}.{wrong.setting}", str(config.file), str(wrong))


def _read_adapter(name: str, section: Any, file: Path) -> AdapterConfig:
    where = f"adapters.{name}"
    if not re.fullmatch(NAME, name):
        reason = "an adapter's name is of small letters, digits and _, begins with a letter and has 63 at most"
        raise ConfigError(where, str(file), reason)
    if not isinstance(section, dict):
        raise ConfigError(where, str(file), f"must be a section: write [adapters.{name}] above its settings")
    fields = _read_fields(section.get("fields", {}), where, file)
    common_names = set(_Common.__struct_fields__)
    said = {key: value for key, value in section.items() if key in common_names}
    if said.get("kind") not in SETTINGS:
        raise ConfigError(f"{where}.kind", str(file), f"must be one of {', '.join(SETTINGS)}")
    common: _Common = _convert(said, _Common, where, file)
    rest = {key: value for key, value in section.items() if key not in {*common_names, "fields"}}
    settings_type = SETTINGS[common.kind]
    names = {*settings_type.__struct_fields__, *common_names, "fields"}
    if unknown := rest.keys() - names:
        reason = f"the kind {common.kind} has no such setting; it has {', '.join(sorted(names))}"
        raise ConfigError(f"{where}.{min(unknown)}", str(file), reason)
    settings: KindSettings = _convert(rest, settings_type, where, file)
    config = AdapterConfig(
        name=name,
        kind=common.kind,
        key_kind=common.key_kind,
        space=common.space,
        sentence=common.sentence,
        fields=fields,
        bounds=common.bounds,
        settings=settings,
        file=file,
    )
    try:
        _check(config)
    except Wrong as wrong:
        raise wrap_wrong(config, wrong) from None
    return config


def _read_fields(said: Any, where: str, file: Path) -> tuple[Field, ...]:
    """Read `fields`: by name a type, or a table with more."""
    if not isinstance(said, dict) or len(said) > MAX_FIELDS:
        raise ConfigError(f"{where}.fields", str(file), f"must be a table of fields by name, {MAX_FIELDS} at most")
    fields = []
    for name, value in said.items():
        if not re.fullmatch(NAME, name):
            reason = "a field's name is of small letters, digits and _ and begins with a letter; `map` names its column"
            raise ConfigError(f"{where}.fields.{name}", str(file), reason)
        table = {"type": value} if isinstance(value, str) else value
        if not isinstance(table, dict):
            raise ConfigError(f"{where}.fields.{name}", str(file), 'must be a type, such as "text", or a table')
        field = _convert({**table, "name": name}, Field, f"{where}.fields.{name}", file)
        if not 0 <= field.min_assurance <= 4:
            raise ConfigError(f"{where}.fields.{name}.min_assurance", str(file), "must be 0, 1, 2, 3 or 4")
        if not 0 <= field.ttl_s <= 604_800:
            raise ConfigError(f"{where}.fields.{name}.ttl_s", str(file), "must be from 0 to 604800 seconds")
        if field.page_name and not re.fullmatch(NAME, field.page_name):
            reason = "what pages call it is of small letters, digits and _ and begins with a letter"
            raise ConfigError(f"{where}.fields.{name}.as", str(file), reason)
        if field.page_name and not field.page:
            raise ConfigError(f"{where}.fields.{name}.as", str(file), "it is for pages: say page = true as well")
        fields.append(field)
    return tuple(fields)


def _convert(said: Any, wanted: Any, where: str, file: Path) -> Any:
    try:
        return msgspec.convert(said, wanted)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(where + path.rstrip("`"), str(file), reason) from None


def _check(config: AdapterConfig) -> None:
    """Raise Wrong for settings that do not go together."""
    names = {field.name for field in config.fields}
    settings = config.settings
    if isinstance(settings, PythonSettings):
        return
    if not names:
        raise Wrong("fields", f'name what is read: [adapters.{config.name}.fields] and beneath it  first_name = "text"')
    if isinstance(settings, RestSettings):
        read_targets(settings, tuple(names))
        return
    if unknown := settings.map.keys() - names:
        raise Wrong("map", f"no field is called {min(unknown)}: name it in `fields` too")
    if unknown := set(settings.search) - names:
        raise Wrong("search", f"no field is called {min(unknown)}: name it in `fields` too")
    if isinstance(settings, SqlSettings):
        if bool(settings.url) == bool(settings.url_env):
            raise Wrong("url", "name the database with either `url` or `url_env`")
        if bool(settings.table) == bool(settings.query):
            raise Wrong("table", "say what is read with either `table` or `query`")
        if settings.scan_query and not settings.query:
            raise Wrong("scan_query", "a table is scanned as it is: leave this out")
        if settings.search and settings.query and not settings.scan_query:
            raise Wrong("scan_query", "a search beside a `query` needs it: one SELECT of all records")
    if isinstance(settings, ClickHouseSettings):
        if bool(settings.table) == bool(settings.dictionary):
            raise Wrong("table", "say what is read with either `table` or `dictionary`")
        if settings.dictionary and settings.search:
            raise Wrong("search", "a dictionary is asked by its key alone: name the table behind it")
