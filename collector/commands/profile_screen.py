"""How a profile and the log of looks are drawn in a terminal. Draws what it is given and asks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.endpoints.profile_answers import ShownProfile
from collector.event import NIL_ID

LEVELS = ("device", "claimed", "linked", "signed", "server")
_MOST_CHARS = 80


def draw_profile(console: Console, shown: ShownProfile) -> None:
    """Draw a person."""
    name = f"customer {shown.customer_id}" if shown.customer_id else "nobody known"
    sure = f"{LEVELS[shown.assurance]}{', provisional' if shown.provisional else ''}"
    console.print(Text.assemble((name, "bold"), f"  ({sure})  person {shown.person_id}"))
    if shown.merged_from:
        console.print(f"  the identifier that was asked for is part of this person by now: {shown.merged_from}")
    if shown.cut:
        console.print("  there are more identifiers than can be read: some are left out", style="yellow")
    _draw_table(
        console,
        ("identifier", "value", "sure", "own person id"),
        [
            (item.kind, item.value or item.pseudonym, LEVELS[item.assurance], item.own_person_id)
            for item in shown.identifiers
        ],
    )
    _draw_table(
        console,
        ("trait", "value", "said by", "sure", "when", ""),
        [
            (
                trait_name,
                _cut(trait.value),
                trait.actor or trait.source,
                LEVELS[trait.assurance],
                _say_time(trait.time_ms),
                f"{len(trait.others)} other{'s' if len(trait.others) > 1 else ''}" if trait.others else "",
            )
            for trait_name, trait in (shown.traits or {}).items()
        ],
    )
    if shown.computed is not None:
        computed = shown.computed
        value = ", ".join(f"{amount:,.2f} {currency}".rstrip() for currency, amount in computed.value.items())
        facts = [
            ("seen", f"{_say_time(computed.first_seen_ms)} to {_say_time(computed.last_seen_ms)}"),
            ("sessions", f"{computed.sessions:,}"),
            ("orders", f"{computed.orders:,}{f', {value}' if value else ''}"),
            ("favourite category", computed.favourite_category),
            ("channels", ", ".join(computed.channels)),
            ("devices", ", ".join(computed.devices)),
            ("lifetime", computed.rfm.name),
        ]
        _draw_table(console, ("computed", ""), [fact for fact in facts if fact[1]])
    _draw_table(
        console,
        ("consent", "state", "since", "by"),
        [(item.purpose, item.state, _say_time(item.since_ms), item.source) for item in shown.consent or ()],
    )
    _draw_table(
        console, ("audience", "since"), [(one.audience, _say_time(one.since_ms)) for one in shown.audiences or ()]
    )
    if shown.timeline is not None:
        _draw_table(
            console,
            ("time", "event", "where", ""),
            [
                (
                    _say_time(event["time_ms"]),
                    event["name"],
                    event.get("touchpoint", ""),
                    _cut(event.get("title") or event.get("path") or event.get("order_id") or ""),
                )
                for event in shown.timeline.events
            ],
        )


def draw_reads(console: Console, entries: Sequence[dict[str, Any]]) -> None:
    """Draw who has looked at whom."""
    if not entries:
        console.print("Nobody has looked.")
        return
    table = Table("time", "who", "by", "found", "personal", "person", box=None, pad_edge=False)
    for entry in entries:
        person = entry["person_id"] if entry["person_id"] != NIL_ID else entry["own_person_id"]
        personal = "in clear" if entry["personal"] else "masked"
        table.add_row(
            _say_time(int(entry["at_ms"])), entry["actor"], entry["way"], entry["found"], personal, str(person)
        )
    console.print(table)


def _draw_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    console.print()
    console.print(table)


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def _say_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if time_ms else ""
