"""Sessions: what a client set in one request and relies on in the next, by `session_id`.

A writer's session keeps its handle, with temporary tables and all. A reader's or analyst's session is only a list
of settings and a database, applied to a fresh handle each time: their handles are thrown away after every statement.
A session serves one request at a time (373 for a second one) and ends after its timeout without use, or when there
are too many: the one that was idle for longest goes first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from collector.engine.errors import BAD_ARGUMENTS, SESSION_IS_LOCKED, SESSION_NOT_FOUND, QueryFailed
from collector.engine.handles import Handle

_MAX_ID_LENGTH = 200


@dataclass(slots=True)
class Session:
    """What is kept between the requests of one session. Only its holder touches it."""

    settings: dict[str, str] = field(default_factory=dict)
    database: str | None = None
    handle: Handle | None = None
    timeout_s: float = 60.0
    used_at: float = 0.0
    is_held: bool = False


class Sessions:
    """All sessions of this process, by user and id. `clock` gives seconds that never go back."""

    def __init__(self, limit: int, max_timeout_s: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._max_timeout_s = max_timeout_s
        self._clock = clock
        self._sessions: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    def take(self, user: str, session_id: str, timeout_s: float, must_exist: bool) -> Session:
        """Hold the session for one request; a new one is made unless it `must_exist`."""
        if len(session_id) > _MAX_ID_LENGTH:
            raise QueryFailed(BAD_ARGUMENTS, f"session_id is longer than {_MAX_ID_LENGTH} characters.")
        with self._lock:
            self._forget_old()
            session = self._sessions.get((user, session_id))
            if session is None:
                if must_exist:
                    raise QueryFailed(SESSION_NOT_FOUND, "Session not found.")
                self._make_room()
                session = self._sessions[user, session_id] = Session()
            if session.is_held:
                raise QueryFailed(SESSION_IS_LOCKED, "Session is locked by a concurrent client.")
            session.is_held = True
            session.timeout_s = min(timeout_s, self._max_timeout_s)
            return session

    def give_back(self, session: Session) -> None:
        """End the request's hold."""
        with self._lock:
            session.used_at = self._clock()
            session.is_held = False

    def close(self) -> None:
        """End all sessions."""
        with self._lock:
            for key in list(self._sessions):
                self._drop(key)

    def _make_room(self) -> None:
        idle = [(s.used_at, key) for key, s in self._sessions.items() if not s.is_held]
        if len(self._sessions) >= self._limit and not idle:
            raise QueryFailed(BAD_ARGUMENTS, f"All {self._limit} sessions are busy: use fewer, or none.")
        if len(self._sessions) >= self._limit:
            self._drop(min(idle)[1])

    def _drop(self, key: tuple[str, str]) -> None:
        session = self._sessions.pop(key)
        if session.handle is not None:
            session.handle.close()

    def _forget_old(self) -> None:
        now = self._clock()
        for key, session in list(self._sessions.items()):
            if not session.is_held and now - session.used_at > session.timeout_s:
                self._drop(key)
