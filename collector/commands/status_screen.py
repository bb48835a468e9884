"""How `tagstitch status` looks: a verdict, what is wrong with it in sentences, and the figures in groups.

Draws what it is given and asks nothing, so that a test can draw any state. Colours repeat what words say already.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from collector import __version__
from collector.audiences.activate_status import ActivateStatus
from collector.commands.status_facts import NOT_YET, Facts
from collector.privacy.govern_status import GovernStatus

Level = Literal["good", "look", "bad"]
STYLES: dict[Level, str] = {"good": "green", "look": "yellow", "bad": "bold red"}
LATE_S = 30.0
LATE_BATCHES = 100
OLD_SETTINGS_S = 120.0
FULL = 0.8
MOST_REASONS = 6
TALL = 36
START = "tagstitch run"
PAUSES = {
    "not running": "no loader runs: what is accepted waits in the spool. Start one: tagstitch run, or tagstitch load",
    "away": "loading is paused: the store does not answer. Events wait in the spool, nothing is lost",
    "schema": "loading is paused: the store's schema is not this program's. Run: tagstitch migrate",
    "refused": "loading is paused: the store refuses, with ClickHouse's code {code}. The log of load says more",
    "rejection": "loading is paused: the store takes no row at all. Run: tagstitch migrate, then look at its log",
    "disk": "loading is paused: the data folder cannot be written. Look at the disk and at the log of load",
    "maintenance": "loading is paused by hand. To go on: tagstitch maintenance off",
}


class Finding(NamedTuple):
    """One thing that somebody should know, as a sentence."""

    level: Level
    sentence: str


def judge(facts: Facts) -> list[Finding]:
    """Return what is wrong, the worst first; nothing where all is well."""
    condition, config = facts.condition, facts.config
    found: list[Finding] = []
    for role in condition.roles:
        if not role.pid:
            found.append(Finding("bad", f"{role.name} is down: {role.last_end or 'it has ended'}"))
        elif role.restarts:
            found.append(
                Finding("look", f"{role.name} was started again {_times(role.restarts)}; last: {role.last_end}")
            )
    if facts.asked.web not in ("ready", NOT_YET):
        found.append(Finding("bad", f"web {facts.asked.web}"))
    if facts.asked.store not in ("answers", NOT_YET):
        found.append(Finding("bad", f"store: {facts.asked.store}"))
    if condition.paused:
        code = condition.load.paused_code if condition.load is not None else 0
        level: Level = "look" if condition.paused == "maintenance" else "bad"
        found.append(Finding(level, PAUSES[condition.paused].format(code=code)))
    elif condition.load_lag_s > LATE_S:
        found.append(Finding("look", f"loading is {_duration(condition.load_lag_s)} behind"))
    if facts.asked.batches_behind is not None and facts.asked.batches_behind > LATE_BATCHES:
        found.append(Finding("look", f"stitch is {facts.asked.batches_behind:,} batches behind: does it run?"))
    activate = condition.activate
    if activate is not None and activate.is_fresh(condition.at_ms):
        if activate.trouble:
            found.append(Finding("bad", f"audiences stand still: {activate.trouble}"))
        elif activate.find_lag_s(condition.at_ms) > LATE_S:
            found.append(Finding("look", f"audiences are {_duration(activate.find_lag_s(condition.at_ms))} behind"))
    found += _judge_govern(condition.govern, condition.at_ms)
    if condition.spool.bytes > config.max_spool_bytes * FULL:
        found.append(Finding("look", "the spool is nearly full: at max_spool_bytes beacons are answered 503"))
    if 0 < condition.disk_free_bytes < config.min_free_bytes:
        found.append(Finding("bad", "the disk is full: beacons are answered 503 until there is space again"))
    elif 0 < condition.disk_free_bytes < 4 * config.min_free_bytes:
        found.append(Finding("look", "the disk is nearly full: below min_free_bytes beacons are answered 503"))
    if condition.settings_age_s is not None and condition.settings_age_s > OLD_SETTINGS_S:
        found.append(Finding("look", f"sites and keys at the edge are {_duration(condition.settings_age_s)} old"))
    if condition.spool.damaged_files:
        found.append(Finding("look", f"{condition.spool.damaged_files} damaged stretch(es) of the spool set aside"))
    if condition.load is not None and condition.load.counts.refused:
        count = condition.load.counts.refused
        found.append(Finding("look", f"{count} beacon(s) that the store would not take lie in load/refused/"))
    return sorted(found, key=lambda finding: finding.level != "bad")


def draw(facts: Facts, height: int = TALL) -> RenderableType:
    """Return the whole view, without air and with fewer reasons where the terminal has less than TALL lines."""
    if not facts.is_anything_running:
        return _draw_nothing(facts)
    findings = judge(facts)
    worst: Level = findings[0].level if findings else "good"
    verdict = {"good": "all is well", "look": "works, with something to look at", "bad": "something is wrong"}[worst]
    head = Text.assemble(
        ("● ", STYLES[worst]),
        (verdict, STYLES[worst]),
        (f"   tagstitch {__version__} · {facts.config.data} · {_clock(facts.condition.at_ms)}", "dim"),
    )
    notes = [Text.assemble(("  ▸ ", STYLES[finding.level]), finding.sentence) for finding in findings]
    groups = (
        ("Processes", _draw_processes(facts)),
        ("Coming in", _draw_edge(facts, MOST_REASONS if height >= TALL else 2)),
        ("On the way", _draw_way(facts)),
    )
    parts: list[RenderableType] = [head, *notes]
    for title, table in groups:
        parts += [""] if height >= TALL else []
        parts += [Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*parts)


def _draw_nothing(facts: Facts) -> RenderableType:
    condition, data = facts.condition, facts.config.data
    lines: list[RenderableType] = [
        Text.assemble(("○ nothing runs here", "bold"), (f"   {data}", "dim")),
        Text(
            f"  {'Start it' if facts.is_instance else 'There is no instance yet. Make one'} with: {START} --data {data}"
        ),
    ]
    if condition.spool.bytes:
        waits = f"  {_bytes(condition.spool.bytes)} wait in the spool; they are loaded once it runs. Nothing is lost."
        lines.append(Text(waits))
    if condition.is_maintenance:
        lines.append(Text("  Maintenance is on: nothing will be loaded until `tagstitch maintenance off`."))
    return Group(*lines)


def _draw_processes(facts: Facts) -> Table:
    table = _table()
    condition = facts.condition
    uses = {use.name: use for use in condition.uses}
    roles = {role.name: role for role in condition.roles}
    for name in dict.fromkeys([*roles, *uses]):
        use, role = uses.get(name), roles.get(name)
        is_up = use is not None
        mark = Text("● up  " if is_up else "○ down", style=STYLES["good" if is_up else "bad"])
        age = _duration((condition.at_ms - role.started_ms) / 1000) if role is not None and is_up else ""
        memory = _bytes(use.memory_bytes) if use is not None else ""
        cpu = f"{facts.cpu[name] * 100:.0f} % cpu" if name in facts.cpu else ""
        deaths = f"started again {_times(role.restarts)}" if role is not None and role.restarts else ""
        table.add_row(name, mark, age, memory, cpu, Text(deaths, style="yellow"))
    return table


def _draw_edge(facts: Facts, most_reasons: int) -> Table:
    table = _table(24)
    totals = facts.condition.totals.counters
    for label, name, rate in (
        ("beacons", "accepted_beacons", facts.beacons_per_s),
        ("events", "accepted_events", facts.events_per_s),
    ):
        table.add_row(label, _say_rate(rate), Text(f"{sum(totals.get(name, {}).values()):,} in all", style="dim"))
    table.add_row("acknowledged in", _milliseconds(facts.acknowledgement[0], "half"), _worst(facts.acknowledgement[1]))
    table.add_row("synced in", _milliseconds(facts.sync[0], "half"), _worst(facts.sync[1]))
    reasons = list(facts.rejected.items())
    for index, (reason, (count, rate)) in enumerate(reasons[:most_reasons]):
        what = Text(f"{reason}  {_say_rate(rate)}".rstrip(), style="yellow" if rate else "")
        table.add_row("" if index else "refused", what, Text(f"{count:,} in all", style="dim"))
    if len(reasons) > most_reasons:
        rest = sum(count for _, (count, _) in reasons[most_reasons:])
        table.add_row("", f"{len(reasons) - most_reasons} other reasons", Text(f"{rest:,} in all", style="dim"))
    if not reasons:
        table.add_row("refused", "nothing", "")
    return table


def _draw_way(facts: Facts) -> Table:
    table = _table(24)
    condition = facts.condition
    spool = condition.spool
    waiting = spool.segments + spool.open_segments
    oldest = f"the oldest {_duration(condition.load_lag_s)} old" if spool.oldest_ms else ""
    table.add_row("spool", f"{_bytes(spool.bytes)} in {waiting} segment{'s' if waiting != 1 else ''}", oldest)
    load = condition.load
    if load is not None:
        counts = load.counts
        ago = f"{_duration((condition.at_ms - counts.last_at_ms) / 1000)} ago" if counts.last_at_ms else ""
        last = f"{counts.last_events:,} events, {_bytes(counts.last_bytes)}" if counts.batches else "none yet"
        state = f"paused: {condition.paused}" if condition.paused else "loading"
        table.add_row("load", Text(state, style="red" if condition.paused else "green"), f"{counts.retries} retries")
        table.add_row("last batch", last, Text(ago, style="dim"))
    behind = facts.asked.batches_behind
    position = "not known" if behind is None else "caught up" if behind <= 0 else f"{behind:,} batches behind"
    table.add_row("stitch", position, "")
    if condition.activate is not None:
        table.add_row("activate", *_say_activate(condition.activate, condition.at_ms))
    if condition.govern is not None:
        table.add_row("govern", *_say_govern(condition.govern, condition.at_ms))
    table.add_row("store", "answers" if facts.asked.store == "answers" else Text("away", style="red"), "")
    table.add_row("disk", f"{_bytes(condition.disk_free_bytes)} free", "")
    age = condition.settings_age_s
    table.add_row("sites and keys", "not read yet" if age is None else f"read {_duration(age)} ago", "")
    return table


def _say_activate(status: ActivateStatus, now_ms: int) -> tuple[RenderableType, RenderableType]:
    """Return how far the audiences are, and what takes long."""
    if not status.is_fresh(now_ms):
        return Text("not running", style="yellow"), f"last seen {_duration((now_ms - status.at_ms) / 1000)} ago"
    lag_s = status.find_lag_s(now_ms)
    position = "stands still" if status.trouble else "caught up" if lag_s <= 0 else f"{_duration(lag_s)} behind"
    judged = f"judging {status.round}, {status.round_judged:,} people so far" if status.round else ""
    return Text(position, style="red" if status.trouble else ""), Text(judged, style="dim")


def _judge_govern(status: GovernStatus | None, now_ms: int) -> list[Finding]:
    """Return what is wrong with the requests of people."""
    if status is None:
        return []
    found = []
    if status.late:
        found.append(Finding("bad", f"{status.late:,} requests of people are late: `tagstitch privacy requests`"))
    if not status.is_fresh(now_ms) and status.waiting:
        found.append(Finding("look", "requests of people wait, and govern does not run"))
    elif status.trouble:
        found.append(Finding("look", f"govern stands still: {status.trouble}"))
    if status.unlisted:
        tables = f"{status.unlisted:,} tables of analysts"
        found.append(Finding("look", f"nobody can be erased from {tables}: `tagstitch privacy tables`"))
    return found


def _say_govern(status: GovernStatus, now_ms: int) -> tuple[RenderableType, RenderableType]:
    """Return how many requests of people wait, and what was done."""
    if not status.is_fresh(now_ms):
        return Text("not running", style="yellow"), f"last seen {_duration((now_ms - status.at_ms) / 1000)} ago"
    waits = f"{status.waiting:,} requests wait" if status.waiting else "no request waits"
    return Text(waits, style="red" if status.late else ""), Text(f"{status.erased:,} erased", style="dim")


def _table(second_width: int = 0) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(min_width=15, style="cyan", no_wrap=True)
    if second_width:
        table.add_column(min_width=second_width)
    return table


def _say_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.1f}/s" if rate < 100 else f"{rate:,.0f}/s"


def _milliseconds(seconds: float | None, what: str) -> str:
    return "none yet" if seconds is None else f"{seconds * 1000:.2f} ms ({what})"


def _worst(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.2f} ms (99 of 100)"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 86_400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86_400:.0f} d {seconds % 86_400 // 3600:.0f} h"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
