"""`POST /v1/customers/search`: whom other sources know by a name, a postcode or an order number, for an agent.

    {"terms": {"last_name": "Love"}, "limit": 20, "sources": ["crm"], "personal": false}

Each source that can search is asked at once; what it finds is a candidate, with the identifier by which a profile can
be asked for. A term that is personal needs a key with scope `pii:read`, since whoever may guess names could find out
everything else. Nothing of people who were erased or restricted is told. Every candidate that is shown is in the log of
reads first.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from collector.endpoints.edge import Edge, RequestFacts
from collector.endpoints.pixel import make_id
from collector.endpoints.profile_answers import show_value
from collector.endpoints.profile_questions import ProfileProblem
from collector.errors import AdapterReason
from collector.event import NIL_ID, LandingRow, ReadRow
from collector.identity.identifiers import MAX_VALUE_CHARS, Named, name_identifier
from collector.identity.normal_forms import normalise
from collector.links.minting import find_kinds
from collector.profiles.states import read_states
from collector.sites.book import ApiKey
from collector.sites.keys import PII_READ
from collector.store.threads import StoreThreads
from collector.use.records import Candidate, Found, is_personal, search_records
from collector.use.sources import Sources

MAX_TERMS, MAX_FOUND, DEFAULT_FOUND = 10, 50, 20
MAX_TERM_CHARS = 200
_ENCODE = msgspec.json.Encoder().encode

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,62}$")]


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is searched for: records that fit all terms, by the names that the sources have for them. `limit`: of each
    source. `sources`: which are asked; none: all that can search. `personal`: personal values in clear."""

    terms: Annotated[
        dict[Name, Annotated[str, Meta(min_length=1, max_length=MAX_TERM_CHARS)]],
        Meta(min_length=1, max_length=MAX_TERMS),
    ]
    limit: Annotated[int, Meta(ge=1, le=MAX_FOUND)] = DEFAULT_FOUND
    sources: tuple[Name, ...] = ()
    personal: bool = False


class FoundIdentifier(msgspec.Struct, omit_defaults=True):
    """By what a profile can be asked for: by `value`, and where that is personal by `pseudonym`, each with `kind`."""

    kind: str
    value: str
    own_person_id: str
    personal: bool = False
    pseudonym: str = ""


class FoundField(msgspec.Struct):
    """A field of a record, masked where it is personal and whoever asks may not see it."""

    value: Any
    personal: bool


class ShownCandidate(msgspec.Struct):
    """A record that fits."""

    source: str
    identifier: FoundIdentifier
    fields: dict[str, FoundField]


class ShownSearch(msgspec.Struct):
    """What was found, source by source. `unavailable`: the reason, by source; others may have found something."""

    candidates: list[ShownCandidate]
    unavailable: dict[str, str]


class _Named(NamedTuple):
    """A candidate, and the identifier by which its source knows it: in normal form, and as it is stored."""

    candidate: Candidate
    value: str
    name: Named


class NotAllowed(Exception):
    """The key has not the scope that this search needs."""


class Searches:
    """Searches of one web process."""

    def __init__(self, edge: Edge, threads: StoreThreads, sources: Sources) -> None:
        self._edge = edge
        self._threads = threads
        self._sources = sources

    async def find(self, key: ApiKey, facts: RequestFacts, search: Search) -> ShownSearch:
        """Search, and write down what is shown. Raises NotAllowed, ProfileProblem for a source that there is not,
        StoreError, SpoolError."""
        names = search.sources or None
        known = {adapter.name for adapter in self._sources.list_adapters(key.space_id)}
        if unknown := set(search.sources) - known:
            raise ProfileProblem("argument", f"{len(unknown)} of the sources are none of {', '.join(sorted(known))}")
        needs_scope = search.personal or is_personal(self._sources, key.space_id, search.terms, names)
        if needs_scope and PII_READ not in key.scopes:
            raise NotAllowed
        found = await search_records(self._sources, key.space_id, search.terms, search.limit, names)
        named = self._name(key, facts, found)
        states = await self._threads.ask(lambda client: read_states(client, key.space_id, _list_keys(named)))
        told = [one for one in named if states.keys().isdisjoint(_list_keys([one]))]
        await self._log(key, facts, search, told)
        shown = [_show(one, shows_personal=search.personal) for one in told]
        return ShownSearch(shown, found.unavailable)

    def _name(self, key: ApiKey, facts: RequestFacts, found: Found) -> list[_Named]:
        """Return the candidates by whom profiles can be asked for. A source whose keys are of a kind that the space
        does not know is unavailable."""
        kinds = {kind.name: kind for kind in find_kinds(facts.context.sites, key.space_id)}
        named = []
        for candidate in found.candidates:
            kind = kinds.get(candidate.key_kind)
            if kind is None:
                found.unavailable[candidate.adapter] = str(AdapterReason.CONFIG)
                continue
            value = normalise(kind, candidate.key) if len(candidate.key) <= MAX_VALUE_CHARS else None
            if value is not None:  # else it is a word such as `unknown`, which names nobody
                name = name_identifier(self._edge.keyring, key.space_id, kind, value, facts.context.sites.tombstones)
                named.append(_Named(candidate, value, name))
        return named

    async def _log(self, key: ApiKey, facts: RequestFacts, search: Search, told: list[_Named]) -> None:
        """Write down of whom something is shown, or that nobody was found. Raises SpoolError."""
        at_ms = facts.context.received_at_ms

        def make_read(own_person_id: str, parts: str, found: str) -> ReadRow:
            return ReadRow(
                read_id=make_id(at_ms),
                key=own_person_id,
                person_id=NIL_ID,
                actor=f"key:{key.key_id}",
                way="search",
                parts=parts,
                personal=int(search.personal),
                found=found,
            )

        reads = [make_read(one.name.key, f"records.{one.candidate.adapter}", "candidate") for one in told]
        row = LandingRow(
            received_at_ms=at_ms,
            site_id="",
            space_id=key.space_id,
            visitor_proof="none",
            reads=reads or [make_read(NIL_ID, "records", "unknown")],
        )
        await self._edge.spool.append(_ENCODE(row))


def _list_keys(named: list[_Named]) -> set[str]:
    """Return all own person ids that these may have."""
    return {key for one in named for key in (one.name.key, *(earlier for _, earlier in one.name.earlier))}


def _show(one: _Named, *, shows_personal: bool) -> ShownCandidate:
    candidate, name = one.candidate, one.name
    identifier = FoundIdentifier(
        kind=candidate.key_kind,
        value=show_value(one.value, personal=not name.is_clear, shows_personal=shows_personal),
        own_person_id=name.key,
        personal=not name.is_clear,
        pseudonym="" if name.is_clear else name.value,
    )
    fields = {
        field: FoundField(show_value(value, personal=said.personal, shows_personal=shows_personal), said.personal)
        for field, (value, said) in candidate.fields.items()
    }
    return ShownCandidate(f"adapter:{candidate.adapter}", identifier, fields)
