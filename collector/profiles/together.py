"""Profiles asked for at the same time, read in the same statements.

To plan a statement costs the store more than to carry it out, and for three people it is planned once. So while one
statement runs, whoever comes waits for the next one, together with the others: the more there are, the less each
costs. Alone one waits for nobody. What comes back is sorted out by the identifier with which every row begins, so an
answer is the same however many were asked for; only first pages go together, and not those of people with very many
identifiers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from collector.profiles import keys, timeline
from collector.profiles.timeline import Cursor
from collector.store.client import StoreClient

MOST_AT_ONCE = 2
"""Statements of a form that run at a time."""
MOST_TOGETHER = 16
MOST_KEYS = 64
"""Identifiers of one of them. With more the statement is theirs alone."""
MOST_FORMS = 64
"""Forms of statements that are remembered: whoever asks for another one asks alone."""
_ID_AT = slice(2, 38)
"""Where a row of a part has its identifier: the first of an array of JSON."""
_ROWS_AT = {"map": slice(0, 36)}
Item = TypeVar("Item")
Answer = TypeVar("Answer")
_decode_lines = msgspec.json.Decoder(dict[str, str]).decode_lines


class Line(NamedTuple):
    """A row of an answer: its part, and what stands in it."""

    part: str
    row: str


class _Slot(Generic[Item, Answer]):
    """Somebody who waits. `ready`: the answer has come, or it is their turn to ask, for those in `batch`."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.batch: list[_Slot[Item, Answer]] = []
        self.ready = threading.Event()


class Together(Generic[Item, Answer]):
    """One kind of question of several threads. `ask_all` answers several at once, in their order."""

    def __init__(self, ask_all: Callable[[StoreClient, list[Item]], Sequence[Answer]]) -> None:
        self._ask_all = ask_all
        self._lock = threading.Lock()
        self._waiting: list[_Slot[Item, Answer]] = []
        self._busy = 0

    def ask(self, client: StoreClient, item: Item) -> Answer:
        """Return the answer. `client`: of this thread, in case it is the one to ask. Raises what `ask_all` raises."""
        slot: _Slot[Item, Answer] = _Slot(item)
        with self._lock:
            may_lead = self._busy < MOST_AT_ONCE
            self._busy += may_lead
            if may_lead:
                slot.batch = [slot]
            else:
                self._waiting.append(slot)
        if not may_lead:
            slot.ready.wait()
        if slot.batch:
            self._lead(client, slot.batch)
        if slot.error is not None:
            raise slot.error
        return slot.answer  # type: ignore[return-value]

    def _lead(self, client: StoreClient, batch: list[_Slot[Item, Answer]]) -> None:
        """Ask for these, and pass the turn on to the first of those who wait by then."""
        try:
            answers = self._ask_all(client, [slot.item for slot in batch])
            for slot, answer in zip(batch, answers, strict=True):
                slot.answer = answer
        except BaseException as error:
            for slot in batch:
                slot.error = error
            raise
        finally:
            with self._lock:
                following, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                self._busy -= not following
            for slot in batch[1:]:
                slot.ready.set()
            if following:
                following[0].batch = following
                following[0].ready.set()


class Reads:
    """The reads of profiles of one process, from any of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[tuple[Any, ...], Together[Any, Any]] = {}

    def find_candidates(self, client: StoreClient, space_id: str, key: str, person_id: str) -> tuple[str, list[str]]:
        """As `keys.find_candidates`."""
        if person_id:
            return keys.find_candidates(client, space_id, key, person_id)
        form = self._find(("candidates", space_id), lambda: _CandidatesForm(space_id))
        return form.ask(client, key) if form else keys.find_candidates(client, space_id, key)

    def ask(
        self,
        client: StoreClient,
        space_id: str,
        candidates: list[str],
        wanted: list[str],
        page_of: tuple[Cursor | None, int] | None,
    ) -> list[Line]:
        """Return the rows of some identifiers: of the parts that are wanted, and of that page of the timeline."""
        limit = page_of[1] if page_of else 0
        form = None
        if len(candidates) <= MOST_KEYS and (page_of is None or page_of[0] is None):
            form = self._find(("rows", space_id, *wanted, limit), lambda: _RowsForm(space_id, wanted, limit))
        return form.ask(client, candidates) if form else read_rows(client, space_id, candidates, wanted, page_of)

    def _find(self, name: tuple[Any, ...], make: Callable[[], Any]) -> Together[Any, Any] | None:
        with self._lock:
            form = self._forms.get(name)
            if form is None and len(self._forms) < MOST_FORMS:
                form = self._forms[name] = Together(make().ask)
        return form


class _CandidatesForm:
    """Candidates of several identifiers in one statement."""

    def __init__(self, space_id: str) -> None:
        self._space_id = space_id

    def ask(self, client: StoreClient, asked: list[str]) -> list[tuple[str, list[str]]]:
        if len(asked) == 1:
            return [keys.find_candidates(client, self._space_id, asked[0])]
        return keys.find_many_candidates(client, self._space_id, asked)


class _RowsForm:
    """Rows of several people in one statement."""

    def __init__(self, space_id: str, wanted: list[str], limit: int) -> None:
        self._space_id = space_id
        self._wanted = wanted
        self._limit = limit

    def ask(self, client: StoreClient, asked: list[list[str]]) -> list[list[Line]]:
        page_of = (None, self._limit) if self._limit else None
        if len(asked) == 1:
            return [read_rows(client, self._space_id, asked[0], self._wanted, page_of)]
        whole = sorted({key for candidates in asked for key in candidates})
        rows = read_rows(client, self._space_id, whole, self._wanted, page_of, is_by_key=True)
        by_key: dict[str, list[tuple[int, Line]]] = {}
        for place, line in enumerate(rows):
            by_key.setdefault(line.row[_ROWS_AT.get(line.part, _ID_AT)], []).append((place, line))
        return [self._sort_out(by_key, candidates) for candidates in asked]

    def _sort_out(self, by_key: dict[str, list[tuple[int, Line]]], candidates: Iterable[str]) -> list[Line]:
        """Return what a statement about these identifiers alone would have given."""
        mine = [line for _, line in sorted(pair for key in set(candidates) for pair in by_key.get(key, ()))]
        events = [line for line in mine if line.part == timeline.PART][: self._limit + 1]
        return [line for line in mine if line.part != timeline.PART] + events


def read_rows(
    client: StoreClient,
    space_id: str,
    candidates: list[str],
    wanted: list[str],
    page_of: tuple[Cursor | None, int] | None,
    *,
    is_by_key: bool = False,
) -> list[Line]:
    """Return the rows of identifiers in one statement. `is_by_key`: of each as many events as a page has. Raises
    StoreError."""
    params: dict[str, Any] = {"space": space_id, "keys": candidates}
    page = [timeline.make_events_sql(*page_of, params, is_by_key=is_by_key)] if page_of else []
    with client.stream(" UNION ALL ".join([*wanted, *page]), params, settings=keys.SETTINGS) as answer:
        return [Line(line["part"], line["row"]) for line in _decode_lines(b"".join(answer))]
