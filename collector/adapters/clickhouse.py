"""Adapter for ClickHouse: a record is a row of a table or view, or an entry of a dictionary.

In our own store it reads as the analyst does: what the organisation put into database `analytics`. On another server it
reads as whom the DSN names. Values are bound by the server; names are held against what it says it has, and quoted.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from collector.adapters.blocking import BlockingThreads
from collector.adapters.configuration import ClickHouseSettings
from collector.adapters.contract import Described, Record, Wrong
from collector.adapters.rest_settings import read_secret
from collector.adapters.values import fit_record, make_fitter
from collector.errors import AdapterError, AdapterReason, ConfigError, StoreError, StoreUnavailable
from collector.store.client import StoreClient
from collector.store.dsn import read_dsn
from collector.store.rendering import quote_text

FORM = "JSONCompactEachRow"
BATCH_ROWS = 10_000
MAX_FOUND = 100
MAX_NAMES = 60
SCAN_S = 600.0
"""The longest that a scan may be without an answer."""
INTEGERS = {f"{sign}Int{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)}
NO_SETTINGS = frozenset((115, 164, 452))
"""What a user who may set nothing is refused with."""

_REASONS = {
    **dict.fromkeys((192, 193, 194, 195, 497, 516), AdapterReason.REFUSED),
    **dict.fromkeys((36, 47, 53, 60, 81, 386), AdapterReason.CONFIG),
    **dict.fromkeys((159, 209, 394), AdapterReason.TIMEOUT),
    **dict.fromkeys((201, 202), AdapterReason.RATE),
}
_HINTS = {
    AdapterReason.REFUSED: "check user, password and grants",
    AdapterReason.CONFIG: "check `table`, `key` and `map`",
    AdapterReason.TIMEOUT: "it took too long: is the key the first column of the table's ORDER BY?",
    AdapterReason.RATE: "it is asked too often",
    AdapterReason.UNREACHABLE: "is it running, and are host and port right?",
    AdapterReason.BAD_ANSWER: "the statement cannot be carried out",
}


class _Plan(NamedTuple):
    """What is asked, with names that the server has. `parts`: by field, in SQL. `key_type`: of the parameter."""

    source: str
    key: str
    key_type: str
    parts: Mapping[str, str]


class ClickHouseAdapter:
    """One table or dictionary, in one event loop, with some threads."""

    def __init__(
        self,
        described: Described,
        settings: ClickHouseSettings,
        environ: Mapping[str, str],
        open_store: Callable[[float], StoreClient],
        timeout_s: float,
    ) -> None:
        """`environ`: where the DSN is. `open_store`: our own store, for a question of so many seconds at most. Nothing
        is connected to. Raises Wrong."""
        self._described = described
        self._settings = settings
        self._types = {field.name: field.type for field in described.fields}
        self._columns = {name: settings.map.get(name, name) for name in self._types}
        self._timeout_s = timeout_s
        self._open = _find_server(settings, environ) if settings.dsn_env else open_store
        self._threads = BlockingThreads(f"clickhouse-{described.name}", settings.connections)
        self._own = threading.local()
        self._clients: list[StoreClient] = []
        self._plan: _Plan | None = None
        self._may_set = True

    def describe(self) -> Described:
        return self._described

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the row with this key, or None. Raises AdapterError: `bad_answer` where several rows
        have it."""
        names = sorted(fields & self._types.keys())
        return await self._threads.run(lambda: self._guard(lambda client: self._find(client, key, names)))

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return the records whose fields begin with the terms, `limit` and MAX_FOUND at most. Raises AdapterError:
        `not_supported` for other fields than `search` names, and for no term."""
        terms = {name: term.strip() for name, term in terms.items() if term.strip()}
        if not terms or terms.keys() - set(self._settings.search):
            known = ", ".join(self._settings.search) or "nothing"
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"it is searched by: {known}")
        if not all(_is_text(term) for term in terms.values()):
            return []
        most = max(1, min(limit, MAX_FOUND))
        return await self._threads.run(lambda: self._guard(lambda client: self._search(client, terms, most)))

    async def scan(self) -> AsyncIterator[list[Record]]:
        """Yield all records in batches of BATCH_ROWS, as the server sends them. Raises AdapterError."""
        threads = BlockingThreads(f"scan-{self._described.name}", 1)
        with self._open(SCAN_S) as client:
            batches = self._read_batches(client)
            try:
                while batch := await threads.run(lambda: next(batches, [])):
                    yield batch
            finally:
                with contextlib.suppress(AdapterError):
                    await threads.run(batches.close)  # type: ignore[attr-defined]
                threads.close()

    async def close(self) -> None:
        """Close all connections."""
        self._threads.close()
        for client in self._clients:
            client.close()

    def _guard(self, work: Callable[[StoreClient], Any]) -> Any:
        """Carry out with this thread's connection. Raises AdapterError."""
        client: StoreClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = self._open(self._timeout_s)
            self._clients.append(client)
        with self._errors():
            return work(client)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except AdapterError as error:
            self._forget(error.reason)
            raise
        except StoreError as error:
            said = _explain(error)
            self._forget(said.reason)
            raise said from None
        except (msgspec.DecodeError, UnicodeError):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer cannot be read") from None

    def _forget(self, reason: AdapterReason) -> None:
        if reason is AdapterReason.CONFIG:
            self._plan = None  # the server may be changed to fit, and is looked at again

    def _find(self, client: StoreClient, key: str, names: list[str]) -> Record | None:
        plan = self._make_plan(client)
        if not _can_be_key(key, plan.key_type):
            return None
        parts = ["1", *(plan.parts[name] for name in names)]
        sql = f"SELECT {', '.join(parts)} FROM {plan.source} WHERE {plan.key} = {{key:{plan.key_type}}} LIMIT 2"  # noqa: S608
        if self._settings.dictionary:
            asked = f"{{key:{plan.key_type}}}"
            parts[0] = f"dictHas({plan.key}, {asked})"
            sql = f"SELECT {', '.join(part.replace(ASKED, asked) for part in parts)}"
        rows = [row for row in self._ask(client, sql, {"key": key}) if row[0]]
        if len(rows) > 1:
            message = "several rows have this key: choose a column that is unique, or set `final`"
            raise AdapterError(AdapterReason.BAD_ANSWER, message)
        return fit_record(key, self._types, zip(names, rows[0][1:], strict=True)) if rows else None

    def _search(self, client: StoreClient, terms: Mapping[str, str], most: int) -> list[Record]:
        plan = self._make_plan(client)
        params, conditions = {}, []
        for number, (name, term) in enumerate(terms.items()):
            params[f"term{number}"] = term
            value = f"lowerUTF8(toString({plan.parts[name]}))"
            conditions.append(f"startsWith({value}, lowerUTF8({{term{number}:String}}))")
        sql = f"SELECT {self._list_all(plan)} FROM {plan.source} WHERE {' AND '.join(conditions)}"  # noqa: S608
        return self._make_records(self._ask(client, f"{sql} ORDER BY {plan.key} LIMIT {most}", params))

    def _read_batches(self, client: StoreClient) -> Iterator[list[Record]]:
        """Yield all records, in one thread."""
        with self._errors():
            # A dictionary is a table as well, where it is read as a whole.
            plan = self._reflect_table(client, self._find_name(client))
            with client.stream(f"SELECT {self._list_all(plan)} FROM {plan.source}", form=FORM) as stream:  # noqa: S608
                rows: list[Any] = []
                for line in _split_lines(stream):
                    rows.append(_read_row(line))
                    if len(rows) == BATCH_ROWS:
                        yield self._make_records(rows)
                        rows = []
                if rows:
                    yield self._make_records(rows)

    def _list_all(self, plan: _Plan) -> str:
        return ", ".join([f"toString({plan.key})", *(plan.parts[name] for name in self._types)])

    def _make_records(self, rows: Iterable[list[Any]]) -> list[Record]:
        fit = make_fitter((name, kind, place) for place, (name, kind) in enumerate(self._types.items(), 1))
        return [fit(row[0], row) for row in rows if row[0]]

    def _ask(self, client: StoreClient, sql: str, params: Mapping[str, Any]) -> list[list[Any]]:
        settings = {"max_execution_time": math.ceil(self._timeout_s)} if self._may_set else {}
        try:
            with client.stream(sql, params, FORM, settings) as stream:
                return [_read_row(line) for line in b"".join(stream).splitlines() if line]
        except StoreError as error:
            if error.code not in NO_SETTINGS or not self._may_set:
                raise
        self._may_set = False  # the connection's own timeout has to do
        return self._ask(client, sql, params)

    def _make_plan(self, client: StoreClient) -> _Plan:
        """Return the names as the server has them, asked for once. Raises AdapterError `config`."""
        if self._plan is None:
            reflect = self._reflect_dictionary if self._settings.dictionary else self._reflect_table
            self._plan = reflect(client, self._find_name(client))
        return self._plan

    def _find_name(self, client: StoreClient) -> dict[str, str]:
        database, _, name = (self._settings.dictionary or self._settings.table).rpartition(".")
        return {"database": database or client.database, "name": name}

    def _reflect_table(self, client: StoreClient, params: Mapping[str, str]) -> _Plan:
        sql = "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {name:String}"
        types = {row["name"]: row["type"] for row in client.query_rows(sql, params)}
        if not types:
            message = f"there is no table or view {'.'.join(params.values())} that this user may read: correct `table`"
            raise AdapterError(AdapterReason.CONFIG, message)
        self._check_names([self._settings.key, *self._columns.values()], types)
        source = f"{_quote(params['database'])}.{_quote(params['name'])}{' FINAL' if self._settings.final else ''}"
        key = self._settings.key
        parts = {name: _show(_quote(column), types[column]) for name, column in self._columns.items()}
        return _Plan(source, _quote(key), _find_key_type(types[key], key), parts)

    def _reflect_dictionary(self, client: StoreClient, params: Mapping[str, str]) -> _Plan:
        sql = (
            "SELECT `key.names` AS key_names, `key.types` AS key_types, `attribute.names` AS names,"
            " `attribute.types` AS types FROM system.dictionaries"
            " WHERE database = {database:String} AND name = {name:String}"
        )
        whole = ".".join(params.values())
        found = client.query_rows(sql, params)
        if not found:
            message = f"there is no dictionary {whole} that this user may read: correct `dictionary`"
            raise AdapterError(AdapterReason.CONFIG, message)
        row = found[0]
        if len(row["key_names"]) != 1:
            raise AdapterError(AdapterReason.CONFIG, f"the dictionary {whole} has a key of several columns")
        self._check_names([self._settings.key], row["key_names"])
        types = dict(zip(row["names"], row["types"], strict=True))
        self._check_names(self._columns.values(), types)
        text = quote_text(whole)
        parts = {
            name: _show(f"dictGetOrNull({text}, {quote_text(column)}, {ASKED})", types[column])
            for name, column in self._columns.items()
        }
        return _Plan(whole, text, _find_key_type(row["key_types"][0], self._settings.key), parts)

    def _check_names(self, wanted: Iterable[str], there: Iterable[str]) -> None:
        known = list(there)
        for name in wanted:
            if name not in known:
                message = f"there is no column {name}: correct `key` or `map`; there is {', '.join(known[:MAX_NAMES])}"
                raise AdapterError(AdapterReason.CONFIG, message)


ASKED = "\0key"
"""Stands for the key in the parts of a dictionary's plan."""


def _find_server(settings: ClickHouseSettings, environ: Mapping[str, str]) -> Callable[[float], StoreClient]:
    try:
        address = read_dsn(read_secret("dsn_env", settings.dsn_env, environ), "default")
    except ConfigError:
        reason = f"{settings.dsn_env} holds no address; it looks like https://user:password@host:8443/database"
        raise Wrong("dsn_env", reason) from None
    return lambda timeout_s: StoreClient(address, timeout_s=timeout_s + 1)


def _quote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _strip(kind: str) -> str:
    """Return a type without what only says how it is stored."""
    for wrapping in ("LowCardinality(", "Nullable("):
        if kind.startswith(wrapping):
            return _strip(kind[len(wrapping) : -1])
    return kind


def _show(part: str, kind: str) -> str:
    """Return a value as it is asked for: a point in time in UTC, whatever the server's time zone is."""
    return f"toTimeZone({part}, 'UTC')" if _strip(kind).startswith("DateTime") else part


def _find_key_type(kind: str, column: str) -> str:
    plain = _strip(kind)
    if plain in ("String", "UUID") or plain in INTEGERS:
        return plain
    message = f"the column {column} cannot be a key: it must hold text, whole numbers or UUIDs"
    raise AdapterError(AdapterReason.CONFIG, message)


def _can_be_key(key: str, kind: str) -> bool:
    """Whether a column of this type can hold the key, spelled just so."""
    if not _is_text(key):
        return False
    if kind == "UUID":
        parts = key.split("-")
        is_hex = all(character in "0123456789abcdef-" for character in key)
        return is_hex and [len(part) for part in parts] == [8, 4, 4, 4, 12]
    if kind in INTEGERS:
        if not key.isascii() or len(key) > 80 or not key.removeprefix("-").isdigit() or str(int(key)) != key:
            return False
        bits, number = INTEGERS[kind], int(key)
        low, high = (0, 2**bits) if kind.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        return bool(low <= number < high)
    return True


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _split_lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line)
    if rest:
        yield rest


def _read_row(line: bytes) -> list[Any]:
    row: list[Any] = msgspec.json.decode(line.decode(errors="replace"), type=list)
    return row


def _explain(error: StoreError) -> AdapterError:
    """Return what went wrong by ClickHouse's code: its words quote statements, and values in them."""
    reason = _REASONS.get(error.code, AdapterReason.BAD_ANSWER)
    if isinstance(error, StoreUnavailable) and error.code not in _REASONS:
        reason = AdapterReason.TIMEOUT if "imeout" in str(error) else AdapterReason.UNREACHABLE
    code = f" (code {error.code})" if error.code else ""
    return AdapterError(reason, f"ClickHouse gives no answer{code}: {_HINTS[reason]}")
