"""Asks the store whether an event has come, and how it stands there."""

from __future__ import annotations

import time

from collector.config import Config
from collector.doctor.finding import Finding, bad, good, unknown
from collector.doctor.look import SentBeacon
from collector.doctor.store import explain_store, open_impatient, say_age
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.reasons import Reason

ARRIVAL_S = 15.0
POLL_S = 0.1

ARRIVED = """
SELECT event_name, is_bot, bot_reason FROM v_events
WHERE site_id = {site:String} AND event_id IN {ids:Array(UUID)} AND time > now() - INTERVAL 8 DAY
ORDER BY time, sequence LIMIT 1
"""
LAST = """
SELECT max(received_at) AS received, count() AS n FROM v_events
WHERE site_id = {site:String} AND time > now() - INTERVAL 8 DAY
"""


def find_arrival(beacon: SentBeacon, config: Config, keyring: Keyring) -> Finding:
    """Wait until the first event of the beacon stands in v_events."""
    params = {"site": str(beacon.envelope["s"]), "ids": beacon.event_ids}
    began = time.monotonic()
    try:
        with open_impatient(config, keyring, "reader") as client:
            while not (rows := client.query_rows(ARRIVED, params)):
                if Reason.EXCLUDED in beacon.rejected:
                    return unknown("stored", "not looked for: this network is excluded by the site")
                if Reason.CONSENT in beacon.rejected:
                    return bad("stored", "refused for consent", "preset and answer do not grant analytics: docs/tag.md")
                if time.monotonic() - began > ARRIVAL_S:
                    text = f"not in the store {ARRIVAL_S:.0f} s after the answer"
                    return bad("stored", text, "does load run? Does this path lead to another instance?")
                time.sleep(POLL_S)
    except StoreError as error:
        finding = explain_store(error, config)
        return bad("stored", finding.text, finding.fix)
    text = f"{rows[0]['event_name']} stands in v_events, {time.monotonic() - began:.1f} s after the look"
    if rows[0]["is_bot"]:
        return good("stored", f"{text}; marked as a robot's ({rows[0]['bot_reason']}), so reports leave it out")
    return good("stored", f"{text}; this site counts automated browsers, so reports count it")


def say_last_event(site_id: str, config: Config, keyring: Keyring) -> Finding:
    """Say when the site's last event came, where this look brought none."""
    if not site_id:
        return unknown("stored", "nothing was sent")
    try:
        with open_impatient(config, keyring, "reader") as client:
            [row] = client.query_rows(LAST, {"site": site_id})
    except StoreError as error:
        return unknown("stored", explain_store(error, config).text)
    if not row["n"]:
        return unknown("stored", f"nothing of this look, and no event of site {site_id} in the last 7 days")
    return unknown(
        "stored", f"nothing of this look; the last event of site {site_id} came {say_age(row['received'])} ago"
    )
