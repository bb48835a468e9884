"""Sites and API keys as rows in the store: read whole, written one at a time, never changed in place.

A row is the JSON text of its struct with a version; the highest version wins. Rows are few, so they are always read
whole. Last uses of keys stand in `api_keys` too, under ids of their own (`used:<key id>`), so that a web process that
notes a use can never undo a revocation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from collector.errors import ConfigError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.sites.book import DEFAULT_SPACE, ApiKey, Site, SiteBook
from collector.sites.check import SiteFinding, inspect_site
from collector.sites.validate import validate_site
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

USED = "used:"
DEMO_SITE = "demo"

_Row = TypeVar("_Row", Site, ApiKey)


class _Use(msgspec.Struct, frozen=True):
    """When a key was last used, to the minute."""

    used_at_ms: int


def read_book(client: StoreClient, now_ms: int) -> SiteBook:
    """Read all sites and keys. Raises StoreError."""
    return SiteBook(
        sites={site.site_id: site for site in read_sites(client)},
        keys={key.key_id: key for key in read_keys(client)},
        read_at_ms=now_ms,
    )


def read_sites(client: StoreClient) -> list[Site]:
    """Read all sites, those switched off included, by id."""
    return _read(client, "SELECT id, row, version FROM sites FINAL ORDER BY id", Site)


def read_keys(client: StoreClient) -> list[ApiKey]:
    """Read all keys, revoked and expired ones included, by id."""
    return _read(
        client, "SELECT id, row, version FROM api_keys FINAL WHERE NOT startsWith(id, 'used:') ORDER BY id", ApiKey
    )


def read_uses(client: StoreClient) -> dict[str, int]:
    """Return when each key was last used, by key id: milliseconds since 1970, to the minute."""
    rows = client.query_rows("SELECT id, row FROM api_keys FINAL WHERE startsWith(id, 'used:')")
    return {row["id"].removeprefix(USED): msgspec.json.decode(row["row"], type=_Use).used_at_ms for row in rows}


def add_site(client: StoreClient, site: Site, *, replace: bool = False) -> Site:
    """Write a new site and return it with its version.

    Raises ConfigError where a setting cannot be used, or where the site is there already: then only with `replace`,
    which keeps the versions of the signing secret unless the new settings name their own.
    """
    sites = {other.site_id: other for other in read_sites(client)}
    earlier = sites.pop(site.site_id, None)
    validate_site(site, sites.values())
    if earlier is not None and not earlier.deleted:
        if not replace:
            raise ConfigError("site", f"site {site.site_id}", "is there already: change it with --replace")
        if site.space_id != earlier.space_id:
            raise ConfigError("space", f"site {site.site_id}", "cannot change: its people stay in their space")
        if not site.identify_versions:
            site = msgspec.structs.replace(site, identify_versions=earlier.identify_versions)
    return write_site(client, site, earlier)


def write_site(client: StoreClient, site: Site, earlier: Site | None) -> Site:
    """Write a site over the earlier one. Of two writers at the same time the last one wins."""
    site = msgspec.structs.replace(site, version=(earlier.version if earlier else 0) + 1)
    insert_rows(client, "sites", [_encode(site.site_id, site, site.version)])
    return site


def find_site(client: StoreClient, site_id: str) -> Site:
    """Return the site. Raises ConfigError where there is none."""
    for site in read_sites(client):
        if site.site_id == site_id and not site.deleted:
            return site
    raise ConfigError("site", f"site {site_id}", "there is no such site: `tagstitch site list` shows them all")


def check_sites(client: StoreClient, site_id: str = "", *, public_url: str = "") -> dict[str, list[SiteFinding]]:
    """Return what looks wrong with one site, or with all, by site id."""
    sites = read_sites(client)
    chosen = [find_site(client, site_id)] if site_id else [site for site in sites if not site.deleted]
    return {site.site_id: inspect_site(site, sites, public_url=public_url) for site in chosen}


def add_identify_secret(client: StoreClient, keyring: Keyring, site_id: str) -> tuple[Site, int, str]:
    """Put a new version of the site's signing secret in force, before the earlier ones.

    Returns the site, the version and the secret, which is derived and never stored.
    """
    site = find_site(client, site_id)
    version = max(site.identify_versions, default=0) + 1
    changed = msgspec.structs.replace(site, identify_versions=(version, *site.identify_versions))
    return write_site(client, changed, site), version, keyring.derive_identify_secret(site_id, version)


def drop_identify_secrets(client: StoreClient, site_id: str, versions: set[int]) -> Site:
    """Take versions of the site's signing secret out of force: what they signed is refused from the next poll on.

    A version that was dropped never comes back as long as a newer one stands; raises ConfigError where one is not in
    force, or where it is the newest and the only one.
    """
    site = find_site(client, site_id)
    if unknown := versions - set(site.identify_versions):
        raise ConfigError("version", f"site {site_id}", f"signing secret {min(unknown)} is not in force")
    left = tuple(version for version in site.identify_versions if version not in versions)
    if max(site.identify_versions) in versions:
        raise ConfigError("version", f"site {site_id}", "is the newest: make a new one first, then revoke this one")
    return write_site(client, msgspec.structs.replace(site, identify_versions=left), site)


def ensure_demo_site(client: StoreClient, port: int) -> Site:
    """Make the demo shop's site, or bring it up to this port. Writes nothing where it is right already."""
    wanted = Site(
        site_id=DEMO_SITE,
        space_id=DEFAULT_SPACE,
        origins=(f"http://127.0.0.1:{port}", f"http://localhost:{port}"),
        consent="required",
        identify_versions=(1,),
        count_automated=True,
    )
    earlier = next((site for site in read_sites(client) if site.site_id == DEMO_SITE), None)
    if earlier is not None:
        wanted = msgspec.structs.replace(
            wanted, version=earlier.version, identify_versions=earlier.identify_versions or (1,), kinds=earlier.kinds
        )
        if wanted == earlier:
            return earlier
    return write_site(client, wanted, earlier)


def write_key(client: StoreClient, key: ApiKey) -> ApiKey:
    """Write a key with its next version."""
    key = msgspec.structs.replace(key, version=key.version + 1)
    insert_rows(client, "api_keys", [_encode(key.key_id, key, key.version)])
    return key


def write_uses(client: StoreClient, uses: Mapping[str, int]) -> None:
    """Write when keys were last used, by key id, in milliseconds since 1970. Later times win."""
    insert_rows(client, "api_keys", [_encode(USED + key_id, _Use(ms), ms) for key_id, ms in sorted(uses.items())])


def _encode(row_id: str, row: msgspec.Struct, version: int) -> dict[str, object]:
    return {"id": row_id, "row": msgspec.json.encode(row).decode(), "version": version}


def _read(client: StoreClient, sql: str, form: type[_Row]) -> list[_Row]:
    found = []
    for row in client.query_rows(sql):
        try:
            found.append(msgspec.structs.replace(msgspec.json.decode(row["row"], type=form), version=row["version"]))
        except msgspec.MsgspecError as error:
            # One damaged row must not switch off all other sites.
            get_logger().error("a row of sites or keys cannot be read", id=row["id"], reason=str(error))
    return found
