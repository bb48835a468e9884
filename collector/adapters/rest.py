"""Adapter for REST: a record is one GET, or one POST, of what the configuration names, mapped field by field with
JMESPath.

What is asked is named by the configuration alone: of a question, only a key or the terms of a search come in, each
where its place is and nowhere else (`rest_template`). Whom it connects to is judged by `address_guard`; what comes
back is bounded by `rest_client`.

It needs httpcore and jmespath, of the extra `adapters`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from collector.adapters.address_guard import AddressGuard, Network, Origin, Resolve, resolve_name
from collector.adapters.contract import Described, Record, Wrong
from collector.adapters.rest_settings import (
    KEY_PLACE,
    LIMIT_PLACE,
    AuthSettings,
    BasicSettings,
    BearerSettings,
    OAuth2Settings,
    Pick,
    RestSettings,
    check_header,
    check_installed,
    check_value,
    read_rest_settings,
    read_secret,
    read_url,
)
from collector.adapters.values import fit_value
from collector.errors import AdapterError, AdapterReason

if TYPE_CHECKING:
    from collector.adapters.rest_auth import Auth
    from collector.adapters.rest_client import Answer, RestClient

SEARCH_S = 5.0
MAX_FOUND = 100


class RestAdapter:
    """One REST source, in one event loop."""

    def __init__(
        self,
        described: Described,
        settings: RestSettings,
        environ: Mapping[str, str],
        resolve: Resolve = resolve_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`environ`: where secrets are. `clock`: seconds that never go back. Raises Wrong for a setting that cannot
        be used, also where the extra `adapters` is not installed."""
        check_installed()
        self._described = described
        self._plan = read_rest_settings(settings, tuple(field.name for field in described.fields))
        self._types = {field.name: field.type for field in described.fields}
        self._clock = clock
        make = _ClientMaker(settings, self._plan.networks, resolve, clock)
        self._auth = _make_auth(settings.auth, environ, make, clock)
        self._client = make(self._plan.origin)

    def describe(self) -> Described:
        return self._described

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the record of this key, or None. `deadline_s`: seconds left. Raises AdapterError:
        `not_supported` for a key that cannot stand in the path, else what `RestClient.ask` says."""
        plan, places = self._plan, {KEY_PLACE: key}
        try:
            target, body = plan.path.fill(places), plan.body.fill(places) if plan.body else None
        except ValueError as error:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"this key cannot be asked for: {error}") from None
        answer = await self._ask(target, body, deadline_s)
        if answer.document is None:
            return None
        record = _pick(self._plan.record, answer.document, "record")
        if record is None or record == []:
            return None
        if self._plan.record_key is not None and self._read_key(record) != key:
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is about another key than was asked for")
        return self._read_record(key, record, fields)

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return the records that fit, `limit` and MAX_FOUND at most; one whose key cannot be told is left out.
        Raises AdapterError: `not_supported` for terms that the configuration does not name, and for none."""
        plan = self._plan
        if plan.search is None:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, "no search is configured")
        known = (plan.search_body or plan.search).names - {LIMIT_PLACE}
        terms = {name: term for name, term in terms.items() if term.strip()}  # an empty one would fit everybody
        if not terms or terms.keys() - known:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"it is searched by: {', '.join(sorted(known))}")
        most = max(1, min(limit, MAX_FOUND))
        try:
            target = plan.search.fill({**terms, LIMIT_PLACE: str(most)})
            body = plan.search_body.fill({**terms, LIMIT_PLACE: most}) if plan.search_body else None
        except ValueError as error:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"this cannot be searched for: {error}") from None
        answer = await self._ask(target, body, SEARCH_S)
        found = None if answer.document is None else _pick(plan.records, answer.document, "search.records")
        if found is None:
            return []
        if not isinstance(found, list):
            raise AdapterError(AdapterReason.BAD_ANSWER, "search.records picks no list from the answer")
        names = frozenset(self._types)
        keyed = ((self._read_key(record), record) for record in found[:most])
        return [self._read_record(key, record, names) for key, record in keyed if key]

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
        await self._auth.close()

    async def _ask(self, target: bytes, body: bytes | None, deadline_s: float) -> Answer:
        ends_s = self._clock() + deadline_s
        signed = await self._auth.sign(deadline_s)
        try:
            return await self._client.ask(target, {**self._plan.headers, **signed}, ends_s - self._clock(), body)
        except AdapterError as error:
            if error.reason is not AdapterReason.REFUSED or not self._auth.renew(signed):
                raise
        signed = await self._auth.sign(ends_s - self._clock())
        return await self._client.ask(target, {**self._plan.headers, **signed}, ends_s - self._clock(), body)

    def _read_key(self, record: Any) -> str:
        """Return the key that a record says it has; "" for none. Sources number their customers: 7 is "7"."""
        if self._plan.record_key is None:
            return ""
        key = _pick(self._plan.record_key, record, "record_key")
        if isinstance(key, int) and not isinstance(key, bool):
            return str(key)
        return key if isinstance(key, str) else ""

    def _read_record(self, key: str, record: Any, names: frozenset[str]) -> Record:
        values, unfit = {}, set()
        for name in names & self._types.keys():
            value = _pick(self._plan.picks[name], record, f"map.{name}")
            if value is None:
                continue
            try:
                values[name] = fit_value(self._types[name], value)
            except (ValueError, OverflowError):
                unfit.add(name)
        return Record(key, values, frozenset(unfit))


def _pick(pick: Pick, document: Any, setting: str) -> Any:
    """Apply a mapping. Its functions raise all kinds of things; told is what, not what about."""
    try:
        return pick(document)
    except Exception as error:
        raise AdapterError(
            AdapterReason.BAD_ANSWER, f"{setting} does not fit the answer: {type(error).__name__}"
        ) from None


class _ClientMaker:
    """Clients of one source: for what it answers, and for its tokens. Each is bound to one origin."""

    def __init__(
        self, settings: RestSettings, networks: tuple[Network, ...], resolve: Resolve, clock: Callable[[], float]
    ) -> None:
        self._networks = networks
        self._resolve = resolve
        self._clock = clock
        self._max_bytes = settings.max_bytes
        self._ca_file = settings.ca_file
        self._context: ssl.SSLContext | None = None

    def __call__(self, origin: Origin) -> RestClient:
        from collector.adapters.rest_client import RestClient

        guard = AddressGuard(origin, self._networks, self._resolve, self._clock)
        return RestClient(guard, self._max_bytes, self._find_context() if origin.scheme == "https" else None)

    def _find_context(self) -> ssl.SSLContext:
        """Return whom TLS trusts: read once, where it is needed, for it takes a tenth of a second."""
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._ca_file or None)
                self._context.set_alpn_protocols(["http/1.1"])
            except OSError as error:
                raise Wrong("ca_file", f"it cannot be read: {error.strerror or type(error).__name__}") from None
        return self._context


def _make_auth(
    auth: AuthSettings | None, environ: Mapping[str, str], make: _ClientMaker, clock: Callable[[], float]
) -> Auth:
    from collector.adapters.rest_auth import ClientCredentials, FixedAuth, make_basic, make_bearer

    if auth is None:
        return FixedAuth()
    if isinstance(auth, OAuth2Settings):
        origin, path = read_url("auth.token_url", auth.token_url)
        secret = read_secret("auth.client_secret_env", auth.client_secret_env, environ)
        target = (path or "/").encode("ascii")
        return ClientCredentials(make(origin), target, auth.client_id, secret, auth.scope, clock)
    if isinstance(auth, BasicSettings):
        return FixedAuth(make_basic(auth.user, read_secret("auth.password_env", auth.password_env, environ)))
    if isinstance(auth, BearerSettings):
        token = read_secret("auth.token_env", auth.token_env, environ)
        check_value("auth.token_env", token)
        return FixedAuth(make_bearer(token))
    value = read_secret("auth.value_env", auth.value_env, environ)
    check_header("auth.header", auth.header, "x")
    check_value("auth.value_env", value)
    return FixedAuth({auth.header.lower(): value})
