"""A list of recipients on its way: tagged batch by batch, with a bar, the refused rows beside it, ledger and record.

Written in this order: the tagged rows to a draft, what they say about consent, the record of the minting, and last the
file's name. So there is no list of ours without a record, and none that is cut off.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from collector.commands.options import open_writer
from collector.config import Settings
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.links.files import PIPE, Batch, Form, ListReader, ListWriter, find_form
from collector.links.ledger import LedgerWriter
from collector.links.record import Minting, keep_minting
from collector.links.tagging import Plan, Tagged, tag_batches


class ListColumns(NamedTuple):
    """Places of the columns that are read; -1: none."""

    reference: int
    consent: int


class ListWork:
    """One list on its way. `rows`, `made` (rows that got their links) and `reasons` count as it goes."""

    def __init__(
        self,
        read: Settings,
        keyring: Keyring,
        minting: Minting,
        plan: Plan,
        columns: ListColumns,
        workers: int,
    ) -> None:
        self.rows = self.made = 0
        self.reasons: Counter[str] = Counter()
        self._read, self._keyring = read, keyring
        self._minting, self._plan, self._columns, self._workers = minting, plan, columns, workers
        self._refusals: ListWriter | None = None

    def run(self, reader: ListReader, out: Path, refused: Path | None, say: Console, *, is_replacing: bool) -> None:
        """Tag the list, write the ledger, keep the record; files take their names last.

        `refused`: where refused rows go; None: beside `out`, in place of those of an earlier time. Raises BadParameter
        where that is a file that must stay.
        """
        began = time.monotonic()
        outlets = self._plan.outlets
        form: Form = find_form(out) if out != PIPE else "csv"
        listed = refused or (None if out == PIPE else out.with_name(f"{out.name}.refused.csv"))
        if listed is not None:
            _check_listed(listed, reader.path, out, is_replacing=is_replacing or refused is None)
        with ExitStack() as stack:
            ledger = self._open_ledger(stack) if self._plan.keeps_said else None
            names = [outlet.column for outlet in outlets]
            writer = stack.enter_context(ListWriter(out, form, reader, names, is_replacing=is_replacing))
            bar = stack.enter_context(_bar(reader, say))
            batches = tag_batches(
                self._plan, reader.read(), self._columns.reference, self._columns.consent, self._workers
            )
            for batch, tagged in batches:
                writer.write(batch, tagged.columns)
                if tagged.refused and listed is not None:
                    if self._refusals is None:
                        again = ListWriter(listed, "csv", reader, ["line", "refused", "reason"], is_replacing=True)
                        self._refusals = stack.enter_context(again)
                    _write_refused(self._refusals, batch, tagged)
                if ledger is not None:
                    ledger.add(tagged.said)
                self.rows += len(batch.lines)
                self.made += len(batch.lines) - len(tagged.refused)
                self.reasons.update(row.word for row in tagged.refused)
                bar.reach(reader.done, self.rows)
            if ledger is not None:
                ledger.finish()
            # Before the list has its name: there is no list of ours without a record.
            done = msgspec.structs.replace(
                self._minting,
                made=self.made * len(outlets),
                recipients=self.made,
                refused=self.rows - self.made,
            )
            is_stored = keep_minting(self._read.config, self._keyring, done)
        self._tell(say, done, time.monotonic() - began, listed, ledger, is_stored=is_stored)

    def _open_ledger(self, stack: ExitStack) -> LedgerWriter:
        """Return what writes the ledger. Raises BadParameter where the store is away."""
        try:
            client = stack.enter_context(contextlib.closing(open_writer(self._read)))
            client.command("SELECT 1")
        except StoreError as error:
            raise typer.BadParameter(
                f"what the list says about consent needs the store: start it, or leave that out with --no-ledger "
                f"({error})",
                param_hint="--consent-column",
            ) from error
        mailing = self._plan.mailing
        return LedgerWriter(
            client,
            self._keyring,
            space_id=mailing.space_id,
            kind=mailing.identifier_kind,
            minting_id=self._minting.minting_id,
            time_ms=self._minting.minted_at_ms,
            actor=self._minting.actor,
        )

    def _tell(
        self,
        say: Console,
        done: Minting,
        seconds: float,
        listed: Path | None,
        ledger: LedgerWriter | None,
        *,
        is_stored: bool,
    ) -> None:
        rate = f", {self.rows / seconds:,.0f} rows a second" if seconds > 1 else ""
        say.print(f"{self.rows:,} rows, {done.made:,} links, {done.refused:,} refused{rate}", markup=False)
        if self.reasons:
            table = Table(box=None, pad_edge=False)
            table.add_column("refused as")
            table.add_column("rows", justify="right")
            for word, count in self.reasons.most_common():
                table.add_row(word, f"{count:,}")
            say.print(table)
            if listed is not None:
                say.print(f"refused rows: {listed}", markup=False)
        if ledger is not None:
            kept = f", {ledger.kept:,} left out: taken back by the customers themselves" if ledger.kept else ""
            say.print(f"ledger of consent: {ledger.written:,} entries{kept}", markup=False)
        where = "" if is_stored else "; its record waits for the store, and goes in with the next that reaches it"
        say.print(f"minting {done.minting_id}{where}", markup=False)


def _check_listed(listed: Path, source: Path, out: Path, *, is_replacing: bool) -> None:
    """Raise BadParameter where the refused rows would take the place of another list."""
    if listed == PIPE:
        problem = "standard output has the tagged list" if out == PIPE else ""
    elif listed.resolve() in (source.resolve(), out.resolve()):
        problem = f"{listed} is the list itself: name another file"
    else:
        problem = f"{listed} is there already: replace it with --force" if listed.exists() and not is_replacing else ""
    if problem:
        raise typer.BadParameter(problem, param_hint="--refused")


def _write_refused(writer: ListWriter, batch: Batch, tagged: Tagged) -> None:
    rows = batch.read_rows()
    chosen = Batch([rows[row.place] for row in tagged.refused], [batch.lines[row.place] for row in tagged.refused])
    writer.write(
        chosen,
        [
            [str(line) for line in chosen.lines],
            [row.word for row in tagged.refused],
            [row.message for row in tagged.refused],
        ],
    )


class _Bar:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._began = time.monotonic()
        self._task = bars.add_task("tagging", total=total or None, rate="")

    def reach(self, done: int, rows: int) -> None:
        """Note how much of the list is read, and how many rows have come out."""
        rate = rows / max(time.monotonic() - self._began, 0.001)
        self._bars.update(self._task, completed=done, rate=f"{rows:,} rows, {rate:,.0f} a second")


@contextlib.contextmanager
def _bar(reader: ListReader, say: Console) -> Iterator[_Bar]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=say,
        disable=not say.is_terminal,
        transient=True,
    ) as bars:
        yield _Bar(bars, reader.total)
