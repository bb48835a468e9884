"""What the links page shows of campaigns: two named questions, asked as a reader, and the first of them as a CSV file.

Spreadsheets run a cell that begins like a formula, and a campaign's name may come from an address that anybody can
write. So such cells get an apostrophe in front in the file; on the page every text is text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import msgspec

from collector.console.live_source import RowReader
from collector.exporting.cells import neutralise
from collector.reports.questions import find_question
from collector.sites.book import Site

QUESTION, DAYS_QUESTION = "links", "link_days"
LEVELS = ("campaign", "message", "link")
MOST_DAYS = 400
MOST_ROWS = 2000
SETTINGS = {"max_execution_time": 20}
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2149, 1, 1)
"""Days that the store knows, and some to spare for the window of conversions."""
MACHINES = ("scanners", "prefetches", "previews", "bots")
TOTALS = ("sent", "clicks", "confirmed", "converted", *MACHINES)


class Asked(msgspec.Struct, frozen=True):
    """Which results: of a site, from day to day, both included, in the site's time zone.

    `level`: what a row is: campaign, message or link.
    """

    site: Site
    first: date
    last: date
    goal: str = "purchase"
    level: str = "campaign"


def read_asked(query: Mapping[str, str], sites: Sequence[Site], today: date) -> Asked | None:
    """Return what the page asks for, or None where it cannot be answered: another space's site, days upside down."""
    site = next((site for site in sites if site.site_id == query.get("site")), None)
    try:
        last = date.fromisoformat(query.get("last") or today.isoformat())
        first = date.fromisoformat(query.get("first") or (last - timedelta(days=29)).isoformat())
    except (ValueError, OverflowError):
        return None
    goal, level = query.get("goal") or "purchase", query.get("level") or LEVELS[0]
    if site is None or not 0 <= (last - first).days < MOST_DAYS or len(goal) > 128 or level not in LEVELS:
        return None
    if first < FIRST_DAY or last > LAST_DAY:
        return None
    return Asked(site, first, last, goal, level)


def ask_results(open_reader: Callable[[], RowReader], asked: Asked, today: date) -> dict[str, Any]:
    """Return the rows of both questions, and totals. Blocks. Raises StoreError.

    The totals are those of whole campaigns: a mail stands in the row of each of its links, as does who followed two.
    """
    with closing(open_reader()) as reader:
        rows = _ask(reader, QUESTION, asked, today)
        days = _ask(reader, DAYS_QUESTION, asked, today)
        is_whole = asked.level == LEVELS[0]
        whole = rows if is_whole else _ask(reader, QUESTION, msgspec.structs.replace(asked, level=LEVELS[0]), today)
    totals = {name: sum(row.get(name, 0) for row in whole) for name in TOTALS}
    return {"campaigns": rows, "days": days, "totals": totals}


def write_results(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as a CSV file that a spreadsheet opens as text and numbers, never as formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    if rows:
        writer.writerow(rows[0].keys())
    writer.writerows([neutralise(value) for value in row.values()] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _ask(reader: RowReader, name: str, asked: Asked, today: date) -> list[dict[str, Any]]:
    question = find_question(name)
    said = {
        "site": asked.site.site_id,
        "first": asked.first,
        "last": asked.last,
        "zone": asked.site.time_zone,
        "goal": asked.goal,
        "level": asked.level,
    }
    known = {parameter.name for parameter in question.parameters}
    params = question.bind({key: value for key, value in said.items() if key in known}, today)
    return reader.query_rows(question.sql, params, SETTINGS)[:MOST_ROWS]
