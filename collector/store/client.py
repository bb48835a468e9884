"""One way to ask ClickHouse, for every role and every store: clickhouse-connect over HTTP, with our errors.

A client belongs to one thread. It connects at its first question, so that opening one costs nothing and a store
that is away shows where it is asked for. Parameters are bound by the server (`{site:String}`), never spliced.
No answer or an answer that leaves it open is StoreUnavailable; a refusal is StoreError with ClickHouse's code.
What an insert is refused for is told by code and name only: ClickHouse quotes the data, and data is not for logs.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from collector.config import Config
from collector.errors import StoreError, StoreUnavailable
from collector.keyring import Keyring
from collector.store.dsn import Address, Role, find_address

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

CHUNK_BYTES = 65_536
COLUMN_CHUNK_BYTES = 1_048_576
FIELD_BYTES = 98_304
"""Of one parameter that comes in a form: a server takes 128 KiB a field."""
ARROW_SETTINGS: Mapping[str, Any] = {"output_format_arrow_low_cardinality_as_dictionary": 1}
EXCEPTION_BYTES = 32_768  # ClickHouse puts at most 16 KiB of an error behind the answer

# ClickHouse's codes after which the same statement may succeed, or may already have been carried out.
UNSETTLED_CODES = frozenset(
    {
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        242,  # TABLE_IS_READ_ONLY: a replica without its keeper
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        999,  # KEEPER_EXCEPTION
    }
)
UNSETTLED_INSERT_CODES = UNSETTLED_CODES | {
    159,  # TIMEOUT_EXCEEDED: some views may have been filled already
    241,  # MEMORY_LIMIT_EXCEEDED: the same
    394,  # QUERY_WAS_CANCELLED: the same
}


class Stream:
    """An answer on its way. `form` is the format that it really has. Iterate once, over pieces of bytes.

    ClickHouse answers 200 before it knows the end; an error that comes later stands at the end of the body, behind
    a tag that the header names. So the last bytes are held back until the end is seen.
    """

    def __init__(
        self, source: Any, errors: Callable[[], AbstractContextManager[None]], chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._source = source
        self._errors = errors
        self._chunk_bytes = chunk_bytes
        headers = getattr(source, "headers", {})
        self.form: str = headers.get("X-ClickHouse-Format", "")
        tag = headers.get("X-ClickHouse-Exception-Tag", "")
        self._mark = f"__exception__\r\n{tag}\r\n".encode() if tag else b""
        self._tail = re.compile(rf"\s*\d+ {re.escape(tag)}\s*__exception__\s*$")

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        while True:
            with self._errors():
                piece = self._source.read(self._chunk_bytes)
            if not piece:
                break
            held += piece
            if len(held) > EXCEPTION_BYTES:
                yield held[:-EXCEPTION_BYTES]
                held = held[-EXCEPTION_BYTES:]
        text, mark, late = held.rpartition(self._mark) if self._mark else (b"", b"", held)
        if mark:
            if text.removesuffix(b"\r\n"):
                yield text.removesuffix(b"\r\n")
            said = self._tail.sub("", late.decode(errors="replace"))
            code = re.match(r"Code: (\d+)", said)
            raise StoreError(f"ClickHouse broke off: {_shorten(said)}", int(code[1]) if code else 0)
        if late:
            yield late

    def close(self) -> None:
        """End it. Before its end: the server stops working on the question."""
        self._source.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Pieces(io.RawIOBase):
    """A stream as a file, for what reads files."""

    def __init__(self, stream: Stream) -> None:
        self._pieces = iter(stream)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(target), len(self._left))
        target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class StoreClient:
    """A connection to the store as one role, for one thread."""

    def __init__(self, address: Address, *, cluster: str = "", timeout_s: float = 120.0) -> None:
        self.address = address
        self.cluster = cluster
        self._timeout_s = timeout_s
        self._client: Client | None = None

    @property
    def database(self) -> str:
        """The database that unqualified names mean."""
        return self.address.database

    def query_rows(
        self, sql: str, params: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return all rows of a question as dictionaries by column. For answers that fit into memory."""
        with self._errors():
            result = self._connect().query(sql, parameters=dict(params or {}), settings=dict(settings or {}))
            return [dict(row) for row in result.named_results()]

    def command(
        self, sql: str, params: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> object:
        """Carry out one statement that has no rows to give, or one value: that value is returned."""
        with self._errors():
            return self._connect().command(sql, parameters=dict(params or {}), settings=dict(settings or {}))

    def insert_lines(self, table: str, data: bytes, settings: Mapping[str, Any] | None = None, token: str = "") -> None:
        """Insert JSON lines. `table` is one of our own names, never from outside.

        With a token the insert may be repeated with the same bytes: what is there already is not doubled.
        """
        values = dict(settings or {})
        if token:
            values["insert_deduplication_token"] = token
        with self._errors(insert=True):
            self._connect().raw_insert(table, insert_block=data, settings=values, fmt="JSONEachRow")

    def insert_native(
        self,
        table: str,
        columns: Sequence[str],
        data: bytes,
        settings: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> None:
        """Insert blocks of format Native, as `stream` gives them. Table and columns are our own names.

        With a token as `insert_lines`.
        """
        values = dict(settings or {})
        if token:
            values["insert_deduplication_token"] = token
        with self._errors(insert=True):
            self._connect().raw_insert(table, list(columns), insert_block=data, settings=values, fmt="Native")

    def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        form: str = "JSONEachRow",
        settings: Mapping[str, Any] | None = None,
        *,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Stream:
        """Ask, and return the answer in pieces as it comes. Close it; closing it early cancels the question.

        `form`: one of ClickHouse's formats, used where the statement names none itself.
        """
        with self._errors():
            source = self._connect().raw_stream(
                sql,
                parameters=dict(params or {}),
                settings=dict(settings or {}),
                transport_settings={"X-ClickHouse-Format": form},
            )
        return Stream(source, self._errors, chunk_bytes)

    def read_columns(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> pa.Table:
        """Return all rows of a question as an Arrow table: for many rows, none of which becomes an object.

        UUIDs are `binary(16)` in the order of their text, low-cardinality texts are dictionaries, the same for all
        chunks. Holds what it returns, and little more. `tell` hears how many rows came, block by block.
        """
        import pyarrow as pa

        values = {**ARROW_SETTINGS, **(settings or {})}
        with self.stream(sql, params, "ArrowStream", values, chunk_bytes=COLUMN_CHUNK_BYTES) as stream:
            file = pa.PythonFile(io.BufferedReader(_Pieces(stream), COLUMN_CHUNK_BYTES), mode="r")
            reader = pa.ipc.open_stream(file)
            batches = []
            for batch in reader:
                batches.append(batch)
                tell(batch.num_rows)
        table = pa.Table.from_batches(batches, reader.schema)
        columns = [
            pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
            if isinstance(column.type, pa.BaseExtensionType)
            else column
            for column in table.columns
        ]
        return pa.table(columns, names=table.column_names).unify_dictionaries()

    def insert_columns(self, table: str, rows: pa.Table, settings: Mapping[str, Any] | None = None) -> None:
        """Insert an Arrow table whose columns are named as those of `table`, one of our own names; UUIDs as
        `binary(16)`. Sent as one body: cut what is larger than some 200 MB."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        with self._errors(insert=True):
            self._connect().raw_insert(
                table,
                rows.column_names,
                insert_block=sink.getvalue().to_pybytes(),
                settings=dict(settings or {}),
                fmt="ArrowStream",
            )

    def close(self) -> None:
        """Give the connection back. The client may be used again and connects anew."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> StoreClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _connect(self) -> Client:
        if self._client is None:
            # Here, not at the head: the import takes a third of a second, and `tagstitch --help` must not wait.
            import clickhouse_connect
            from clickhouse_connect import common

            common.set_setting("send_os_user", False)
            # The server decides which settings a role may change. The driver's own guess refuses a reader all of them.
            common.set_setting("invalid_setting_action", "send")
            logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
            self._client = clickhouse_connect.get_client(
                interface=self.address.scheme,
                host=self.address.host,
                port=self.address.port,
                username=self.address.user,
                password=self.address.password,
                database=self.address.database,
                autogenerate_session_id=False,
                connect_timeout=5,
                send_receive_timeout=self._timeout_s,
                client_name="tagstitch",
                tz_mode="aware",  # a naive time would be taken for the machine's own
            )
        return self._client

    @contextmanager
    def _errors(self, *, insert: bool = False) -> Iterator[None]:
        """Turn clickhouse-connect's and the socket's exceptions into ours."""
        from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (ClickHouseError, HTTPError, OSError) as error:
            code = getattr(error, "code", None) or 0
            where = f"{self.address.host}:{self.address.port}"
            if code == 0 and (isinstance(error, OperationalError) or not isinstance(error, ClickHouseError)):
                raise StoreUnavailable(
                    f"ClickHouse at {where} does not answer ({_name_cause(error)}): is it running?"
                ) from None
            if code in (UNSETTLED_INSERT_CODES if insert else UNSETTLED_CODES):
                raise StoreUnavailable(f"ClickHouse at {where} cannot now: {_explain(error, insert)}", code) from None
            raise StoreError(f"ClickHouse refused: {_explain(error, insert)}", code) from None


def open_client(config: Config, keyring: Keyring, role: Role, *, database: str | None = None) -> StoreClient:
    """Return a client for this role; it connects at its first question. One per thread."""
    address = find_address(config, keyring, role)
    if database is not None:
        address = Address(address.scheme, address.host, address.port, address.user, address.password, database)
    timeout_s = 120.0 if role == "writer" else config.query_timeout_s + 10.0
    return StoreClient(address, cluster=config.cluster, timeout_s=timeout_s)


def encode_rows(rows: Sequence[object]) -> bytes:
    """Return JSON lines of structs or dictionaries, as `insert_lines` takes them."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _explain(error: Exception, insert: bool) -> str:
    """Return ClickHouse's own words as one line; of an insert only code and name."""
    code, name = getattr(error, "code", 0), getattr(error, "name", None) or "error"
    if insert:
        return f"code {code}, {name}"
    text = _shorten(str(error))
    return text if f"({name})" in text or name == "error" else f"{text} ({name})"


def _shorten(text: str) -> str:
    """Return the words of an exception as one line, without what only ClickHouse's makers need."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ?\(for url [^()]*\)", "", text)
    text = re.sub(r" ?\(version [^()]*(\([^()]*\))?[^()]*\)", "", text)
    found = re.search(r"DB::Exception: (.*)", text)
    return (found[1] if found else text)[:600]


def _name_cause(error: BaseException) -> str:
    """Return the kind of the innermost exception: its text may hold an address with a password."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return type(error).__name__
