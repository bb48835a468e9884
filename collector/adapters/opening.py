"""From an adapter's configuration to the adapter: the kind's library is loaded here, when it is needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from collector.adapters.configuration import (
    AdapterConfig,
    ClickHouseSettings,
    FilesSettings,
    PythonSettings,
    SqlSettings,
    wrap_wrong,
)
from collector.adapters.contract import Adapter, Described, Scanned, Wrong
from collector.adapters.files import FilesAdapter
from collector.adapters.rest_settings import RestSettings
from collector.config import Config
from collector.errors import AdapterError, AdapterReason
from collector.instance import MARKER
from collector.keyring import Keyring
from collector.store.client import StoreClient
from collector.store.dsn import find_address


def _find_no_store(_: float) -> StoreClient:
    raise AdapterError(AdapterReason.CONFIG, "our own store is not known here: name another server with dsn_env")


class Place(NamedTuple):
    """Where an adapter runs. `environ`: where secrets are. `data`: the instance's folder, in which files are indexed;
    None: a folder of the adapter's own, until it is closed. `open_store`: our own store for who reads database
    `analytics`; its argument is the longest that one question may take, in seconds."""

    environ: Mapping[str, str] = os.environ
    data: Path | None = None
    open_store: Callable[[float], StoreClient] = _find_no_store


def make_place(config: Config, open_secrets: Callable[[], Keyring]) -> Place:
    """Return where adapters of this instance run. `open_secrets`: the instance's secrets, read where our own store is
    asked; it may raise what it likes to tell."""

    def open_store(timeout_s: float) -> StoreClient:
        return StoreClient(find_address(config, open_secrets(), "analyst"), timeout_s=timeout_s + 1)

    is_instance = (config.data_path / MARKER).exists()
    return Place(os.environ, config.data_path if is_instance else None, open_store)


def describe_adapter(config: AdapterConfig, place: Place) -> Described:
    """Return what an adapter has, without asking its source. A plugin is loaded and made. Raises ConfigError."""
    if not isinstance(config.settings, PythonSettings):
        return describe(config)
    adapter = open_adapter(config, place)
    try:
        return adapter.describe()
    finally:
        asyncio.run(adapter.close())


def describe(config: AdapterConfig) -> Described:
    """Return what the configuration alone says of an adapter that is no plugin."""
    settings = config.settings
    can_search = bool(getattr(settings, "search", ()))
    can_scan = isinstance(settings, FilesSettings | ClickHouseSettings) or (
        isinstance(settings, SqlSettings) and bool(settings.table or settings.scan_query)
    )
    return Described(config.name, config.key_kind, config.fields, can_search=can_search, can_scan=can_scan)


def open_adapter(config: AdapterConfig, place: Place) -> Adapter:
    """Open an adapter; none asks its source before it is asked itself. Raises ConfigError, without any secret."""
    try:
        return _open(config, place, is_scanned=False)
    except Wrong as wrong:
        raise wrap_wrong(config, wrong) from None


def open_scanned(config: AdapterConfig, place: Place) -> Scanned:
    """Open an adapter that is to be read as a whole. Raises ConfigError, and AdapterError `not_supported` for one that
    cannot be."""
    try:
        adapter = _open(config, place, is_scanned=True)
    except Wrong as wrong:
        raise wrap_wrong(config, wrong) from None
    if not adapter.describe().can_scan:
        message = f"adapter {config.name} gives one record at a time: it cannot be read as a whole"
        raise AdapterError(AdapterReason.NOT_SUPPORTED, message)
    return cast(Scanned, adapter)


def _open(config: AdapterConfig, place: Place, *, is_scanned: bool) -> Adapter:
    settings, described, timeout_s = config.settings, describe(config), config.bounds.timeout_s
    if isinstance(settings, FilesSettings):
        return FilesAdapter(described, settings, config.file.parent, place.data, is_scanned=is_scanned)
    if isinstance(settings, SqlSettings):
        from collector.adapters.sql import SqlAdapter

        return SqlAdapter(described, settings, config.file.parent, place.environ, timeout_s)
    if isinstance(settings, RestSettings):
        from collector.adapters.rest import RestAdapter

        return RestAdapter(described, settings, place.environ)
    if isinstance(settings, ClickHouseSettings):
        from collector.adapters.clickhouse import ClickHouseAdapter

        return ClickHouseAdapter(described, settings, place.environ, place.open_store, timeout_s)
    from collector.adapters.plugins import open_plugin

    return open_plugin(config, settings, place.environ, is_scanned=is_scanned)
