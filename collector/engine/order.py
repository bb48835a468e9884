"""One statement with all that belongs to it, and its way through the engine, in one worker thread.

`Order.run` takes a handle, applies settings in the order base, role, session, request, asks `admission` for everyone
but the writer, and runs the statement. The result goes into the pipe; the order closes the pipe's writing end when
it is done, so the end of the pipe is the end of the statement.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from collector.engine import admission
from collector.engine.body import Body
from collector.engine.credentials import Role
from collector.engine.errors import LOGICAL_ERROR, SYNTAX_ERROR, QueryFailed
from collector.engine.handles import Chdb, Handle, Outcome, Progress
from collector.engine.lexer import InsertHead, cut_insert, cut_statement, read_settings, tokens
from collector.engine.native import greeting, is_greeting
from collector.engine.sessions import Session

_log = structlog.get_logger("engine")

# An INSERT's head is looked for in this much of the body; rows follow.
_HEAD_BYTES = 256 * 1024
_STREAMED = ("SELECT", "WITH", "FROM", "(")


@dataclass(slots=True)
class Order:
    """What a client asks for. `pipe` is the writing end; the order owns it from the start."""

    role: Role
    query: str
    body: Body
    pipe: int
    mark: str
    default_format: str = "TabSeparated"
    database: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    role_settings: Mapping[str, str] = field(default_factory=dict)
    session: Session | None = None
    max_statement_bytes: int = 1024 * 1024
    client_protocol: int = 0
    on_format: Callable[[str], None] = lambda _: None
    on_progress: Progress | None = None
    _handle: Handle | None = None
    _handle_lock: threading.Lock = field(default_factory=threading.Lock)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Make every further step of this order fail; what runs already is stopped by `Chdb.kill`."""
        self._cancelled.set()
        with self._handle_lock:
            if self._handle is not None:
                self._handle.cancelled.set()

    def run(self, engine: Chdb, rules: admission.Admission) -> Outcome:
        """Do it. Raises `QueryFailed`, also for a mistake of ours, which is logged without any of the statement."""
        try:
            if self.role is Role.WRITER:
                return self._run_as_writer(engine)
            return self._run_admitted(engine, rules)
        except QueryFailed:
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "a statement met a mistake in the engine",
                error=type(error).__name__,
                line=where.lineno,
                module=where.name,
            )
            raise QueryFailed(LOGICAL_ERROR, f"Mistake in the engine: {type(error).__name__}.") from None
        finally:
            os.close(self.pipe)
            self.body.close()

    # -- writer ----------------------------------------------------------------------------------------------------

    def _run_as_writer(self, engine: Chdb) -> Outcome:
        session = self.session
        if session is None:
            return self._run_alone(engine)
        handle = session.handle = session.handle or engine.open()
        self._take(handle)
        insert, statement, format_name, settings = self._read()
        given = {**self.role_settings, **self.settings, **settings, "log_comment": self._mark()}
        if self.database:
            handle.use(self.database)
        handle.set(given)
        try:
            return self._execute(handle, insert, statement, format_name)
        finally:
            self._restore(handle, session, given, statement)

    def _run_alone(self, engine: Chdb) -> Outcome:
        """Run a writer's statement without a session. A handle that has answered a question goes to the next one that
        comes with the same settings: making it ready costs as much as many a question."""
        insert, statement, format_name, settings = self._read()
        given = {**self.role_settings, **self.settings, **settings}
        prepared = (self.database or "", frozenset(given.items()))
        is_question = insert is None and _is_question(statement)
        handle = engine.lend(prepared) if is_question else None
        is_ready = handle is not None
        handle = handle or engine.open()
        self._take(handle)
        try:
            if is_ready:
                handle.set({"log_comment": self._mark()})
            else:
                if self.database:
                    handle.use(self.database)
                handle.set({**given, "log_comment": self._mark()})
            outcome = self._execute(handle, insert, statement, format_name)
            with self._handle_lock:
                self._handle = None  # from here on it may be another's
            if is_question and not handle.cancelled.is_set():
                engine.give_back(prepared, handle)
                handle = None
            return outcome
        finally:
            if handle is not None:
                handle.close()

    def _restore(self, handle: Handle, session: Session, given: Mapping[str, str], statement: str) -> None:
        """Leave in the session what a `SET` statement changed, and nothing of what came with this request."""
        session.settings.update(_set_pairs(statement))
        handle.on_progress(None)
        try:
            handle.set({name: session.settings.get(name, "DEFAULT") for name in given})
        except QueryFailed:
            # Cancelled, or read-only from here on: the next request begins anew.
            session.handle = None
            handle.close()

    # -- reader and analyst ----------------------------------------------------------------------------------------

    def _run_admitted(self, engine: Chdb, rules: admission.Admission) -> Outcome:
        insert, statement, format_name, settings = self._read()
        database = self.database or (self.session.database if self.session else None)
        handle = engine.open()
        self._take(handle)
        try:
            kept = self.session.settings if self.session else {}
            wanted = admission.admit_settings({**kept, **self.settings, **settings}, self.role_settings)
            if database:
                handle.use(database)
            handle.set({**wanted, "log_comment": self._mark()})
            if insert is not None:
                statement = insert.sql
            verdict = rules.admit(
                handle, statement, self.role, database or "default", self.parameters, has_data=insert is not None
            )
            if verdict.settings is not None or verdict.database is not None:
                return self._remember(handle, verdict)
            if not verdict.writes:
                handle.set({"readonly": "1"})
            return self._execute(handle, insert, verdict.sql, format_name)
        finally:
            handle.close()

    def _remember(self, handle: Handle, verdict: admission.Verdict) -> Outcome:
        if verdict.settings:
            handle.set(admission.admit_settings(verdict.settings, self.role_settings))
        if self.session is not None:
            self.session.settings.update(verdict.settings or {})
            self.session.database = verdict.database or self.session.database
        return Outcome()

    # -- both ------------------------------------------------------------------------------------------------------

    def _take(self, handle: Handle) -> None:
        self._handle = handle
        if self._cancelled.is_set():
            handle.cancelled.set()

    def _mark(self) -> str:
        comment = self.settings.get("log_comment", "")
        return f"{self.mark} {comment}" if comment else self.mark

    def _read(self) -> tuple[InsertHead | None, str, str | None, dict[str, str]]:
        """Read the statement: (head of an INSERT with data, statement, its FORMAT, its SETTINGS)."""
        start = self.query.encode()
        if start and not start.endswith(b"\n"):
            start += b"\n"
        start += self.body.read(_HEAD_BYTES)
        # One character per byte: what follows the head of an INSERT need not be text.
        insert = cut_insert(start.decode("latin-1"))
        if insert is not None:
            self._rest = start[insert.data_at :]
            head = InsertHead(_text(insert.sql), _text(insert.format), insert.settings, insert.data_at)
            return head, head.sql, head.format, dict(insert.settings)
        start += self.body.read(max(0, self.max_statement_bytes + 1 - len(start)))
        if len(start) > self.max_statement_bytes:
            raise QueryFailed(
                SYNTAX_ERROR, f"The statement is longer than {self.max_statement_bytes} bytes: make it shorter."
            )
        cut = cut_statement(start.decode("utf-8", "strict") if _is_text(start) else _refuse_bytes())
        return None, cut.sql, cut.format, cut.settings

    def _execute(self, handle: Handle, insert: InsertHead | None, statement: str, asked: str | None) -> Outcome:
        format_name = asked or self.default_format
        self.on_format(format_name)
        if self.on_progress is not None:
            handle.on_progress(self.on_progress)
        if insert is not None:
            return handle.insert(insert.sql, insert.format, self._data(insert.format))
        first = next(tokens(statement), None)
        if first is None:
            raise QueryFailed(SYNTAX_ERROR, "Syntax error: Empty query.")
        if self.client_protocol and format_name == "Native" and is_greeting(statement):
            version, time_zone = handle.rows("SELECT version(), timezone()")[0]
            _write_all(self.pipe, greeting(version, time_zone))
            return Outcome(result_rows=1)
        if _is_question(statement):
            return handle.run_into(self.pipe, statement, format_name, self.parameters)
        outcome = handle.run(statement, format_name, self.parameters)
        _write_all(self.pipe, outcome.body)
        return outcome

    _rest: bytes = b""

    def _data(self, format_name: str) -> Iterator[bytes]:
        rest = self._rest
        if format_name == "Values":
            # A statement may end with a semicolon, rows may not.
            more = b"".join(self.body.chunks())
            yield (rest + more).rstrip(b"; \t\r\n")
            return
        if rest:
            yield rest
        yield from self.body.chunks()


def _is_question(statement: str) -> bool:
    first = next(tokens(statement), None)
    return first is not None and first.text.upper() in _STREAMED


def _text(latin: str) -> str:
    return latin.encode("latin-1").decode("utf-8", "replace")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_bytes() -> str:
    raise QueryFailed(SYNTAX_ERROR, "Syntax error: the statement is not valid UTF-8.")


def _set_pairs(statement: str) -> dict[str, str]:
    """Return the settings of a `SET a = 1, …` statement; nothing for any other."""
    found = list(tokens(statement))
    if found and found[0].is_word("SET"):
        return read_settings(found[1:]) or {}
    return {}


def _write_all(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(pipe, view) :]
    except BrokenPipeError:
        return
