"""How explanations and changes of identity look in a terminal. Draws what it is given and asks nothing.

People and identifiers appear by customer id and by their ids, never by a clear value that is stored as a pseudonym.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from collector.event import NIL_ID
from collector.identity.audit import AuditEntry
from collector.identity.blocks import Block
from collector.identity.difference import Difference, PersonLine, Span, overlay
from collector.identity.explain import Explanation, Tied

LEVELS = ("device", "claimed", "linked", "signed", "server")
STATES = {"ties": "green", "sign-out": "cyan", "hint": "dim", "refused": "yellow", "taken back": "red"}
NOT_DONE = {"failed": " (failed)", "open": " (not in the store)"}
MOST_SHOWN = 20


def draw_difference(console: Console, difference: Difference) -> None:
    """Draw what changes: people before and after, identifiers that change hands, events, what guards say."""
    if not difference.moved:
        console.print("Nobody changes hands.")
    else:
        people = Table("person", "customer", "identifiers", "visitors", box=None, pad_edge=False, title_justify="left")
        for word, lines in (("before", difference.people_before), ("after", difference.people_after)):
            for line in lines[:MOST_SHOWN]:
                people.add_row(*_describe_person(line, word))
            _add_rest(people, len(lines))
        console.print(people)
        console.print()
        moved = Table("identifier", "from", "to", "time", box=None, pad_edge=False)
        for item in difference.moved[:MOST_SHOWN]:
            label = _label(item.kind, item.value, item.key)
            for from_ms, to_ms, before, after in overlay(item):
                if (before.person_id, before.proved) != (after.person_id, after.proved):
                    sides = (_name_owner(item.key, before), _name_owner(item.key, after))
                    moved.add_row(label, *sides, _say_span(from_ms, to_ms))
                    label = Text("")
        _add_rest(moved, len(difference.moved))
        console.print(moved)
        console.print()
        events = "not counted, there are too many visitors" if difference.events < 0 else f"{difference.events:,}"
        console.print(f"events that change hands: {events}")
    for word, counts in (("refused by guards", difference.refused), ("let through by guards", difference.released)):
        if counts:
            said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
            console.print(f"evidence {word}: {said}", markup=False)


def draw_explanation(console: Console, said: Explanation) -> None:
    """Draw who somebody is and why."""
    name = f"customer {said.customer_id} ({said.customer_kind})" if said.customer_id else "nobody known"
    facts = [name, f"person {said.person_id}"]
    if said.customer_id:
        facts.append(f"level {said.level} {LEVELS[said.level]}" + (", provisional" if said.provisional else ""))
        facts.append(f"since {_say_time(said.since_ms)}")
    console.print(Text(" · ".join(facts), style="bold"))
    for holds, sentence in (
        (said.is_blocked, "This identifier is blocked: it ties nobody."),
        (said.is_shared, "This identifier is shared by too many: it ties nobody."),
        (bool(said.others), f"At other times it belonged to: {', '.join(said.others)}"),
    ):
        if holds:
            console.print(Text(sentence, style="yellow"))
    console.print()
    ties = Table("identifier", "own person id", "theirs", "evidence", box=None, pad_edge=False)
    for tied in said.identifiers[:MOST_SHOWN]:
        ties.add_row(_label(tied.kind, tied.value, ""), tied.person_id, _say_held(tied), f"{tied.evidence:,}")
    _add_rest(ties, len(said.identifiers))
    console.print(ties)
    if said.merges:
        console.print()
        merges = Table("tied by", "when", "identifiers", "gave way", "evidence", box=None, pad_edge=False)
        for each in said.merges[:MOST_SHOWN]:
            pair = f"{each.a_person_id[:8]} + {each.b_person_id[:8]}"
            gone = "" if each.absorbed_person_id == NIL_ID else each.absorbed_person_id[:8]
            merges.add_row(each.word, _say_time(each.at_ms), pair, gone, each.evidence_id)
        _add_rest(merges, len(said.merges))
        console.print(merges)
    console.print()
    console.print(_draw_evidence(said))
    if said.left_out:
        console.print(f"and {said.left_out:,} more: --limit shows them, --json all of them")
    for reason, meaning in sorted({each.reason: each.meaning for each in said.evidence if each.reason}.items()):
        console.print(f"{reason}: {meaning}", markup=False)


def draw_log(console: Console, entries: Sequence[AuditEntry]) -> None:
    """Draw entries of the audit log."""
    table = Table("when", "entry", "who", "what", "evidence", "moved", "events", "note", box=None, pad_edge=False)
    for entry in entries:
        state = " (undone)" if entry.is_undone else NOT_DONE.get(entry.state, "")
        of = f" {entry.undoes[:8]}" if entry.undoes != NIL_ID else ""
        table.add_row(
            _say_time(entry.at_ms),
            entry.audit_id,
            Text(entry.actor),
            f"{entry.action}{of}{state}",
            f"+{len(entry.appended):,} -{len(entry.taken_back):,}",
            f"{entry.identifiers_moved:,}",
            "?" if entry.events_moved < 0 else f"{entry.events_moved:,}",
            Text(entry.note),
        )
    console.print(table)


def draw_blocks(console: Console, blocks: Sequence[Block]) -> None:
    """Draw what a space has blocked."""
    table = Table("identifier", "own person id", "since", "who", "why", box=None, pad_edge=False)
    for block in blocks:
        label = _label(block.kind, block.value, "")
        table.add_row(label, block.key, _say_time(block.at_ms), Text(block.actor), Text(block.reason))
    console.print(table)


def _draw_evidence(said: Explanation) -> Table:
    labels = {tied.person_id: _shorten(_label(tied.kind, tied.value, "")) for tied in said.identifiers}

    def name(kind: str, key: str) -> str:
        return labels.get(key, f"{kind} {key[:8]}…")

    table = Table("when", "state", Column("evidence", overflow="fold"), box=None, pad_edge=False)
    for each in said.evidence:
        state = each.state + (f": {each.reason}" if each.reason else "")
        if each.taken_back_by:
            state += f" by {each.taken_back_by}"
        who = " ".join(part for part in (each.source, each.actor, each.verification) if part)
        ends = name(each.a_kind, each.a_person_id)
        if each.b_kind:
            ends += f" – {name(each.b_kind, each.b_person_id)}"
        rest = (each.site_id, each.consent, f"rules {each.policy_version}", each.campaign, each.evidence_id)
        text = Text(f"{each.kind}, {each.level} {LEVELS[each.level]}, by {who}, proof {each.proof}: {ends}\n")
        text.append(" · ".join(part for part in rest if part), style="dim")
        table.add_row(_say_time(each.time_ms), Text(state, style=STATES.get(each.state, "")), text)
    return table


def _shorten(label: Text) -> str:
    return label.plain if len(label.plain) <= 48 else f"{label.plain[:47]}…"


def _describe_person(line: PersonLine, word: str) -> tuple[Text, Text, str, str]:
    style = "dim" if word == "before" else ""
    return (
        Text(f"{word:<7}{line.person_id}", style=style),
        Text(line.customer_id, style=style),
        f"{line.identifiers:,}",
        f"{line.visitors:,}",
    )


def _label(kind: str, value: str, key: str) -> Text:
    return Text(f"{kind or 'identifier'} {value or key}")


def _name_owner(key: str, span: Span) -> Text:
    if span.person_id == key and not span.customer_id:
        return Text("its own")
    name = span.customer_id or span.person_id[:8]
    return Text(name + (" (provisional)" if span.provisional else "") + ("" if span.proved else " (unproved)"))


def _say_held(tied: Tied) -> str:
    return ", ".join(_say_span(span.from_ms, span.to_ms) for span in tied.held)


def _say_span(from_ms: int, to_ms: int | None) -> str:
    if from_ms <= 0:
        return "always" if to_ms is None else f"until {_say_time(to_ms)}"
    return f"since {_say_time(from_ms)}" if to_ms is None else f"{_say_time(from_ms)} to {_say_time(to_ms)}"


def _say_time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if ms else ""


def _add_rest(table: Table, count: int) -> None:
    if count > MOST_SHOWN:
        table.add_row(f"and {count - MOST_SHOWN:,} more")
