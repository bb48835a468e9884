"""`tagstitch tail`: events as they land, and what was refused."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from collector.commands.options import ConfigOption, DataOption, SetOption, open_secrets, read_running
from collector.event import NIL_ID
from collector.store.client import StoreClient, open_client

INTERVAL_S = 0.5
MARGIN_S = 60
"""How far back each look reaches: what was received earlier may be loaded later."""
LEVELS = ("-", "claimed", "linked", "signed", "server")

NEW_EVENTS = """
SELECT toString(event_id) AS id, received_at, event_name, path, customer_id, toString(person_id) AS person,
       assurance, provisional, browser, device, is_bot, visitor_proof,
       if(link_campaign != '', link_campaign, utm_campaign) AS campaign,
       link_status, link_name, link_class, link_reasons
FROM v_events
WHERE site_id = {site:String} AND received_at >= {since:DateTime64(3)}
  AND time >= {since:DateTime64(3)} - INTERVAL 1 DAY
ORDER BY received_at, time, sequence
LIMIT 5000
"""
NEW_REFUSALS = """
SELECT received_at, step, reason, field, sum(greatest(v_rejected.events, v_rejected.beacons)) AS events,
       sum(v_rejected.beacons) AS beacons, min(digest) AS digest
FROM v_rejected
WHERE site_id IN ({site:String}, '') AND received_at >= {since:DateTime64(3)}
GROUP BY received_at, step, reason, field
ORDER BY received_at
LIMIT 5000
"""


def tail(
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="Whose events.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    back: Annotated[float, typer.Option("--back", metavar="SECONDS", help="Begin with the last so many seconds.")] = 60,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Show a site's events as they land, who they belong to, and what was refused, with the reason.

    Nothing to see? `tagstitch doctor URL` looks at the page for you.

        tagstitch tail --site shop
        tagstitch tail --site shop --back 3600 --no-follow --json
    """
    read = read_running(data, config, settings)
    console = Console(highlight=False, soft_wrap=True)
    refused: Counter[str] = Counter()
    shown = 0
    with open_client(read.config, open_secrets(read), "reader") as client:
        try:
            for row in _watch(client, site, back, follow):
                if "reason" in row:
                    refused[row["reason"]] += int(row["events"])
                else:
                    shown += 1
                if as_json:
                    console.print(json.dumps(row, default=str), markup=False)
                else:
                    console.print(describe(row))
        except KeyboardInterrupt:
            pass
    if not as_json:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        console.print(f"\n{shown} events; refused: {reasons or 'none'}", style="bold")


def _watch(client: StoreClient, site: str, back_s: float, follow: bool) -> Iterator[dict[str, Any]]:
    since = datetime.now(UTC) - timedelta(seconds=back_s)
    seen: dict[str, datetime] = {}
    while True:
        rows = client.query_rows(NEW_EVENTS, {"site": site, "since": since})
        rows += client.query_rows(NEW_REFUSALS, {"site": site, "since": since})
        for row in sorted(rows, key=lambda row: row["received_at"]):
            key = row.get("id") or f"{row['received_at']} {row['step']} {row['reason']} {row['field']}"
            if key not in seen:
                seen[key] = row["received_at"]
                yield row
        if not follow:
            return
        since = max(since, datetime.now(UTC) - timedelta(seconds=MARGIN_S))
        seen = {key: at for key, at in seen.items() if at >= since}
        time.sleep(INTERVAL_S)


def describe(row: dict[str, Any]) -> Text:
    """Return the line of an event or of a refusal."""
    line = Text(f"{row['received_at'].astimezone():%H:%M:%S.%f}"[:-3] + "  ", style="dim")
    if "reason" in row:
        line.append(f"refused {row['reason']:<12}", style="bold red")
        line.append(f" {row['events']} event(s), step {row['step']}")
        return line.append(f", field {row['field']}" if row["field"] else "")
    line.append(f"{row['event_name']:<20.20} ", style="bold")
    line.append(f"{row['path']:<32.32} ")
    if row["person"] == NIL_ID:  # the collector's own note of a tagged link: a click alone is nobody
        line.append(f"{row['link_class'] or 'nobody'} ", style="yellow" if row["is_bot"] else "cyan")
        said = (row["campaign"], row["link_name"], row["link_status"], row["link_reasons"])
        return line.append(f"({', '.join(text for text in said if text)})", style="dim")
    if row["customer_id"]:
        mark = "?" if row["provisional"] else ""
        line.append(f"customer {row['customer_id']}{mark} ", style="green")
    else:
        line.append(f"anonymous {row['person'][:8]} ", style="cyan")
    line.append(f"({LEVELS[row['assurance']]}, {row['visitor_proof']}) ", style="dim")
    line.append(f"{row['browser']} {row['device']}", style="dim")
    return line.append(" robot", style="yellow") if row["is_bot"] else line
