"""Tagging lists: what becomes of each row, and rows in several processes at once with their order kept.

A row for which no link can be made keeps its place and gets the plain address, where there is one: a mail with a link
that is not counted is better than one with none. Why it was refused is told apart from the list.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.errors import LinkError, WorkersFailed
from collector.keyring import Keyring
from collector.links.files import Batch
from collector.links.ledger import read_consent
from collector.links.minting import LinkMaker, Mailing
from collector.links.targets import add_token

_PLACE = "lt.place"
MAX_CONSENT_WORDS = 1024


class Outlet(NamedTuple):
    """One column of links: what stands around the token, and what in its place where none can be made."""

    column: str
    link: str = ""
    target: str = ""  # inside the token, for `/l/`
    before: str = ""
    after: str = ""
    plain: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a list is tagged. `keeps_said`: what rows say about consent is wanted back, for the ledger."""

    keyring: Keyring
    mailing: Mailing
    outlets: tuple[Outlet, ...]
    now_s: int
    keeps_said: bool = False


class RefusedRow(NamedTuple):
    """A row for which no link was made: its place in the batch, the word of LinkRefusal, and a sentence."""

    place: int
    word: str
    message: str


@dataclass(slots=True)
class Tagged:
    """What became of some rows. `columns`: one sequence for each outlet. `said`: references as they are stored, with
    what their rows say about consent, see `ledger.read_consent`."""

    columns: list[list[str]]
    refused: list[RefusedRow] = field(default_factory=list)
    said: list[tuple[str, str | None]] = field(default_factory=list)


def make_outlet(column: str, *, link: str = "", url: str = "", parameter: str = "lt", base: str = "") -> Outlet:
    """Return a column of links. `url`: where they lead; empty: the column holds bare tokens, or with `base` addresses
    of the collector. `base`: what stands before the token of a link by way of the collector, `https://shop.example/l/`.
    """
    if base:
        return Outlet(column, link, url, before=base, plain=url)
    if not url:
        return Outlet(column, link)
    before, _, after = add_token(url, _PLACE, parameter).rpartition(_PLACE)
    return Outlet(column, link, before=before, after=after, plain=url)


class Tagger:
    """Tags rows in this process. Raises LinkError where what all rows share cannot be used."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._maker = LinkMaker(plan.keyring, plan.mailing, plan.now_s)
        self._letters: dict[str, str | None] = {}

    def tag(self, references: Sequence[str], consents: Sequence[str] | None = None) -> Tagged:
        """Make the links of some rows."""
        plan, make = self._plan, self._maker.make
        outlets = plan.outlets
        wanted = [(outlet.link, outlet.target) for outlet in outlets]
        around = [(outlet.before, outlet.after) for outlet in outlets]
        tagged = Tagged([[] for _ in outlets])
        columns, said = tagged.columns, None
        letters = ""
        for place, reference in enumerate(references):
            try:
                if consents is not None:
                    said = self._read_letters(consents[place])
                    letters = said or ""
                made = [make(reference, consent=letters, link=link, target=target) for link, target in wanted]
                if plan.keeps_said and said is not None:
                    tagged.said.append((self._maker.name_reference(reference), said))
            except LinkError as error:
                tagged.refused.append(RefusedRow(place, error.refusal.value, str(error)))
                for column, outlet in zip(columns, outlets, strict=True):
                    column.append(outlet.plain)
                continue
            for column, token, (before, after) in zip(columns, made, around, strict=True):
                column.append(f"{before}{token}{after}")
        return tagged

    def _read_letters(self, cell: str) -> str | None:
        """As `read_consent`. A column has few different words."""
        if cell not in self._letters:
            if len(self._letters) >= MAX_CONSENT_WORDS:
                self._letters.clear()
            self._letters[cell] = read_consent(cell)
        return self._letters[cell]


def tag_batches(
    plan: Plan, batches: Iterable[Batch], column: int, consent_column: int = -1, workers: int = 1
) -> Iterator[tuple[Batch, Tagged]]:
    """Yield each batch with what became of it, in order. `workers`: processes; 0: one for each core; 1: this one.

    Twice as many batches as processes are on their way at most. Raises LinkError, and WorkersFailed where a process
    died.
    """
    tagger = Tagger(plan)  # what all rows share is judged here, before a process is started
    workers = workers or len(os.sched_getaffinity(0))
    picked = ((batch, *_pick(batch, column, consent_column)) for batch in batches)
    if workers == 1:
        for batch, references, consents in picked:
            yield batch, tagger.tag(references, consents)
        return
    context = multiprocessing.get_context("spawn")  # a bar has a thread of its own, which a fork would cut off
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(plan,)) as pool:
        waiting: deque[tuple[Batch, Future[Tagged]]] = deque()
        try:
            for batch, references, consents in picked:
                waiting.append((batch, pool.submit(_tag_in_worker, references, consents)))
                if len(waiting) >= 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        except BrokenProcessPool:
            raise WorkersFailed(
                "a process that makes links has died, of too little memory perhaps: try again with --workers 1"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pick(batch: Batch, column: int, consent_column: int) -> tuple[list[str], list[str] | None]:
    return batch.pick(column), batch.pick(consent_column) if consent_column >= 0 else None


_worker: list[Tagger] = []
"""The tagger of a worker's process, and nothing in any other."""


def _start_worker(plan: Plan) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever stops the list stops its first process, and that ends these
    _worker[:] = [Tagger(plan)]


def _tag_in_worker(references: list[str], consents: list[str] | None) -> Tagged:
    return _worker[0].tag(references, consents)
