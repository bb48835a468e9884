"""Every setting of a process, once: name, type, unit, default, one sentence.

Order of strength: flag, environment (`TAGSTITCH_NAME`), `tagstitch.toml`, default. What belongs to a site (origins,
consent, retention) is no setting but a row in the store: see `sites`. `docs/settings.md` is made from this file and
a test holds it complete. The object is frozen, read once, passed in.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from collector.errors import ConfigError

ENVIRONMENT_PREFIX = "TAGSTITCH_"
FILE_NAME = "tagstitch.toml"

Port = Annotated[int, Meta(ge=0, le=65535)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one process. Paths are as given; `data` is created by `tagstitch run` alone."""

    # Where things are
    data: Annotated[str, Meta(description="Folder of the instance: secrets, spool, embedded store.")] = "./data"
    secrets_file: Annotated[
        str,
        Meta(description="File with the secrets; empty: `secrets.json` in the data folder. Shared by all hosts."),
    ] = ""
    dsn: Annotated[
        str,
        Meta(description="ClickHouse to use, `http(s)://user:password@host:port/database`; empty: the embedded one."),
    ] = ""
    database: Annotated[str, Meta(description="Database that holds our tables.", pattern="^[a-z_][a-z0-9_]*$")] = (
        "tagstitch"
    )
    cluster: Annotated[
        str, Meta(description="Name of the ClickHouse cluster; empty: one server.", pattern="^[A-Za-z0-9_]*$")
    ] = ""

    # What listens where
    host: Annotated[str, Meta(description="Address on which web listens.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port on which web listens; 0: any free one.")] = 8000
    engine_host: Annotated[str, Meta(description="Address on which the embedded engine listens.")] = "127.0.0.1"
    engine_port: Annotated[Port, Meta(description="Port of the embedded engine; 0: any free one.")] = 8123
    web_workers: Annotated[
        int, Meta(description="Web processes that share the port; 0: one for each core but one.", ge=0, le=256)
    ] = 1
    public_url: Annotated[
        str,
        Meta(description="How browsers reach this collector, `https://shop.example`; empty: as requested."),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Networks whose X-Forwarded-For, -Proto and country header count, comma between; empty: none."
        ),
    ] = ""
    country_header: Annotated[
        str,
        Meta(description="Header in which a trusted proxy gives the country, such as CF-IPCountry; empty: none."),
    ] = ""
    country_database: Annotated[
        str, Meta(description="MMDB file that gives the country of an address; empty: none.")
    ] = ""

    # Paths
    tag_path: Annotated[str, Meta(description="Path of the tag.", pattern="^/")] = "/x/t.js"
    beacon_path: Annotated[str, Meta(description="Path to which the tag sends.", pattern="^/")] = "/x/b"
    pixel_path: Annotated[str, Meta(description="Path of the picture for pages without script.", pattern="^/")] = (
        "/x/p.gif"
    )
    opt_out_path: Annotated[
        str, Meta(description="Path of the public page on which visitors object.", pattern="^/")
    ] = "/x/opt-out"
    link_path: Annotated[str, Meta(description="Path before the token of a tagged link.", pattern="^/")] = "/l"
    link_parameter: Annotated[
        str,
        Meta(description="URL parameter that carries the token of a tagged link.", pattern="^[A-Za-z0-9_-]+$"),
    ] = "lt"

    # Tagged links
    link_opens: Annotated[bool, Meta(description="Count `<link_path>/<token>/o.gif`, a picture in mails.")] = False
    link_soon_s: Annotated[
        int,
        Meta(description="Seconds after sending in which a link is followed soon, as scanners do; 0: never.", ge=0),
    ] = 20
    link_many_recipients: Annotated[
        int,
        Meta(
            description="From how many recipients of a campaign on one address has many, in ten minutes; 0: never.",
            ge=0,
        ),
    ] = 8
    data_centre_file: Annotated[
        str, Meta(description="File with the networks of data centres, one CIDR a line; empty: none.")
    ] = ""

    # Bounds at the edge
    max_body_bytes: Annotated[int, Meta(description="Largest body of a beacon, in bytes.", ge=1024)] = 1_048_576
    max_events: Annotated[int, Meta(description="Most events in one beacon.", ge=1)] = 500
    max_header_bytes: Annotated[int, Meta(description="Largest head of a request, in bytes.", ge=4096)] = 65_536
    request_timeout_s: Annotated[
        float, Meta(description="Seconds in which a client must have sent head and body.", gt=0)
    ] = 5.0
    address_rate: Annotated[
        int, Meta(description="Beacons a second from one address, in each web process; 0: any number.", ge=0)
    ] = 200
    address_burst: Annotated[int, Meta(description="Beacons that one address may send at once.", ge=1)] = 1000
    max_connections: Annotated[int, Meta(description="Most open connections of one web process.", ge=1)] = 4096
    max_address_connections: Annotated[
        int, Meta(description="Most of them from one address; trusted proxies and this machine may have all.", ge=1)
    ] = 1024

    # Spool and load
    durability: Annotated[
        str,
        Meta(
            description="When a beacon is acknowledged: `fsync` (it is on disk) or `os` (the system has it).",
            pattern="^(fsync|os)$",
        ),
    ] = "fsync"
    segment_bytes: Annotated[int, Meta(description="A spool segment is sealed at this size.", ge=65_536)] = 25_165_824
    segment_age_s: Annotated[float, Meta(description="A spool segment is sealed at this age.", gt=0)] = 0.5
    max_spool_bytes: Annotated[int, Meta(description="Beyond this the collector answers 503.", ge=1_048_576)] = (
        10_737_418_240
    )
    min_free_bytes: Annotated[int, Meta(description="With less free disk the collector answers 503.", ge=0)] = (
        268_435_456
    )
    batch_events: Annotated[int, Meta(description="Most events in one insert.", ge=1, le=50_000)] = 50_000
    batch_bytes: Annotated[int, Meta(description="Most bytes in one insert.", ge=65_536, le=8_388_608)] = 8_388_608
    rejected_days: Annotated[
        int, Meta(description="How long refused bodies are kept for `tagstitch replay`; 0: none are.", ge=0, le=90)
    ] = 7
    rejected_bytes: Annotated[int, Meta(description="Most bytes of refused bodies that are kept.", ge=0)] = 104_857_600
    load_interval_s: Annotated[float, Meta(description="How often the loader looks for sealed segments.", gt=0)] = 0.1

    # Stitch and settings
    stitch_interval_s: Annotated[float, Meta(description="How often stitch looks for new batches.", gt=0)] = 0.2
    merges_per_minute: Annotated[
        int,
        Meta(description="Merges of two customers within a minute after which stitch waits and says so.", ge=1),
    ] = 60_000
    settings_interval_s: Annotated[float, Meta(description="How often web asks for changed sites and keys.", gt=0)] = (
        5.0
    )
    issuer_pause_s: Annotated[
        float, Meta(description="Least time between two questions to an issuer for a key that a token names.", gt=0)
    ] = 60.0
    look_back_days: Annotated[
        int, Meta(description="How far back anonymous history goes to the first customer.", ge=0)
    ] = 90
    shared_device_people: Annotated[
        int,
        Meta(description="With more people than this in `shared_device_days` a visitor is a shared device.", ge=1),
    ] = 5
    shared_device_days: Annotated[
        int, Meta(description="In how many days people on one visitor are counted.", ge=1)
    ] = 30
    customers_per_visitor: Annotated[
        int, Meta(description="A visitor that signs in as more customers than this is nobody's.", ge=1)
    ] = 50
    visitors_per_token: Annotated[
        int, Meta(description="How many visitors one tagged link, or one sign-in's token on a site, may attach.", ge=1)
    ] = 2
    assurance_hours: Annotated[
        float, Meta(description="How long a signed identify stays in force on later events.", gt=0)
    ] = 12.0

    # Readers
    query_timeout_s: Annotated[int, Meta(description="Longest statement of a reader or analyst.", ge=1)] = 60
    query_memory_bytes: Annotated[int, Meta(description="Most memory of one statement.", ge=16_777_216)] = 2_147_483_648

    # What is done with people
    use_file: Annotated[
        str,
        Meta(
            description="File with traits, adapters, audiences, offers and webhooks; empty: `use.toml` in the current "
            "folder, if there."
        ),
    ] = ""
    privacy_approval: Annotated[
        bool, Meta(description="Whether somebody else has to approve an erasure before it is carried out.")
    ] = False
    privacy_link_hours: Annotated[
        float, Meta(description="How long a confirmation link to the page of one's own data opens it.", gt=0, le=720)
    ] = 24.0
    backup_dir: Annotated[
        str,
        Meta(description="Where backups are written, and the journal of erasures; empty: `backups` in data."),
    ] = ""
    backup_days: Annotated[
        int, Meta(description="How many days a backup can be brought back; then its key is destroyed.", ge=1, le=3650)
    ] = 35
    backup_keys_file: Annotated[
        str,
        Meta(description="Where the keys of backups stand; empty: `backup_keys.json` in data. Keep a copy."),
    ] = ""
    govern_interval_s: Annotated[
        float, Meta(description="How often govern looks for entries of the audit log and for requests of people.", gt=0)
    ] = 2.0
    activate_interval_s: Annotated[
        float, Meta(description="How often activate looks for people to judge anew.", gt=0)
    ] = 0.2
    audience_sweep_s: Annotated[
        float,
        Meta(description="How often everybody is judged anew, for rules that time alone changes, in seconds.", ge=10),
    ] = 3_600.0

    # Pages and logs
    demo: Annotated[bool, Meta(description="Serve the demo shop and its live page.")] = False
    inspect: Annotated[
        bool,
        Meta(description="Serve the dry run: beacons sent to /x/inspect are judged and shown at /inspect, not stored."),
    ] = False
    log_level: Annotated[
        str, Meta(description="debug, info, warning or error.", pattern="^(debug|info|warning|error)$")
    ] = "info"
    log_form: Annotated[
        str, Meta(description="text, json, or auto (text on a terminal).", pattern="^(auto|text|json)$")
    ] = "auto"

    @property
    def data_path(self) -> Path:
        """The instance's folder."""
        return Path(self.data)

    @property
    def secrets_path(self) -> Path:
        """The file with the secrets."""
        return Path(self.secrets_file) if self.secrets_file else self.data_path / "secrets.json"

    @property
    def is_embedded(self) -> bool:
        """Whether the store is our own engine."""
        return not self.dsn


class SettingRow(msgspec.Struct, frozen=True):
    """One setting as the documentation shows it."""

    name: str
    type: str
    default: str
    sentence: str


def describe_settings() -> list[SettingRow]:
    """Return every setting, in the order of the class."""
    hints = get_type_hints(Config, include_extras=True)
    rows = []
    for item in msgspec.structs.fields(Config):
        base, meta = hints[item.name], None
        while get_args(base) and hasattr(base, "__metadata__"):
            meta = next((m for m in base.__metadata__ if isinstance(m, Meta) and m.description), meta)
            base = get_args(base)[0]
        sentence = str(meta.description) if meta else ""
        rows.append(SettingRow(item.name, base.__name__, str(item.default), sentence))
    return rows


class Settings(msgspec.Struct, frozen=True):
    """The settings, and where each that is not a default was given: `flag`, a variable's or a file's name."""

    config: Config
    sources: dict[str, str]


def load_config(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    """Read the settings as `load_settings` does, without their sources."""
    return load_settings(flags, environ, file).config


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Read the settings from flags, environment and file.

    `file`: an explicit file must exist; without one, `tagstitch.toml` in the current folder is read if it is there.
    Raises ConfigError naming the setting and where the bad value stands.
    """
    environ = os.environ if environ is None else environ
    names = {item.name for item in msgspec.structs.fields(Config)}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}

    path = file or Path(FILE_NAME)
    if file is not None or path.is_file():
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError("--config", str(path), f"cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError("--config", str(path), f"is not TOML: {error}") from error
        for name, value in content.items():
            if name not in names:
                raise ConfigError(name, str(path), "there is no such setting; docs/settings.md lists them all")
            values[name], sources[name] = value, str(path)
    for key, text in environ.items():
        name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key.startswith(ENVIRONMENT_PREFIX) and name in names:
            values[name], sources[name] = text, key
    for name, flag in (flags or {}).items():
        if flag is not None:
            if name not in names:
                raise ConfigError(name, "--set", "there is no such setting; docs/settings.md lists them all")
            values[name], sources[name] = flag, "flag"

    try:
        return Settings(msgspec.convert(values, Config, strict=False), sources)
    except msgspec.ValidationError as error:
        text = str(error)
        name = next((n for n in values if f"`$.{n}`" in text), "?")
        raise ConfigError(name, sources.get(name, "?"), text.split(" - at ")[0]) from error
