"""Tagging a list on the links page: piece by piece, so that neither the list nor its links ever stand here whole.

The browser cuts its file into pieces and sends them one after the other. Each comes back with one more column, and with
how much of it was used: a row that a piece cuts in two comes whole with the next. What one piece must tell the next is
signed and kept by the browser, so that any web process may take any piece; memory is bounded by a piece, and nothing
is written to a disk. Rows keep their place and their text. One for which no link can be made gets the plain address,
so that nobody is sent a broken link, and stands in a second list with the reason.

A list is UTF-8. Quotes are those of RFC 4180: a field in quotes may hold the delimiter, line breaks and doubled quotes.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from collector.errors import LinkError, TagstitchError
from collector.keyring import Keyring
from collector.links.ledger import read_consent
from collector.links.minting import LinkMaker, Mailing, find_kinds
from collector.links.record import Minting, begin_minting
from collector.links.targets import add_token, find_target_site
from collector.links.token import LASTING, LinkKind
from collector.sites.book import SiteBook

MAX_LIST_BYTES = 100_000_000
MAX_PIECE_BYTES = 524_288
PREVIEWS = 10
MAX_COLUMNS = 500
DELIMITERS = (",", ";", "\t", "|")
BOM = b"\xef\xbb\xbf"


class ListProblem(TagstitchError):
    """A list, or what is asked to be done with it, cannot be used. `field`: what to change on the page."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ListOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done with a list, as the page asks. Columns are counted from 0; -1: none.

    `form`: what the new column holds. link: the address with the token; token: the token alone; redirect: the address
    that goes through the collector.
    """

    column: int
    identifier: str = "customer"
    kind: LinkKind = LinkKind.MESSAGE
    form: Literal["link", "token", "redirect"] = "link"
    campaign: str = ""
    message: str = ""
    link: str = ""
    target: str = ""
    days: float | None = None
    consent_column: int = -1
    delimiter: str = ","
    has_header: bool = True
    is_test: bool = False
    sealed: bool = False


class ListState(msgspec.Struct, frozen=True):
    """What one piece tells the next. `line`: of the list, read so far; `taken`: bytes. Times in seconds since 1970."""

    minting_id: str
    started_s: int
    line: int = 0
    taken: int = 0
    columns: int = 0  # 0: not known yet
    made: int = 0
    refused: int = 0


class Preview(msgspec.Struct, frozen=True):
    """One of the first rows, and what becomes of it. `refused`: why not, as a word and in words."""

    line: int
    reference: str
    made: str = ""
    refused: str = ""
    message: str = ""


class TaggedPiece(msgspec.Struct, frozen=True):
    """A piece with its new column. `reasons`: how many rows of it were refused for each word. `said`: what its rows
    say about consent, references as they stand in tokens."""

    state: ListState
    tagged: bytes
    refused: bytes
    reasons: dict[str, int]
    previews: tuple[Preview, ...]
    said: tuple[tuple[str, str | None], ...]


class ListTagger:
    """Tags the pieces of one list. Raises ListProblem and LinkError where what all rows share cannot be used."""

    def __init__(
        self, keyring: Keyring, options: ListOptions, book: SiteBook, space_id: str, *, parameter: str, link_base: str
    ) -> None:
        """`parameter`: of addresses that carry a token. `link_base`: what stands before a token that goes through
        the collector, `https://shop.example/l/`."""
        self._keyring = keyring
        self._options = options
        self._parameter = parameter
        self._link_base = link_base
        self._is_plain = options.form == "link" and options.kind not in LASTING
        self.mailing = make_mailing(options, book, space_id)
        LinkMaker(keyring, self.mailing, 0)  # raises LinkError now, not after the first piece

    def tag(self, data: bytes, state: ListState, *, is_last: bool, most_rows: int = 0) -> TaggedPiece:
        """Tag what is whole of a piece. `most_rows`: show what becomes of so many rows instead.

        Raises ListProblem where the list cannot be read on.
        """
        text, mark, used = decode_piece(data, state, is_last=is_last)
        maker = LinkMaker(self._keyring, self.mailing, state.started_s)
        tagged, refused = [mark], [mark]
        previews: list[Preview] = []
        said: list[tuple[str, str | None]] = []
        reasons: Counter[str] = Counter()
        columns, line, made = state.columns, state.line, state.made
        for record in read_records(text, self._options.delimiter, state.line + 1, is_last=is_last):
            if record.fields is None:  # cut in two: all of it comes with the next piece
                used -= len(record.raw.encode())
                break
            line = record.last_line
            if not any(field.strip() for field in record.fields):
                continue
            is_header = not columns and self._options.has_header
            columns = columns or self._count_columns(record.fields)
            if is_header:
                tagged.append(self._write(record, columns, self._name_column(record.fields)))
                refused.append(self._write(record, columns, "refused"))
                continue
            link, problem = self._make(maker, record, said)
            if most_rows:
                word, message = (problem.refusal.value, str(problem)) if problem else ("", "")
                reference = self._pick(record, self._options.column)
                previews.append(Preview(record.line, reference, "" if problem else link, word, message))
                if len(previews) == most_rows:
                    break
                continue
            made += problem is None
            tagged.append(self._write(record, columns, link))
            if problem is not None:
                reasons[problem.refusal.value] += 1
                refused.append(self._write(record, columns, f"line {record.line}: {problem}"))
        if not most_rows and not used and data:
            raise ListProblem("list", f"line {line + 1} does not end: is a quotation mark not closed?")
        after = ListState(
            minting_id=state.minting_id,
            started_s=state.started_s,
            line=line,
            taken=state.taken + used,
            columns=columns,
            made=made,
            refused=state.refused + sum(reasons.values()),
        )
        return TaggedPiece(
            state=after,
            tagged="".join(tagged).encode(),
            refused="".join(refused).encode(),
            reasons=dict(reasons),
            previews=tuple(previews),
            said=tuple(said),
        )

    def make_record(self, state: ListState, actor: str) -> Minting:
        """Return the record of the list, as far as it is tagged."""
        begun = begin_minting(self._keyring, self.mailing, now_ms=state.started_s * 1000, actor=actor, via="page")
        return msgspec.structs.replace(
            begun, minting_id=state.minting_id, made=state.made, recipients=state.made, refused=state.refused
        )

    def _make(
        self, maker: LinkMaker, record: Record, said: list[tuple[str, str | None]]
    ) -> tuple[str, LinkError | None]:
        """Return what stands in the new column of a row, and why no link could be made where none could."""
        options, reference = self._options, self._pick(record, self._options.column)
        try:
            consent = None
            if options.consent_column >= 0:
                consent = read_consent(self._pick(record, options.consent_column))
            token = maker.make(reference, consent=consent or "")
            if consent is not None:
                said.append((maker.name_reference(reference), consent))
        except LinkError as error:
            return options.target if options.form != "token" and options.kind not in LASTING else "", error
        if options.form == "token":
            return token, None
        if options.form == "redirect" or options.kind in LASTING:
            return f"{self._link_base}{token}", None
        return add_token(options.target, token, self._parameter), None

    def _pick(self, record: Record, column: int) -> str:
        fields = record.fields or []
        return fields[column].strip() if column < len(fields) else ""

    def _count_columns(self, fields: Sequence[str]) -> int:
        """Return how many columns the list has. Raises ListProblem where it has not those that were chosen."""
        if len(fields) > MAX_COLUMNS:
            raise ListProblem("list", f"the list has more than {MAX_COLUMNS} columns")
        if max(self._options.column, self._options.consent_column) >= len(fields) or self._options.column < 0:
            raise ListProblem("column", "the list has no such column: choose one")
        return len(fields)

    def _name_column(self, fields: Sequence[str]) -> str:
        name = "lt" if self._options.form == "token" else "link"
        taken = {field.strip().lower() for field in fields}
        return next(each for each in (name, *(f"{name}_{n}" for n in range(2, MAX_COLUMNS))) if each not in taken)

    def _write(self, record: Record, columns: int, value: str) -> str:
        """Return a row with one more column, for the rest as it was written."""
        delimiter, fields = self._options.delimiter, record.fields or []
        row, end = record.raw, ""
        if row.endswith("\n"):
            end = "\r\n" if row.endswith("\r\n") else "\n"
            row = row[: -len(end)]
        if len(fields) > columns:
            if any(fields[columns:]):
                raise ListProblem(
                    "list", f"line {record.line} has {len(fields)} columns, the first row {columns}: mend that line"
                )
            fields = fields[:columns]
            row = delimiter.join(quote(field, delimiter) for field in fields)
        return f"{row}{delimiter * (columns - len(fields) + 1)}{quote(value, delimiter)}{end or chr(10)}"


class Record(msgspec.Struct, frozen=True):
    """A row as it stands in the list, from `line` to `last_line`. `fields`: None where its end has not come yet."""

    raw: str
    fields: Sequence[str] | None
    line: int
    last_line: int


def read_records(text: str, delimiter: str, line: int, *, is_last: bool) -> Iterator[Record]:
    """Yield the rows of a text that begins with this line of its list. Raises ListProblem."""
    lines = text.split("\n")
    rest = lines.pop()
    lines = [f"{each}\n" for each in lines] + ([rest] if rest else [])
    at, end = 0, len(lines)
    while at < end:
        raw = lines[at]
        if '"' not in raw:
            yield Record(raw, raw.rstrip("\r\n").split(delimiter), line + at, line + at)
            at += 1
            continue
        reader = csv.reader((lines[n] for n in range(at, end)), delimiter=delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            if "unexpected end" in str(error) and not is_last:
                yield Record("".join(lines[at:]), None, line + at, line + end - 1)
                return
            told = (
                "a quotation mark is not closed" if "unexpected end" in str(error) else "a quotation mark is misplaced"
            )
            raise ListProblem("list", f"line {line + at}: {told}") from None
        used = reader.line_num
        yield Record("".join(lines[at : at + used]), fields, line + at, line + at + used - 1)
        at += used


def decode_piece(data: bytes, state: ListState, *, is_last: bool) -> tuple[str, str, int]:
    """Return the text of a piece up to its last whole line, the mark in front of the list where it has one, and the
    bytes that are used for both. Raises ListProblem where it is no UTF-8."""
    if b"\0" in data:
        raise ListProblem("list", "the list is not UTF-8 text: save it as “CSV UTF-8”")
    used = len(data) if is_last else data.rfind(b"\n") + 1
    has_mark = not state.taken and data.startswith(BOM)
    try:
        text = data[len(BOM) * has_mark : used].decode()
    except UnicodeDecodeError as error:
        line = state.line + 1 + data[: error.start].count(b"\n")
        raise ListProblem("list", f"line {line} is not UTF-8 text: save the list as “CSV UTF-8”") from None
    if "\n" not in text and "\r" in text.rstrip("\r"):
        raise ListProblem("list", "its lines end as those of old Macs do: save the list as “CSV UTF-8”")
    return text, BOM.decode() if has_mark else "", used


def make_mailing(options: ListOptions, book: SiteBook, space_id: str) -> Mailing:
    """Return what all links of the list share. Raises ListProblem where sites or their settings do not allow it."""
    kind = next((each for each in find_kinds(book, space_id) if each.name == options.identifier), None)
    if kind is None:
        raise ListProblem("identifier", "no site knows this kind of identifier")
    if options.delimiter not in DELIMITERS:
        raise ListProblem("delimiter", "columns are parted by a comma, a semicolon, a tab or a bar")
    is_lasting = options.kind in LASTING
    needs_target = options.form != "token" and not is_lasting
    if needs_target and not options.target:
        raise ListProblem("target", "give the address of the page that the link leads to")
    if needs_target and find_target_site(options.target, space_id, book.sites.values()) is None:
        raise ListProblem(
            "target", "no site lets links lead there: it must be a page of a site, or of a host in its link_hosts"
        )
    return Mailing(
        kind=options.kind,
        campaign=options.campaign.strip(),
        message=options.message.strip(),
        link=options.link.strip(),
        identifier_kind=kind,
        space_id=space_id,
        target=options.target if options.form == "redirect" and not is_lasting else "",
        days=options.days,
        is_test=options.is_test,
        sealed=options.sealed,
    )


def quote(text: str, delimiter: str) -> str:
    """Return a field as it is written in a list."""
    if any(sign in text for sign in (delimiter, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text
