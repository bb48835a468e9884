"""Looks at an instance from outside: folder, secrets, web, store, schema, load, sites."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

from collector.config import Config
from collector.doctor.finding import Finding, bad, good, unknown, warn
from collector.errors import KeyringError, SchemaError, StoreError
from collector.instance import MARKER, read_state
from collector.keyring import Keyring, read_keyring
from collector.store.client import open_client
from collector.store.migrate import check_landing

LATE_S = 60


def check_instance(config: Config) -> Iterator[Finding]:
    """Yield findings in the order in which one depends on the other. Stops where the rest would make no sense."""
    if not (config.data_path / MARKER).is_file():
        yield bad("data folder", f"{config.data} is no instance", "name it with --data, or make one: tagstitch run")
        return
    yield good("data folder", f"{config.data} is an instance")
    free = shutil.disk_usage(config.data_path).free
    if free < config.min_free_bytes:
        yield bad("disk", f"{free >> 20} MB free: beacons are refused", "make room, or lower min_free_bytes")
    elif free < 4 * config.min_free_bytes:
        yield warn("disk", f"{free >> 20} MB free", f"below {config.min_free_bytes >> 20} MB beacons are refused")
    else:
        yield good("disk", f"{free >> 20} MB free")
    try:
        keyring = read_keyring(config.secrets_path)
    except KeyringError as error:
        yield bad("secrets", str(error), "see the line before")
        return
    yield good("secrets", "readable for their owner only")
    if read_state(config.data_path) is None:
        yield warn("supervisor", "does not run on this folder", "start it: tagstitch run; or the roles are run singly")
    yield check_web(config)
    yield from check_store(config, keyring)


def check_web(config: Config) -> Finding:
    """Ask web whether it would accept a beacon now."""
    where = f"{config.host}:{config.port}"
    try:
        with urllib.request.urlopen(f"http://{where}/ready", timeout=5):
            return good("web", f"accepts beacons on {where}")
    except urllib.error.HTTPError as error:
        try:
            reason = json.load(error).get("reason", "")
        except ValueError:
            return bad("web", f"{where} is another program", "choose another port with --port")
        return bad("web", f"answers on {where}, but accepts nothing: {reason}", "mend what it names")
    except OSError as error:
        reason = getattr(error, "reason", error)
        return bad("web", f"does not answer on {where} ({reason})", "start it: tagstitch run, or tagstitch web")


def check_store(config: Config, keyring: Keyring) -> Iterator[Finding]:
    """Ask the store, as the writer for the schema and as the reader for what has come."""
    try:
        with open_client(config, keyring, "writer") as client:
            version = client.command("SELECT version()")
            yield good("store", f"ClickHouse {version} answers")
            check_landing(client)
            yield good("schema", "fits this program, all landing views are there")
    except SchemaError as error:
        yield bad("schema", str(error), "tagstitch migrate")
        return
    except StoreError as error:
        yield bad("store", str(error), "start it (tagstitch run), or mend the setting dsn; beacons wait in the spool")
        return
    with open_client(config, keyring, "reader") as client:
        [row] = client.query_rows("SELECT count() AS batches, max(last_received_at) AS received FROM v_batches")
        if not row["batches"]:
            yield unknown("load", "nothing has been loaded yet", "open a page with the tag, or send a beacon by hand")
        else:
            age_s = (datetime.now(UTC) - row["received"]).total_seconds()
            yield good("load", f"the last beacon in the store came {_say_age(age_s)} ago")
        refused = client.query_rows(
            "SELECT site_id, reason, count() AS n FROM v_rejected WHERE received_at > now() - INTERVAL 1 HOUR "
            "GROUP BY site_id, reason ORDER BY n DESC LIMIT 5"
        )
        for item in refused:
            yield warn(
                "refused",
                f"{item['n']} in the last hour: {item['reason']} (site {item['site_id'] or 'unknown'})",
                "docs/wire-format.md says what each reason means; tagstitch tail shows them live",
            )


def _say_age(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
