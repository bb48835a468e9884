"""Looks at the store: does it answer, does its schema fit, does what is accepted get there, and what is refused.

Every question has a short limit: a store that hangs is a finding, not a doctor that hangs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from collector.config import Config
from collector.doctor.finding import Finding, bad, good, unknown, warn
from collector.doctor.refusals import EXPECTED, find_remedy
from collector.errors import SchemaError, StoreError, StoreUnavailable
from collector.keyring import Keyring
from collector.sites.book import Site
from collector.sites.rows import check_sites, read_sites
from collector.store.client import StoreClient
from collector.store.dsn import Role, find_address
from collector.store.migrate import check_landing, find_pending, read_applied
from collector.store.rendering import find_target

PATIENCE_S = 8.0
LATE_S = 60
WRONG_PASSWORD = {193, 194, 516}

UNSTITCHED = """
SELECT count() AS n, min(e.received_at) AS oldest
FROM identity_evidence AS e LEFT JOIN (SELECT host, max(seq) AS last FROM stitch_progress GROUP BY host) AS p
    ON e.batch_host = p.host
WHERE e.batch_seq > p.last AND e.received_at BETWEEN now() - INTERVAL 1 DAY AND now() - INTERVAL {late:UInt32} SECOND
"""
REFUSED = """
SELECT site_id, reason, sum(greatest(events, beacons)) AS n FROM v_rejected WHERE received_at > now() - INTERVAL 1 HOUR
GROUP BY site_id, reason ORDER BY n DESC LIMIT 8
"""


def open_impatient(config: Config, keyring: Keyring, role: Role) -> StoreClient:
    """Return a client that gives up soon."""
    return StoreClient(find_address(config, keyring, role), cluster=config.cluster, timeout_s=PATIENCE_S)


def read_known_sites(config: Config, keyring: Keyring) -> dict[str, Site] | None:
    """Return the sites by id, those switched off left out; None where the store does not say."""
    try:
        with open_impatient(config, keyring, "writer") as client:
            return {site.site_id: site for site in read_sites(client) if not site.deleted}
    except StoreError:
        return None


def check_store(config: Config, keyring: Keyring) -> Iterator[Finding]:
    """Ask the store, as the writer for schema and sites, as the reader for what has come."""
    try:
        with open_impatient(config, keyring, "writer") as client:
            version = client.command("SELECT version()")
            yield good("store", f"ClickHouse {version} answers on {client.address.host}:{client.address.port}")
            wrong_schema = check_schema(config, client)
            if wrong_schema is not None:
                yield wrong_schema
                return
            yield good("schema", "fits this program, with all views that loading goes through")
            yield from check_stitch(client)
            yield from check_settings(config, client)
        with open_impatient(config, keyring, "reader") as client:
            yield from check_arrivals(client)
    except StoreError as error:
        yield explain_store(error, config)


def explain_store(error: StoreError, config: Config) -> Finding:
    """Say why the store refuses or does not answer."""
    if isinstance(error, StoreUnavailable):
        start = "start it: tagstitch run" if config.is_embedded else "start the server, or mend the setting dsn"
        return bad("store", str(error), f"{start}; meanwhile nothing is lost, accepted beacons wait in the spool")
    if error.code in WRONG_PASSWORD:
        text = "answers, and does not know our password: the secrets belong to another store"
        fix = "does another instance hold that port? Else restore secrets.json from the backup of this store"
        return bad("store", text, fix if config.is_embedded else "mend the setting dsn; tagstitch migrate --grants")
    return bad("store", str(error), "its own log says more")


def check_schema(config: Config, client: StoreClient) -> Finding | None:
    """Return what is wrong with the schema, None where it fits."""
    try:
        pending = find_pending(read_applied(client, find_target(config)))
        if pending:
            names = ", ".join(migration.label for migration in pending)
            return bad("schema", f"is older than this program: {names} not carried out", "tagstitch migrate")
        check_landing(client)
    except SchemaError as error:
        fix = "update this program" if "update" in str(error) else "tagstitch migrate says what it can mend"
        return bad("schema", str(error), fix)
    return None


def check_stitch(client: StoreClient) -> Iterator[Finding]:
    """See that evidence becomes people."""
    [row] = client.query_rows(UNSTITCHED, {"late": LATE_S})
    if row["n"]:
        text = f"{row['n']} ties between visitors and customers wait since {say_age(row['oldest'])}"
        yield bad("stitch", text, "does it run? tagstitch run, or tagstitch stitch; its log says what stops it")
    else:
        yield good("stitch", "nothing waits")


def check_settings(config: Config, client: StoreClient) -> Iterator[Finding]:
    """See that there are sites, and that their settings make sense."""
    findings = check_sites(client, public_url=config.public_url)
    if not findings:
        yield warn("sites", "there is none yet", "tagstitch site add shop --origin https://shop.example")
        return
    yield good("sites", ", ".join(sorted(findings)))
    for site_id, items in findings.items():
        for item in items:
            if item.severity == "error":
                yield bad(f"site {site_id}", f"{item.setting}: {item.problem}", item.fix)
            elif item.severity == "warning":
                yield warn(f"site {site_id}", f"{item.setting}: {item.problem}", item.fix)


def check_arrivals(client: StoreClient) -> Iterator[Finding]:
    """Say when the last beacon came, and what was refused lately."""
    [row] = client.query_rows("SELECT count() AS batches, max(last_received_at) AS received FROM v_batches")
    if row["batches"]:
        yield good("last beacon", f"came {say_age(row['received'])} ago and is in the store")
    else:
        yield unknown("last beacon", "none has come yet", "open a page with the tag, or: tagstitch doctor URL")
    for item in client.query_rows(REFUSED):
        text = f"{item['n']} in the last hour for {item['reason']}, site {item['site_id'] or 'unknown'}"
        if item["reason"] in EXPECTED:
            yield good("refused", f"{text}: as it should be")
        else:
            yield warn("refused", text, find_remedy(item["reason"]))


def say_age(then: datetime) -> str:
    """Return how long ago that was, for people. `then`: with its time zone."""
    seconds = max((datetime.now(UTC) - then).total_seconds(), 0)
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
