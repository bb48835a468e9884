"""Draws docs/identity/*.svg: what was said in each story, and whose everything is by what `resolve` makes of it.

    python -m tests.identity.draw_cases

Nothing is coloured by hand: a lane takes the colour of the person whom the map names at that time, a mark is crossed
out where a guard refused its evidence. So a picture is what the rules say, or it is not current and a test fails.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from collector.identity.evidence import Evidence
from tests.identity.pictured_cases import LAST_H, SERVER, STORIES, Mark, Story
from tests.identity.story import NOW, People, hours, key, name_kind

FOLDER = Path(__file__).parents[2] / "docs" / "identity"

WIDTH = 940
LEFT, RIGHT = 112, 690  # where the lanes begin and end
TOP, LANE, BAND = 76, 92, 22
PANEL = 720
PEOPLE = (("#2563eb", "#dbeafe"), ("#ea580c", "#ffedd5"), ("#059669", "#d1fae5"), ("#9333ea", "#f3e8ff"))
MORE_PEOPLE = (("#be123c", "#ffe4e6"), ("#0e7490", "#cffafe"))
STRANGERS = (("#64748b", "#e2e8f0"), ("#78716c", "#e7e5e4"), ("#71717a", "#e4e4e7"))
INK, FAINT, PAPER, REFUSED = "#0f172a", "#64748b", "#ffffff", "#dc2626"
WORDS = {"customer": "customer", "login": "login", "email": "e-mail", "phone": "phone"}
LEVELS = ((1, "claimed"), (2, "linked"), (3, "signed"), (4, "server"))
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


class Span(NamedTuple):
    """A visitor is a person's, from one hour to another."""

    begin_h: float
    end_h: float
    person: str
    customer: str
    provisional: bool


class Painter:
    """Draws one story. Colours are given to people in the order in which the lanes show them."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.log = [row for mark in story.marks for row in mark.evidence]
        self.people = People(self.log)
        self.refused = {entry.evidence_id: entry.reason for entry in self.people.resolution.guards}
        self.visitors = [lane for lane in story.lanes if lane != SERVER]
        self.spans = {visitor: self._find_spans(visitor) for visitor in self.visitors}
        self.colours: dict[str, tuple[str, str]] = {}
        self.out: list[str] = []

    def draw(self) -> str:
        """Return the picture as SVG."""
        self._choose_colours()
        cards = self._list_people()
        axis = TOP + LANE * len(self.story.lanes)
        is_close = len(cards) > 4
        height = max(axis + 52, 72 + sum(_card_height(card, is_close) for card in cards))
        self._begin(height)
        self._draw_axis(axis)
        for place, lane in enumerate(self.story.lanes):
            self._draw_lane(lane, TOP + LANE * place + 40)
        self._draw_crossings()
        self._draw_people(cards, is_close)
        self._draw_legend(axis + 30)
        return "\n".join([*self.out, "</svg>", ""])

    # --- what is to be seen ---

    def _find_spans(self, visitor: str) -> list[Span]:
        cuts = {0.0, LAST_H}
        for row in self.people.resolution.map_rows:
            if row.key == key(visitor):
                cuts.add((row.valid_from_ms - NOW) / 3_600_000)
        for span in self.people.resolution.intervals:
            if span.key == key(visitor):
                cuts |= {(ms - NOW) / 3_600_000 for ms in (span.valid_from_ms, span.valid_to_ms or NOW)}
        edges = sorted(cut for cut in cuts if 0 <= cut <= LAST_H)
        spans: list[Span] = []
        first_h = min([m.at_h for m in self.story.marks if visitor in (m.lane, m.origin)], default=0.0)
        for begin_h, end_h in pairwise(edges):
            begin_h = max(begin_h, min(first_h - 0.35, end_h))
            if begin_h >= end_h:
                continue
            at = hours((begin_h + end_h) / 2)
            said = self.people.who(visitor, at)
            spans.append(
                Span(begin_h, end_h, self.people.person(visitor, at), said.removesuffix("?"), said.endswith("?"))
            )
        return spans

    def _choose_colours(self) -> None:
        """K1 has one colour in all pictures, K2 another; who has no customer number takes what is free."""
        palette = (*PEOPLE, *MORE_PEOPLE)
        customers = {row.person_id: row.customer_id.removeprefix("value-") for row in self.people.resolution.customers}
        known = [self.people.person(name) for name in self._list_names()]
        shown = [span.person for spans in self.spans.values() for span in spans]
        people = dict.fromkeys([*sorted(known, key=lambda person: customers.get(person, "~")), *shown])
        for person in people:
            name = customers.get(person)
            if name is None:
                used = sum(other not in customers for other in self.colours)
                self.colours[person] = STRANGERS[used % len(STRANGERS)]
            else:
                self.colours[person] = palette[(int(name[1:]) - 1) % len(palette)]

    def _list_names(self) -> list[str]:
        """The short names of the identifiers that are no visitors, as they come up."""
        names: dict[str, None] = {}
        for row in self.log:
            for kind, value in ((row.a_kind, row.a_value), (row.b_kind, row.b_value)):
                if kind != "visitor":
                    names[value.removeprefix("value-")] = None
        return list(names)

    def _list_people(self) -> list[tuple[str, str, list[str]]]:
        """Return (person, title, lines) for each person that has a visitor or a key at some time."""
        lines: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._list_names():
            lines[self.people.person(name)].append(f"{WORDS[name_kind(name)]} {name}")
        for visitor, spans in self.spans.items():
            whose = list(dict.fromkeys(span.person for span in spans))
            for person in whose:
                lines[person].append(f"visitor {visitor}" + (", for a time" if len(whose) > 1 else ""))
        titles = {row.person_id: row.customer_id.removeprefix("value-") for row in self.people.resolution.customers}
        shown = {span.person for spans in self.spans.values() for span in spans}
        order = [person for person in self.colours if person in lines and (person in titles or person in shown)]
        return [
            (person, f"Person {titles[person]}" if person in titles else "Anonymous", lines[person]) for person in order
        ]

    # --- how ---

    def _begin(self, height: int) -> None:
        story = self.story
        self.out += [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-labelledby="t d" font-family="{FONT}" font-size="12">',
            f'<title id="t">{escape(story.title)}</title>',
            f'<desc id="d">{escape(story.sentence)}</desc>',
            "<defs>",
        ]
        for place, (strong, light) in enumerate(self.colours.values()):
            self.out.append(
                f'<pattern id="p{place}" width="8" height="8" patternUnits="userSpaceOnUse"'
                f' patternTransform="rotate(45)"><rect width="8" height="8" fill="{light}"/>'
                f'<rect width="3" height="8" fill="{strong}" fill-opacity=".55"/></pattern>'
            )
        self.out += [
            f'<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 8 4 0 8z" fill="{FAINT}"/></marker>',
            "</defs>",
            f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="12" fill="{PAPER}" stroke="#cbd5e1"/>',
        ]
        left = 24
        if story.number:
            width = 20 + 8 * len(story.number)
            self.out.append(f'<rect x="24" y="18" width="{width}" height="26" rx="13" fill="{INK}"/>')
            self._text(24 + width / 2, 36, story.number, size=14, weight=700, fill=PAPER, anchor="middle")
            left += width + 10
        self._text(left, 37, story.title, size=17, weight=650)

    def _draw_axis(self, y: int) -> None:
        self.out.append(f'<path d="M{LEFT} {y}H{RIGHT + 8}" stroke="{FAINT}" stroke-width="1.2" marker-end="url(#a)"/>')
        self._text(RIGHT + 4, y + 16, "time", size=11, fill=FAINT, anchor="end")

    def _draw_lane(self, lane: str, y: int) -> None:
        if lane == SERVER:
            self._text(24, y + 4, "server", weight=600)
            self.out.append(f'<path d="M{LEFT} {y}H{RIGHT}" stroke="#cbd5e1" stroke-width="2" stroke-dasharray="2 5"/>')
        else:
            self._text(24, y + 4, f"visitor {lane}", weight=600)
            for span in self.spans[lane]:
                self._draw_span(span, lane, y)
        for mark in self.story.marks:
            if mark.lane == lane:
                self._draw_mark(mark, y)

    def _draw_span(self, span: Span, lane: str, y: int) -> None:
        strong, light = self.colours[span.person]
        place = list(self.colours).index(span.person)
        x, width = _x(span.begin_h), _x(span.end_h) - _x(span.begin_h)
        fill = f"url(#p{place})" if span.provisional else light if not span.customer else strong
        dash = "" if span.customer else ' stroke-dasharray="4 3"'
        self.out.append(
            f'<rect x="{x:g}" y="{y - BAND / 2:g}" width="{width - 1.5:g}" height="{BAND}" rx="5" fill="{fill}"'
            f' stroke="{strong}" stroke-width="1.3"{dash}/>'
        )
        said = span.customer + ("?" if span.provisional else "")
        arriving = [_x(mark.at_h) for mark in self.story.marks if mark.origin and mark.lane == lane]
        left = max([x, *(at for at in arriving if x - 5 < at < x + 60)]) + 5
        if width > 22:
            self._text(left, y + 27, said or "anonymous" * (width > 70), size=11, weight=650, fill=strong)

    def _draw_mark(self, mark: Mark, y: int) -> None:
        x = _x(mark.at_h)
        if not mark.evidence:
            self.out.append(f'<circle cx="{x:g}" cy="{y}" r="4" fill="{PAPER}" stroke="{INK}" stroke-width="1.4"/>')
            return
        first, reasons = mark.evidence[0], self._find_reasons(mark.evidence)
        if first.kind == "reset":
            self.out.append(
                f'<path d="M{x:g} {y - 20}V{y + 20}" stroke="{INK}" stroke-width="2" stroke-dasharray="4 3"/>'
            )
        else:
            self._draw_level(x, y, first.level, is_taken_back=first.op < 0)
        is_from_above = bool(mark.origin) and self.story.lanes.index(mark.origin) < self.story.lanes.index(mark.lane)
        self._text(x + 6 * is_from_above, y - 22, mark.text, anchor="" if is_from_above else "middle")
        if reasons and len(reasons) == len({row.evidence_id for row in mark.evidence}):
            self.out.append(f'<path d="M{x - 12:g} {y + 12}L{x + 12:g} {y - 12}" stroke="{REFUSED}" stroke-width="3"/>')
        for place, reason in enumerate(sorted(set(reasons))):
            self._text(x, y + 40 + 13 * place, f"refused: {reason}", size=11, weight=600, fill=REFUSED, anchor="middle")

    def _find_reasons(self, evidence: tuple[Evidence, ...]) -> list[str]:
        return [self.refused[row.evidence_id] for row in evidence if row.evidence_id in self.refused]

    def _draw_level(self, x: float, y: float, level: int, *, is_taken_back: bool = False) -> None:
        fill, ink = ((PAPER, FAINT), (PAPER, FAINT), ("#fde68a", INK), (PAPER, INK), (INK, PAPER))[level]
        dash = ' stroke-dasharray="3 2"' if is_taken_back or level == 1 else ""
        if is_taken_back:
            fill, ink = PAPER, INK
        self.out.append(f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{fill}" stroke="{INK}" stroke-width="1.8"{dash}/>')
        self._text(x, y + 4.5, "−" if is_taken_back else str(level), weight=700, fill=ink, anchor="middle", size=13)

    def _draw_crossings(self) -> None:
        lanes = list(self.story.lanes)
        for mark in self.story.marks:
            if mark.origin:
                start, end = (TOP + LANE * lanes.index(lane) + 40 for lane in (mark.origin, mark.lane))
                x, way = _x(mark.at_h), -1 if end < start else 1
                self.out.append(
                    f'<path d="M{x - 34:g} {start + way * 12}C{x - 34:g} {(start + end) / 2:g} {x - 4:g}'
                    f' {(start + end) / 2:g} {x - 2:g} {end - way * 14}" fill="none" stroke="{FAINT}"'
                    f' stroke-width="1.6" marker-end="url(#a)"/>'
                )

    def _draw_people(self, cards: list[tuple[str, str, list[str]]], is_close: bool) -> None:
        y = 64
        for person, title, lines in cards:
            strong, light = self.colours[person]
            height = _card_height((person, title, lines), is_close)
            dash = "" if title != "Anonymous" else ' stroke-dasharray="4 3"'
            self.out.append(
                f'<rect x="{PANEL}" y="{y}" width="{WIDTH - PANEL - 20}" height="{height - 8}" rx="8" fill="{light}"'
                f' stroke="{strong}" stroke-width="1.3"{dash}/>'
            )
            self._text(PANEL + 12, y + 19, title, size=13, weight=700, fill=strong)
            if is_close:
                self._text(WIDTH - 32, y + 19, lines[-1].removeprefix("visitor "), anchor="end")
            else:
                for place, line in enumerate(lines):
                    self._text(PANEL + 12, y + 37 + 16 * place, line)
            y += height

    def _draw_legend(self, y: int) -> None:
        x = LEFT + 10.0
        self.out.append(f'<circle cx="{x:g}" cy="{y - 4}" r="4" fill="{PAPER}" stroke="{INK}" stroke-width="1.4"/>')
        self._text(x + 10, y, "page view", size=11, fill=FAINT)
        x += 92
        shown = {row.level for row in self.log if row.kind != "reset"}
        for level, word in LEVELS:
            if level in shown:
                self._draw_level(x, y - 4, level)
                self._text(x + 17, y, f"{word}, level {level}", size=11, fill=FAINT)
                x += 124
        if any(span.provisional for spans in self.spans.values() for span in spans):
            self._text(x - 8, y, "striped: provisional", size=11, fill=FAINT)

    def _text(
        self, x: float, y: float, text: str, *, size: int = 12, weight: int = 400, fill: str = INK, anchor: str = ""
    ) -> None:
        where = f' text-anchor="{anchor}"' if anchor else ""
        heavy = f' font-weight="{weight}"' if weight != 400 else ""
        large = f' font-size="{size}"' if size != 12 else ""
        if text:
            self.out.append(f'<text x="{x:g}" y="{y:g}"{large}{heavy} fill="{fill}"{where}>{escape(text)}</text>')


def _x(at_h: float) -> float:
    """Return where an hour of the story stands."""
    return round(LEFT + (RIGHT - LEFT) * at_h / LAST_H, 1)


def _card_height(card: tuple[str, str, list[str]], is_close: bool) -> int:
    return 37 if is_close else 38 + 16 * len(card[2])


def draw(story: Story) -> str:
    """Return a story's picture."""
    return Painter(story).draw()


def main() -> None:
    """Write all pictures, and remove those of no story."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {f"{story.name}.svg" for story in STORIES}
    for path in FOLDER.glob("*.svg"):
        if path.name not in wanted:
            path.unlink()
    for story in STORIES:
        (FOLDER / f"{story.name}.svg").write_text(draw(story), encoding="utf-8")


if __name__ == "__main__":
    main()
