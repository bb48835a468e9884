"""Adapter for SQL: a record is a row of a table or view, or of a query that the configuration gives.

Values come into statements as bound parameters alone. Names of tables and columns are held against what the database
says it has, and quoted. What is found is held against the key that was asked for: a database that takes `ada` and
`ADA` for the same, or 47 and `47abc`, does not get to say who somebody is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from collector.adapters.blocking import BlockingThreads
from collector.adapters.configuration import SqlSettings
from collector.adapters.contract import Described, Record, Wrong
from collector.adapters.plain_values import read_key, read_value
from collector.adapters.sql_connection import break_off, explain, limit_statement, make_engine, read_database
from collector.adapters.values import fit_record, make_fitter
from collector.errors import AdapterError, AdapterReason

if TYPE_CHECKING:
    import sqlalchemy as sa

Result = TypeVar("Result")
BATCH_ROWS = 10_000
CHUNK_ROWS = 1_000
"""As many rows become records while they are in the processor's cache."""
SCAN_S = 3_600.0
"""The longest that a scan may be without an answer."""
GRACE_S = 1.0
"""How much longer than the database's own timeout a statement may hang before its connection is cut."""
MAX_FOUND = 100
MOST_ALIKE = 10
"""Rows that a database may take for the same key; one of them is the one."""
MAX_NAMES = 60
INTEGERS = 2**63

_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)


class _Plan(NamedTuple):
    """What is asked, with names that the database has. `columns`: by name; empty for a query, whose answer tells."""

    source: Any
    columns: Mapping[str, Any]
    key_type: str


class SqlAdapter:
    """One table or query, in one event loop, with some threads."""

    def __init__(
        self, described: Described, settings: SqlSettings, folder: Path, environ: Mapping[str, str], timeout_s: float
    ) -> None:
        """`folder`: where relative paths begin. `environ`: where secrets are. `timeout_s`: the longest that a statement
        may take. Nothing is connected to. Raises Wrong."""
        self._described = described
        self._settings = settings
        self._types = {field.name: field.type for field in described.fields}
        self._columns = {name: settings.map.get(name, name) for name in self._types}
        self._timeout_s = timeout_s
        self._database = read_database(settings, folder, environ)
        self._engine = make_engine(self._database, settings.connections, timeout_s)
        self._query = _read_query("query", settings.query, {"key"}) if settings.query else None
        self._scan_query = _read_query("scan_query", settings.scan_query, set()) if settings.scan_query else None
        self._threads = BlockingThreads(f"sql-{described.name}", settings.connections)
        self._plan: _Plan | None = None
        self._planning = threading.Lock()

    def describe(self) -> Described:
        return self._described

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the row with this key, or None. Raises AdapterError: `bad_answer` where several rows
        have it."""
        names = sorted(fields & self._types.keys())
        return await self._run(lambda connection: self._find(connection, key, names))

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return the records whose fields begin with the terms, `limit` and MAX_FOUND at most. Raises AdapterError:
        `not_supported` for other fields than `search` names, and for no term."""
        terms = {name: term.strip() for name, term in terms.items() if term.strip()}
        if not terms or terms.keys() - set(self._settings.search):
            known = ", ".join(self._settings.search) or "nothing"
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"it is searched by: {known}")
        if not all(_can_be_text(term) for term in terms.values()):
            return []
        most = max(1, min(limit, MAX_FOUND))
        return await self._run(lambda connection: self._search(connection, terms, most))

    async def scan(self) -> AsyncIterator[list[Record]]:
        """Yield all records in batches of BATCH_ROWS, as the database gives them: by a cursor that it holds. Raises
        AdapterError: `not_supported` for a query without `scan_query`."""
        if self._query is not None and self._scan_query is None:
            raise AdapterError(
                AdapterReason.NOT_SUPPORTED, "a query is scanned by `scan_query`, which is not configured"
            )
        engine = make_engine(self._database, 1, SCAN_S, is_scan=True)
        threads = BlockingThreads(f"scan-{self._described.name}", 1)
        held = _Held()
        batches = self._read_batches(engine, held)
        try:
            while batch := await threads.run(lambda: next(batches, []), held.break_off):
                yield batch
        finally:
            with contextlib.suppress(AdapterError, asyncio.CancelledError):
                await threads.run(batches.close)
            threads.close()
            engine.dispose()

    async def close(self) -> None:
        """Close all connections; one that is at work is closed when it ends."""
        self._threads.close()
        self._engine.dispose()

    async def _run(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Carry out with a connection, in a thread. Given up, it is cut off where the database does not end it."""
        held = _Held()

        def give_up() -> None:
            timer = threading.Timer(GRACE_S, held.break_off)
            timer.daemon = True
            timer.start()

        return await self._threads.run(lambda: self._connect(held, work), give_up)

    def _connect(self, held: _Held, work: Callable[[sa.Connection], Result]) -> Result:
        try:
            with self._engine.connect() as connection:
                driver = connection.connection.driver_connection
                limit_statement(driver, self._timeout_s)
                with held.hold(driver):
                    return work(connection)
        except Exception as error:
            said = error if isinstance(error, AdapterError) else explain(error, self._database.dialect)
            if said.reason is AdapterReason.CONFIG:
                self._plan = None  # the database may be changed to fit, and is looked at again
            raise said from None

    def _find(self, connection: sa.Connection, key: str, names: Sequence[str]) -> Record | None:
        import sqlalchemy as sa

        plan = self._make_plan(connection)
        value = _bind_key(key, plan.key_type)
        if value is None:
            return None
        if self._query is not None:
            rows = connection.execute(self._query, {"key": value}).mappings().fetchmany(MOST_ALIKE)
        else:
            column = plan.columns[self._settings.key]
            is_folded = self._settings.ignore_case and self._database.dialect != "mysql"  # whose collation says so
            condition = sa.func.lower(column) == value.lower() if is_folded else column == _literal(value)
            statement = self._select(plan, names).where(condition).limit(MOST_ALIKE)
            rows = connection.execute(statement).mappings().all()
        matching = [row for row in self._check(rows) if self._is_same(read_key(row[self._settings.key]), key)]
        if len(matching) > 1:
            message = "several rows have this key: choose a column that is unique"
            raise AdapterError(AdapterReason.BAD_ANSWER, message)
        return self._make_record(key, matching[0], names) if matching else None

    def _search(self, connection: sa.Connection, terms: Mapping[str, str], most: int) -> list[Record]:
        import sqlalchemy as sa

        plan = self._make_plan(connection)
        columns, source = plan.columns, plan.source
        if self._scan_query is not None:
            named = sa.text(self._settings.scan_query.strip().rstrip(";"))
            inner = named.columns(*(sa.column(name) for name in self._list_columns(self._types))).subquery("records")
            columns, source = dict(inner.columns), inner
        conditions = []
        for name, term in terms.items():
            column = columns[self._columns[name]]
            text = column if isinstance(column.type, sa.String) else sa.cast(column, sa.String(255))
            begins = text.startswith if self._database.dialect == "mysql" else text.istartswith
            conditions.append(begins(term, autoescape=True))
        wanted = [columns[name] for name in self._list_columns(self._types)]
        statement = sa.select(*wanted).select_from(source).where(*conditions)
        result = connection.execute(statement.order_by(columns[self._settings.key]).limit(most))
        return self._plan_records(result.keys())(result.all())

    def _read_batches(self, engine: sa.Engine, held: _Held) -> Generator[list[Record]]:
        """Yield all records, in one thread; its connection ends with it. Raises AdapterError."""
        try:
            with engine.connect() as connection, held.hold(connection.connection.driver_connection):
                try:
                    statement = self._scan_query
                    if statement is None:
                        statement = self._select(self._make_plan(connection), self._types)
                    streamed = connection.execution_options(stream_results=True, yield_per=BATCH_ROWS)
                    with streamed.execute(statement) as result:
                        make = self._plan_records(result.keys())
                        batch: list[Record] = []
                        for rows in result.partitions(CHUNK_ROWS):
                            batch += make(rows)
                            if len(batch) >= BATCH_ROWS:
                                yield batch
                                batch = []
                        if batch:
                            yield batch
                except GeneratorExit:
                    connection.invalidate()
                    raise
        except AdapterError:
            raise
        except Exception as error:
            raise explain(error, self._database.dialect) from None

    def _make_plan(self, connection: sa.Connection) -> _Plan:
        """Return the names as the database has them, asked for once. Raises AdapterError `config`."""
        with self._planning:
            if self._plan is None:
                self._plan = self._reflect(connection)
            return self._plan

    def _reflect(self, connection: sa.Connection) -> _Plan:
        import sqlalchemy as sa
        from sqlalchemy.exc import NoSuchTableError
        from sqlalchemy.sql import quoted_name

        if self._query is not None:
            return _Plan(self._query, {}, self._settings.key_type or "text")
        schema, _, name = self._settings.table.rpartition(".")
        try:
            said = sa.inspect(connection).get_columns(name, schema=schema or None)
        except NoSuchTableError:
            said = []
        if not said:
            message = f"there is no table or view {self._settings.table} that this user may read: correct `table`"
            raise AdapterError(AdapterReason.CONFIG, message)
        types = {str(item["name"]): item["type"] for item in said}
        self._check_names(types, f"the table {self._settings.table}")
        columns = [sa.column(quoted_name(column, quote=True), _find_type(kind)) for column, kind in types.items()]
        table = sa.table(
            quoted_name(name, quote=True), *columns, schema=quoted_name(schema, quote=True) if schema else None
        )
        by_name = {str(column.name): column for column in table.columns}
        return _Plan(table, by_name, _find_key_type(types[self._settings.key], self._settings.key))

    def _select(self, plan: _Plan, names: Iterable[str]) -> Any:
        import sqlalchemy as sa

        return sa.select(*(plan.columns[column] for column in self._list_columns(names))).select_from(plan.source)

    def _list_columns(self, names: Iterable[str]) -> list[str]:
        """Return the columns of these fields and of the key, each once."""
        return list(dict.fromkeys([self._settings.key, *(self._columns[name] for name in names)]))

    def _check_names(self, there: Iterable[str], what: str) -> None:
        known = list(there)
        for column in self._list_columns(self._types):
            if column not in known:
                message = (
                    f"{what} has no column {column}: correct `key` or `map`; it has {', '.join(known[:MAX_NAMES])}"
                )
                raise AdapterError(AdapterReason.CONFIG, message)

    def _check(self, rows: Sequence[Any]) -> Sequence[Any]:
        if rows and self._query is not None:
            self._check_names([str(name) for name in rows[0]], "the answer of the query")
        return rows

    def _is_same(self, found: str, key: str) -> bool:
        if self._settings.ignore_case:
            return found.casefold() == key.casefold()
        return found == key

    def _plan_records(self, columns: Iterable[str]) -> Callable[[Iterable[Sequence[Any]]], list[Record]]:
        """Return what makes records of many rows of one answer, with these columns. Raises AdapterError `config`."""
        places = {str(name): place for place, name in enumerate(columns)}
        self._check_names(places, "the answer of the query")
        key_place = places[self._settings.key]
        fields = [(kind, places[self._columns[name]]) for name, kind in self._types.items()]
        fit = make_fitter((name, kind, place) for place, (name, kind) in enumerate(self._types.items()))
        is_text_json = self._database.dialect != "postgresql"

        def make(rows: Iterable[Sequence[Any]]) -> list[Record]:
            records = []
            for row in rows:
                if key := read_key(row[key_place]):
                    values = [read_value(row[place], kind, is_text_json=is_text_json) for kind, place in fields]
                    records.append(fit(key, values))
            return records

        return make

    def _make_record(self, key: str, row: Any, names: Iterable[str]) -> Record:
        read = partial(read_value, is_text_json=self._database.dialect != "postgresql")
        return fit_record(
            key, self._types, ((name, read(row[self._columns[name]], self._types[name])) for name in names)
        )


class _Held:
    """Which connection a piece of work has just now, so that another thread may break it off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._driver: Any = None

    @contextlib.contextmanager
    def hold(self, driver: Any) -> Iterator[None]:
        """Have it, until the end."""
        with self._lock:
            self._driver = driver
        try:
            yield
        finally:
            with self._lock:
                self._driver = None

    def break_off(self) -> None:
        """End what it does, if it is at work still."""
        with self._lock:
            if self._driver is not None:
                break_off(self._driver)


def _read_query(setting: str, text: str, places: set[str]) -> sa.TextClause:
    """Return a statement of the configuration. Raises Wrong for what is no SELECT, and for other places."""
    import sqlalchemy as sa

    if not _SELECT.match(text):
        raise Wrong(setting, "it must be one SELECT")
    statement = sa.text(text.strip().rstrip(";"))
    if set(statement.compile().params) != places:
        raise Wrong(setting, "it must have the place :key, and no other" if places else "it must have no place")
    return statement


def _find_type(kind: Any) -> Any:
    """Return what is said of a column's type: no more than that it is text. For others SQLAlchemy would make objects of
    its values, and fail with the row where one of them is not as the type has it."""
    import sqlalchemy as sa

    is_text = isinstance(kind, sa.String) and not isinstance(kind, sa.Enum)
    return sa.String() if is_text else sa.types.NullType()


def _find_key_type(kind: Any, column: str) -> str:
    """Return what a column's keys are compared as. Raises AdapterError `config` for what cannot be a key."""
    import sqlalchemy as sa

    if isinstance(kind, sa.Integer) or (isinstance(kind, sa.Numeric) and kind.scale == 0):
        return "integer"
    if isinstance(kind, sa.Uuid):
        return "uuid"
    if isinstance(kind, sa.String) or str(kind).upper() == "CITEXT":
        return "text"
    message = f"the column {column} cannot be a key: it must hold text, whole numbers or UUIDs"
    raise AdapterError(AdapterReason.CONFIG, message)


def _bind_key(key: str, key_type: str) -> Any:
    """Return the key as its column has it; None for what cannot stand there, so that no record can have it."""
    if not _can_be_text(key):
        return None
    if key_type == "integer":
        try:
            number = int(key) if key.isascii() and len(key) <= 20 else None
        except ValueError:
            return None
        is_plain = number is not None and str(number) == key and -INTEGERS <= number < INTEGERS
        return number if is_plain else None
    if key_type == "uuid":
        try:
            return uuid.UUID(key) if str(uuid.UUID(key)) == key.lower() else None
        except ValueError:
            return None
    return key


def _literal(value: Any) -> Any:
    """Return a bound parameter. Whole numbers are 64 bits wide, whatever the column is."""
    import sqlalchemy as sa

    kind: Any = {int: sa.BigInteger, uuid.UUID: sa.Uuid}.get(type(value), sa.String)
    return sa.bindparam("key", value, type_=kind())


def _can_be_text(value: str) -> bool:
    """Whether a database can hold it at all: no zero byte, no half of a surrogate."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
