"""From a configuration and a store to a sync that can run: kinds of identifiers, declared traits, the vault."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Described
from collector.config import Config
from collector.identity.erased import read_tombstones
from collector.identity.names import read_kinds
from collector.keyring import Keyring
from collector.profiles.consents import has_granted
from collector.profiles.definitions import Definitions, TraitConfig
from collector.sites.rows import read_sites
from collector.store.client import StoreClient
from collector.syncing.forms import Former
from collector.syncing.sync import AdapterSync, Watcher


def open_sync(
    config: Config,
    client: StoreClient,
    keyring: Keyring,
    adapter: AdapterConfig,
    described: Described,
    traits: Mapping[str, TraitConfig],
    watcher: Watcher,
    *,
    is_dry: bool = False,
    allow_gone: bool = False,
) -> AdapterSync:
    """Return the sync of a source, not begun. Raises ConfigError, RepairError for an unknown space, StoreError."""
    kinds = {name: forms[0] for name, forms in read_kinds(client, adapter.space).items()}
    definitions = Definitions(traits, adapter.space)
    sites = read_sites(client)
    return AdapterSync(
        config,
        client,
        keyring,
        adapter,
        Former(
            *(adapter, described, keyring, kinds, definitions, read_tombstones(client, adapter.space)),
            partial(has_granted, client, adapter.space),
        ),
        kinds=kinds,
        definitions=definitions,
        vault=any(site.vault and not site.deleted for site in sites if site.space_id == adapter.space),
        watcher=watcher,
        is_dry=is_dry,
        allow_gone=allow_gone,
    )
