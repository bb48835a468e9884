"""A source as those who need a person's fields see it: an adapter with cache, single flight, deadline and breaker.

It never raises for what the source does, and never takes longer than the deadline: what it does not know by then is
named in `unavailable`, with the reason. Values within their time to live come from the cache; those past it are asked
for anew, and given as they are, marked stale, where the source errs. The same field of the same key is asked for once,
however many want it. A request that is overtaken by the deadline goes on in the background and fills the cache.

One object for one adapter in one event loop; every process has its own cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from collector.adapters.bounds import SourceBounds
from collector.adapters.cache import Held, Look, RecordCache
from collector.adapters.contract import Adapter, Record
from collector.adapters.fetches import Call, Fetch, Fetches
from collector.errors import AdapterError, AdapterReason
from collector.metrics import count_adapter

MAX_KEY_CHARS = 1_024
CLOSE_S = 5.0


class FetchedValue(NamedTuple):
    """A value and since when it is known. It is shared with others who ask: nobody may change it."""

    value: Any
    fetched_at_ms: int
    is_stale: bool = False


class Fetched(NamedTuple):
    """What the source gave. A field that was asked for is in `values`, or in `unavailable` with the reason, or the
    source has none. `is_none`: it has no such record at all."""

    values: dict[str, FetchedValue]
    unavailable: dict[str, str]
    is_none: bool


class _Flight(NamedTuple):
    """A request for some fields of a key, and those who may join it."""

    names: frozenset[str]
    fetch: Fetch
    began_ms: int


class Source:
    """An adapter and its bounds."""

    def __init__(
        self,
        adapter: Adapter,
        bounds: SourceBounds | None = None,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`clock`: seconds that never go back. `now_ms`: milliseconds since 1970. The adapter is this object's own
        from here on, and closed with it. Raises what `describe` raises."""
        self.described = adapter.describe()
        self.bounds = bounds or SourceBounds()
        self._adapter = adapter
        self._clock = clock
        self._now_ms = now_ms
        ttl_by_field = {field.name: field.ttl_s for field in self.described.fields}
        self._names = frozenset(ttl_by_field)
        self._cache = RecordCache(
            ttl_by_field,
            self.bounds.none_ttl_s,
            self.bounds.stale_s,
            self.bounds.cache_entries,
            self.bounds.cache_bytes,
        )
        self._flights: dict[str, list[_Flight]] = {}
        self._fetches = Fetches(self.described.name, self.bounds, clock)
        self._waiters = 0

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker holds requests back."""
        return self._fetches.is_open

    @property
    def last_reason(self) -> AdapterReason | None:
        """Why the last request that ended had no answer; None where it had one."""
        return self._fetches.last_reason

    async def retrieve(self, key: str, fields: Iterable[str], deadline_s: float | None = None) -> Fetched:
        """Return the fields of the record of this key. `deadline_s`: how long to wait; None: as configured. Cancelling
        it cancels nothing that others may wait for."""
        wanted = frozenset(fields)
        names = wanted & self._names
        unavailable = {name: str(AdapterReason.NOT_SUPPORTED) for name in wanted - names}
        if not 0 < len(key) <= MAX_KEY_CHARS:
            return self._count(Fetched({}, unavailable, is_none=True), is_cached=True)
        look = self._cache.look(key, names, self._clock())
        missing = names - look.fresh.keys()
        if look.is_none or not missing:
            return self._count(_compose(names, look, [], None, unavailable), is_cached=True)
        flights, refusal = self._board(key, missing)
        await self._wait(flights, self.bounds.deadline_s if deadline_s is None else deadline_s)
        return self._count(_compose(names, look, flights, refusal, unavailable), is_cached=False)

    async def search(self, terms: Mapping[str, str], limit: int, deadline_s: float | None = None) -> list[Record]:
        """Return the records that fit, `limit` at most. Nothing of it is kept. `deadline_s`: how long to wait; None:
        as long as a request may take. Raises AdapterError."""
        if not self.described.can_search:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"adapter {self.described.name} cannot search")
        fetch = self._fetches.start(lambda _: self._search(terms, limit), is_search=True)
        if isinstance(fetch, AdapterReason):
            count_adapter(self.described.name, str(fetch))
            raise AdapterError(fetch, f"adapter {self.described.name} cannot be asked now: {fetch}")
        await asyncio.wait({fetch.done}, timeout=self.bounds.timeout_s if deadline_s is None else deadline_s)
        reason = fetch.reason if fetch.done.done() else AdapterReason.TIMEOUT
        count_adapter(self.described.name, str(reason or "searched"))
        if reason is not None:
            raise AdapterError(reason, f"adapter {self.described.name} did not answer: {reason}")
        found: list[Record] = fetch.answer
        return found

    def forget(self, key: str) -> None:
        """Drop what is known of a key: it was erased, or corrected. What is on its way was asked before, so it is not
        kept either, and who asks from now on does not get it."""
        self._cache.forget(key)
        self._flights.pop(key, None)

    def forget_all(self) -> None:
        """Drop everything that is known."""
        self._cache.clear()
        self._flights.clear()

    async def close(self) -> None:
        """End what runs and close the adapter, within some seconds, whatever it does."""
        await self._fetches.close()
        closing = asyncio.ensure_future(self._adapter.close())
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_S)
        if done and not closing.cancelled():
            closing.exception()  # it is gone either way
        else:
            closing.cancel()

    def _board(self, key: str, missing: frozenset[str]) -> tuple[list[_Flight], AdapterReason | None]:
        """Return the requests that will answer, begun before or now, and why there is none for the rest."""
        flights = [flight for flight in self._flights.get(key, ()) if flight.names & missing]
        rest = missing.difference(*(flight.names for flight in flights))
        if not rest:
            return flights, None
        fetch = self._fetches.start(self._make_call(key, rest))
        if isinstance(fetch, AdapterReason):
            return flights, fetch
        flight = _Flight(rest, fetch, self._now_ms())
        self._flights.setdefault(key, []).append(flight)
        fetch.done.add_done_callback(lambda _: self._land(key, flight))
        return [*flights, flight], None

    def _make_call(self, key: str, names: frozenset[str]) -> Call:
        def call(left_s: float) -> Awaitable[Record | None]:
            return self._retrieve(key, names, left_s)

        return call

    async def _retrieve(self, key: str, names: frozenset[str], left_s: float) -> Record | None:
        record = await self._adapter.retrieve(key, names, left_s)
        if record is None:
            return None
        if not isinstance(record, Record):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the adapter gave no record")
        values = {name: value for name, value in record.values.items() if name in names}
        return Record(key, values, record.unfit & names)

    async def _search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        return list(await self._adapter.search(terms, limit))[:limit]

    def _land(self, key: str, flight: _Flight) -> None:
        """Keep what a request brought, unless its key was forgotten on the way."""
        flights = self._flights.get(key, [])
        if flight not in flights:
            return
        flights.remove(flight)
        if not flights:
            del self._flights[key]
        if flight.fetch.reason is not None:
            return
        # As old as the question, not as the answer: it may have been long on its way.
        record, began_s = flight.fetch.answer, flight.fetch.began_s
        if record is None:
            self._cache.put_none(key, began_s)
        else:
            self._cache.put(key, flight.names - record.unfit, record.values, began_s, flight.began_ms)

    async def _wait(self, flights: list[_Flight], seconds: float) -> None:
        """Wait for the answers, where there is reason to hope for them and room to wait."""
        running = {flight.fetch.done for flight in flights if not flight.fetch.done.done()}
        if not running or seconds <= 0 or self._waiters >= self.bounds.max_waiters:
            return
        if self._fetches.is_late(seconds):
            return
        self._waiters += 1
        try:
            await asyncio.wait(running, timeout=seconds)
        finally:
            self._waiters -= 1

    def _count(self, fetched: Fetched, *, is_cached: bool) -> Fetched:
        if fetched.unavailable:
            outcome = next(iter(fetched.unavailable.values()))
        elif any(value.is_stale for value in fetched.values.values()):
            outcome = "stale"
        elif fetched.is_none:
            outcome = "none"
        else:
            outcome = "kept" if is_cached else "fetched"
        count_adapter(self.described.name, outcome)
        return fetched


def _compose(
    names: frozenset[str],
    look: Look,
    flights: list[_Flight],
    refusal: AdapterReason | None,
    unavailable: dict[str, str],
) -> Fetched:
    """Put an answer together, of what was kept and what has come."""
    landed = [flight for flight in flights if flight.fetch.done.done() and flight.fetch.reason is None]
    if look.is_none or any(flight.fetch.answer is None for flight in landed):
        return Fetched({}, unavailable, is_none=True)
    values = {name: _show(held, is_stale=False) for name, held in look.fresh.items() if not held.is_absent}
    for name in names - look.fresh.keys():
        flight = next((flight for flight in flights if name in flight.names), None)
        if flight is not None and flight in landed and name not in flight.fetch.answer.unfit:
            if name in flight.fetch.answer.values:
                values[name] = FetchedValue(flight.fetch.answer.values[name], flight.began_ms)
        elif name in look.stale:
            values[name] = _show(look.stale[name], is_stale=True)
        else:
            unavailable[name] = str(_find_reason(flight, refusal))
    return Fetched(values, unavailable, is_none=False)


def _find_reason(flight: _Flight | None, refusal: AdapterReason | None) -> AdapterReason:
    """Return why a field that nothing is known of is not there."""
    if flight is None:
        return refusal or AdapterReason.TIMEOUT
    if not flight.fetch.done.done():
        return AdapterReason.TIMEOUT
    return flight.fetch.reason or AdapterReason.BAD_ANSWER  # it is there, and does not fit


def _show(held: Held, *, is_stale: bool) -> FetchedValue:
    return FetchedValue(held.value, held.at_ms, is_stale)
