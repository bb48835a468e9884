"""Cutting a statement where ClickHouse's HTTP interface cuts it: its FORMAT, its SETTINGS, its data.

The cut decides nothing about rights. What is left after it is what `admission` judges and what runs, so a cut at
the wrong place gives a statement that is refused or fails, never one that gets more than it should.

Source: ClickHouse `src/Parsers/Lexer.cpp`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_TOKEN = re.compile(
    r"""
      (?P<space>[\s\u00a0\u200b-\u200f\u202f\u2060\u3000\ufeff]+|--[^\n]*|\#[!\ ][^\n]*)
    | (?P<comment>/\*)
    | (?P<string>'(?:[^'\\]|\\.|'')*'|\u2018[^\u2019]*\u2019)
    | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\u201c[^\u201d]*\u201d)
    | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<number>[0-9][0-9A-Za-z_.]*(?:(?<=[eEpP])[+-][0-9]+)?)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Token:
    """One token that means something: `kind` is string, quoted, heredoc, number, word or other."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    def is_word(self, *words: str) -> bool:
        """Tell whether this is one of these keywords, written without quotes; they are given in upper case."""
        return self.kind == "word" and self.text.upper() in words

    @property
    def name(self) -> str:
        """The identifier that this token names, without its quotes."""
        if self.kind != "quoted":
            return self.text
        quote = self.text[-1]
        return re.sub(r"\\(.)", r"\1", self.text[1:-1].replace(quote * 2, quote))


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of `sql` without spaces and comments. What is opened and never closed yields tokens too."""
    at = 0
    depth = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        assert match is not None  # noqa: S101  `other` takes any character
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "heredoc"
        end = match.end()
        closed = _comment_end(sql, at) if kind == "comment" else None
        if kind == "comment" and closed is None:
            yield Token("other", sql[at:], at, len(sql), depth)
            return
        if closed is not None:
            end = closed
        elif kind != "space":
            text = match.group()
            if text in _CLOSE:
                depth -= 1
            yield Token(kind, text, at, end, depth)
            if text in _OPEN:
                depth += 1
        at = end


def _comment_end(sql: str, start: int) -> int | None:
    """Return where the comment that opens at `start` ends, None where it does not; comments nest."""
    level = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        level += 1 if edge.group() == "/*" else -1
        if level == 0:
            return edge.end()
    return None


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement without its tail: `sql` runs, `format` and `settings` are what the tail asked for."""

    sql: str
    format: str | None
    settings: dict[str, str]


def cut_statement(sql: str) -> Statement:
    """Take `FORMAT x`, a last `SETTINGS a = 1, …` and semicolons off the end of a statement.

    The SETTINGS of a CREATE are its table's and stay, unless they follow its SELECT. A short one that comes again is
    cut once: programs ask the same few questions all day.
    """
    if len(sql) > MOST_KEPT_CHARS:
        return _cut_statement(sql)
    kept = _keep_cut(sql)
    return Statement(kept.sql, kept.format, dict(kept.settings))


def _cut_statement(sql: str) -> Statement:
    found = list(tokens(sql))
    while found and found[-1].text == ";":
        found.pop()
    format_name: str | None = None
    settings: dict[str, str] = {}
    while found:
        if format_name is None and len(found) > 2 and found[-2].depth == 0 and found[-2].is_word("FORMAT"):
            if found[-1].kind not in ("word", "quoted") or found[-3].text in (",", ".") or found[-3].is_word("SELECT"):
                break
            format_name = found[-1].name
            del found[-2:]
            continue
        at = _settings_at(found)
        if at is None or (found[0].is_word("CREATE", "ATTACH") and not _has_select(found[:at])):
            break
        pairs = read_settings(found[at + 1 :])
        if pairs is None:
            break
        settings = {**pairs, **settings}
        del found[at:]
    end = found[-1].end if found else 0
    return Statement(sql[:end], format_name, settings)


_keep_cut = lru_cache(maxsize=256)(_cut_statement)
MOST_KEPT_CHARS = 8_192
"""Of a statement that is remembered: all together take some megabytes at most."""


def _has_select(found: list[Token]) -> bool:
    """Tell whether a CREATE has its `AS SELECT …` among these tokens."""
    return any(
        first.depth == 0 and first.is_word("AS") and (second.is_word("SELECT", "WITH", "FROM") or second.text == "(")
        for first, second in pairwise(found)
    )


def _settings_at(found: list[Token]) -> int | None:
    for at in range(len(found) - 1, 0, -1):
        if found[at].depth == 0 and found[at].is_word("SETTINGS"):
            return at
    return None


def read_settings(found: list[Token]) -> dict[str, str] | None:
    """Read `a = 1, b = 'x'` into a dictionary of plain values; None where it is anything else."""
    pairs: dict[str, str] = {}
    at = 0
    while at + 2 < len(found):
        name, equals, *rest = found[at:]
        if name.kind not in ("word", "quoted") or equals.text != "=":
            return None
        value = rest[0]
        sign = ""
        if value.text in ("-", "+") and len(rest) > 1:
            sign, value = value.text, rest[1]
            at += 1
        if value.kind == "string":
            pairs[name.name] = unquote(value.text)
        elif value.kind == "number" or value.is_word("TRUE", "FALSE", "DEFAULT"):
            pairs[name.name] = sign + value.text
        else:
            return None
        at += 3
        if at == len(found):
            return pairs
        if found[at].text != ",":
            return None
        at += 1
    return None


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


def unquote(literal: str) -> str:
    """Return the value of a string literal in single quotes."""
    body = literal[1:-1].replace("''", "\\'")
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), body, flags=re.DOTALL)


def quote(value: str) -> str:
    """Write `value` as a string literal of ClickHouse."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True, slots=True)
class InsertHead:
    """The head of an INSERT whose rows follow as data.

    `sql` is `INSERT INTO t (…)`, `data_at` the index in the text where the data starts.
    """

    sql: str
    format: str
    settings: dict[str, str]
    data_at: int


def cut_insert(sql: str) -> InsertHead | None:
    """Cut `INSERT INTO t (…) SETTINGS … FORMAT x <data>`; None for any other statement, INSERT … SELECT included.

    `INSERT INTO t VALUES …` is cut too, as format Values. The text may end anywhere in the data.
    """
    seen: list[Token] = []
    for token in tokens(sql):
        if not seen and not token.is_word("INSERT"):
            return None
        if token.depth == 0 and token.is_word("SELECT", "WITH", "WATCH", "INFILE"):
            return None
        if token.depth == 0 and token.is_word("VALUES") and len(seen) > 1:
            return _insert_head(sql, seen, "Values", token.end)
        follows_format = len(seen) > 2 and seen[-1].depth == 0 and seen[-1].is_word("FORMAT")
        if follows_format and token.depth == 0 and token.kind in ("word", "quoted"):
            return _insert_head(sql, seen[:-1], token.name, token.end)
        seen.append(token)
    return None


def _insert_head(sql: str, seen: list[Token], format_name: str, data_at: int) -> InsertHead:
    settings: dict[str, str] = {}
    at = _settings_at(seen)
    if at is not None:
        pairs = read_settings(seen[at + 1 :])
        if pairs is not None:
            settings, seen = pairs, seen[:at]
    while sql[data_at : data_at + 1] in (" ", "\t", "\r"):
        data_at += 1
    if sql[data_at : data_at + 1] == "\n":
        data_at += 1
    return InsertHead(sql[: seen[-1].end], format_name, settings, data_at)
