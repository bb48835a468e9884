"""Records: what other sources know of a person, asked for together, each within its own deadline.

A source is asked by an identifier of the kind that is its key. Of several, those come one after the other, within the
same deadline, until the source has a record. What cannot be had is named with the reason, of a whole source by its
name, of one field as `crm.tier`; beside the reasons of `collector.errors.AdapterReason` there is `no_key`: the person
has no such identifier, or the store has its pseudonym alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Field, Record
from collector.errors import AdapterError, AdapterReason
from collector.profiles.record_keys import Keys
from collector.use.page_names import name_for_page
from collector.use.sources import Sources

NO_KEY = "no_key"
SEARCH_S = 2.0
"""How long somebody who searches waits for a source."""


class RecordField(NamedTuple):
    """A value, in clear, and where it comes from. `own_person_id`: of the identifier that the source was asked by."""

    value: Any
    field: Field
    source: str
    own_person_id: str
    fetched_at_ms: int
    is_stale: bool


class Records(NamedTuple):
    """What sources know. `fields`: by source and field; a source that has no record of the person has no fields.
    `unavailable`: the reason, by source or by `source.field`."""

    fields: dict[str, dict[str, RecordField]]
    unavailable: dict[str, str]


class Candidate(NamedTuple):
    """A record that a search found. `fields`: its values in clear, by field, with what is said of each."""

    adapter: str
    key_kind: str
    key: str
    fields: dict[str, tuple[Any, Field]]


class Found(NamedTuple):
    """What a search found, the sources in the order of the file."""

    candidates: list[Candidate]
    unavailable: dict[str, str]


def list_key_kinds(sources: Sources, space_id: str, names: Collection[str] | None = None) -> frozenset[str]:
    """Return the kinds of identifiers by which sources are asked; `names`: of which sources, None: of all."""
    return frozenset(adapter.key_kind for adapter in _choose(sources, space_id, names))


def list_page_kinds(sources: Sources, space_id: str) -> frozenset[str]:
    """Return the kinds of identifiers by which sources are asked for what pages are told."""
    return frozenset(adapter.key_kind for adapter in _list_of_pages(sources, space_id))


async def read_records(sources: Sources, space_id: str, keys: Keys, names: Collection[str] | None = None) -> Records:
    """Ask the sources of a space all at once. `names`: which; None: all. Never raises for what they do, and takes no
    longer than the longest of their deadlines."""
    adapters = _choose(sources, space_id, names)
    asked = [_read(sources, one, keys, frozenset(), one.bounds.deadline_s) for one in adapters]
    return _join(await asyncio.gather(*asked))


async def read_for_page(sources: Sources, space_id: str, keys: Keys, level: int) -> dict[str, Any]:
    """Return what a page may know that is so sure (0 to 4) who sits in front of it, by the names that pages have for
    it, and no more than can be had by the pages' own deadline. What comes later is there for the next page."""
    adapters = _list_of_pages(sources, space_id)
    given = [
        {field.name: field for field in one.fields if field.page and field.min_assurance <= level} for one in adapters
    ]
    asked = [
        _read(sources, one, keys, frozenset(fields), one.bounds.page_deadline_s)
        for one, fields in zip(adapters, given, strict=True)
        if fields and one.key_kind in keys
    ]
    found = _join(await asyncio.gather(*asked))
    return {
        name_for_page(one, field): found.fields[one.name][field.name].value
        for one, fields in zip(adapters, given, strict=True)
        for field in fields.values()
        if field.name in found.fields.get(one.name, {})
    }


async def search_records(
    sources: Sources, space_id: str, terms: Mapping[str, str], limit: int, names: Collection[str] | None = None
) -> Found:
    """Return the records that fit all terms, of each source `limit` at most. `names`: which sources; None: all that can
    search. Never raises for what they do."""
    adapters = _choose(sources, space_id, names)
    answers = await asyncio.gather(*(_search(sources, one, terms, limit) for one in adapters))
    found = Found([], {})
    for adapter, answer in zip(adapters, answers, strict=True):
        if isinstance(answer, list):
            found.candidates.extend(answer)
        elif names is not None or answer is not None:
            found.unavailable[adapter.name] = str(answer or AdapterReason.NOT_SUPPORTED)
    return found


def is_personal(sources: Sources, space_id: str, terms: Collection[str], names: Collection[str] | None = None) -> bool:
    """Whether any of these terms of a search is personal: whatever is no field of the sources that says otherwise."""
    fields = [field for adapter in _choose(sources, space_id, names) for field in adapter.fields]
    personal = {field.name for field in fields if field.personal}
    return bool(set(terms) - ({field.name for field in fields} - personal))


def _choose(sources: Sources, space_id: str, names: Collection[str] | None) -> list[AdapterConfig]:
    return [one for one in sources.list_adapters(space_id) if names is None or one.name in names]


def _list_of_pages(sources: Sources, space_id: str) -> list[AdapterConfig]:
    return [one for one in sources.list_adapters(space_id) if any(field.page for field in one.fields)]


def _join(answers: list[Records]) -> Records:
    """Put answers together."""
    whole = Records({}, {})
    for answer in answers:
        whole.fields.update(answer.fields)
        whole.unavailable.update(answer.unavailable)
    return whole


async def _read(
    sources: Sources, adapter: AdapterConfig, keys: Keys, names: frozenset[str], deadline_s: float
) -> Records:
    """Ask one source for these fields; for all, where none is named."""
    name, clock = adapter.name, asyncio.get_running_loop().time
    own = keys.get(adapter.key_kind, ())
    if not own:
        return Records({}, {name: NO_KEY})
    ends_s = clock() + deadline_s
    source = await sources.find(name, deadline_s)
    if isinstance(source, AdapterReason):
        return Records({}, {name: str(source)})
    described = {field.name: field for field in source.described.fields}
    wanted = names or frozenset(described)
    key, fetched = own[0], await source.retrieve(own[0].value, wanted, max(0.0, ends_s - clock()))
    for other in own[1:]:
        if not fetched.is_none:
            break
        key, fetched = other, await source.retrieve(other.value, wanted, max(0.0, ends_s - clock()))
    reasons = fetched.unavailable
    if not fetched.values and reasons and len(set(reasons.values())) == 1:
        return Records({}, {name: next(iter(reasons.values()))})
    fields = {
        one: RecordField(
            value.value, described[one], f"adapter:{name}", key.own_person_id, value.fetched_at_ms, value.is_stale
        )
        for one, value in sorted(fetched.values.items())
    }
    return Records({name: fields}, {f"{name}.{one}": reason for one, reason in sorted(reasons.items())})


async def _search(
    sources: Sources, adapter: AdapterConfig, terms: Mapping[str, str], limit: int
) -> list[Candidate] | AdapterReason | None:
    """Search one source; None: it cannot search."""
    clock = asyncio.get_running_loop().time
    ends_s = clock() + SEARCH_S
    source = await sources.find(adapter.name, SEARCH_S)
    if isinstance(source, AdapterReason):
        return source
    if not source.described.can_search:
        return None
    try:
        found = await source.search(terms, limit, max(0.0, ends_s - clock()))
    except AdapterError as error:
        return error.reason
    described = {field.name: field for field in source.described.fields}
    return [_make_candidate(adapter, record, described) for record in found]


def _make_candidate(adapter: AdapterConfig, record: Record, described: Mapping[str, Field]) -> Candidate:
    fields = {name: (value, described[name]) for name, value in sorted(record.values.items()) if name in described}
    return Candidate(adapter.name, adapter.key_kind, record.key, fields)
