"""What `/v1/customers` and `/v1/visitors` answer: a profile as JSON, with names instead of places.

Times are milliseconds since 1970. What is not known is left out or empty, never null.
"""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec

from collector.profiles.computed import Computed
from collector.profiles.consents import Consent
from collector.profiles.keys import Span
from collector.profiles.masking import mask
from collector.profiles.memberships import Membership
from collector.profiles.profile import Part, Profile, Trait
from collector.profiles.survivorship import Said
from collector.profiles.timeline import Page, TimelineEvent
from collector.use.records import Records


class ShownIdentifier(msgspec.Struct, omit_defaults=True):
    """An identifier. `value`: in clear or masked; left out for a visitor, and where only the pseudonym is kept.

    `spans`: when it was this person's; left out where it always was."""

    kind: str
    own_person_id: str
    assurance: int = 0
    personal: bool = False
    value: str = ""
    pseudonym: str = ""
    provisional: bool = False
    spans: tuple[Span, ...] = ()


class Word(msgspec.Struct, omit_defaults=True):
    """What one source says. `lost_by`: why it is not believed; `agrees`: it says the same as the one that is."""

    value: Any
    source: str
    assurance: int
    time_ms: int
    own_person_id: str
    actor: str = ""
    lost_by: str = ""
    agrees: bool = False


class ShownTrait(msgspec.Struct, omit_defaults=True):
    """A trait: the value that is believed, where it comes from, and what lost against it."""

    value: Any
    personal: bool
    source: str
    assurance: int
    time_ms: int
    actor: str = ""
    contested: bool = False
    declared: bool = True
    min_assurance: int = 0
    others: tuple[Word, ...] = ()


class ShownField(msgspec.Struct, omit_defaults=True):
    """A field of a customer record of another source. `own_person_id`: of the identifier that the source was asked by.
    `stale`: it is past its time, and the source did not answer."""

    value: Any
    personal: bool
    source: str
    fetched_at_ms: int
    min_assurance: int
    own_person_id: str
    stale: bool = False


class ShownTimeline(msgspec.Struct):
    """A page of events, the newest first. `next`: cursor of the next page, "" on the last."""

    events: tuple[dict[str, Any], ...]
    next: str


class ShownProfile(msgspec.Struct, omit_defaults=True):
    """A person. `merged_from`: own person id that was asked for, where that is part of this person by now.

    `unavailable`: why a source, or a field of one (`crm.tier`), is not in `records`.
    `cut`: there were more identifiers than are read, and some are left out.
    """

    person_id: str
    identifiers: tuple[ShownIdentifier, ...]
    customer_id: str = ""
    customer_kind: str = ""
    assurance: int = 0
    provisional: bool = False
    merged_from: str = ""
    cut: bool = False
    traits: dict[str, ShownTrait] | None = None
    computed: Computed | None = None
    consent: tuple[Consent, ...] | None = None
    last_consent: tuple[str, ...] | None = None
    audiences: tuple[Membership, ...] | None = None
    timeline: ShownTimeline | None = None
    records: dict[str, dict[str, ShownField]] | None = None
    unavailable: dict[str, str] | None = None


_WHOSE, *_WHAT = get_type_hints(TimelineEvent)
_EVENT_FIELDS = (*_WHAT, _WHOSE)
_ALWAYS = (Span(0),)


def show_profile(
    profile: Profile, parts: frozenset[Part], records: Records | None = None, *, shows_personal: bool = False
) -> ShownProfile:
    """Return the answer, with the parts that were asked for. `records`: where they are among them."""
    return ShownProfile(
        person_id=profile.person_id,
        identifiers=tuple(
            ShownIdentifier(
                kind=item.kind,
                own_person_id=item.own_person_id,
                assurance=item.level,
                personal=item.is_personal,
                value=item.value,
                pseudonym=item.pseudonym,
                provisional=item.provisional,
                spans=() if item.spans == _ALWAYS else item.spans,
            )
            for item in profile.identifiers
        ),
        customer_id=profile.customer_id,
        customer_kind=profile.customer_kind,
        assurance=profile.level,
        provisional=profile.provisional,
        merged_from=profile.merged_from,
        cut=profile.is_cut,
        traits={name: _show_trait(trait) for name, trait in profile.traits.items()} if Part.TRAITS in parts else None,
        computed=profile.computed,
        consent=profile.consents if Part.CONSENT in parts else None,
        last_consent=profile.last_consent if {Part.CONSENT, Part.TIMELINE} <= parts else None,
        audiences=profile.audiences if Part.AUDIENCES in parts else None,
        timeline=show_page(profile.page) if Part.TIMELINE in parts else None,
        records=_show_records(records, shows_personal=shows_personal) if records else None,
        unavailable=records.unavailable if records else None,
    )


def show_value(value: Any, *, personal: bool, shows_personal: bool) -> Any:
    """Return a value of a source as whoever asks may see it."""
    return mask(value) if personal and not shows_personal else value


def _show_records(records: Records, *, shows_personal: bool) -> dict[str, dict[str, ShownField]]:
    return {
        source: {
            name: ShownField(
                value=show_value(one.value, personal=one.field.personal, shows_personal=shows_personal),
                personal=one.field.personal,
                source=one.source,
                fetched_at_ms=one.fetched_at_ms,
                min_assurance=one.field.min_assurance,
                own_person_id=one.own_person_id,
                stale=one.is_stale,
            )
            for name, one in fields.items()
        }
        for source, fields in records.fields.items()
    }


def show_page(page: Page) -> ShownTimeline:
    """Return a page of the timeline; of an event what is known."""
    shown = tuple(
        {name: value for name in _EVENT_FIELDS if (value := getattr(event, name)) not in ("", 0)}
        for event in page.events
    )
    return ShownTimeline(shown, page.next.encode() if page.next else "")


def _show_trait(trait: Trait) -> ShownTrait:
    believed = trait.survivor.said
    return ShownTrait(
        value=trait.value,
        personal=trait.personal,
        source=believed.source,
        assurance=believed.level,
        time_ms=believed.time_ms,
        actor=believed.actor,
        contested=trait.is_contested,
        declared=trait.is_declared,
        min_assurance=trait.min_assurance,
        others=tuple(_show_word(lost.said, lost.reason, agrees=lost.agrees) for lost in trait.survivor.lost),
    )


def _show_word(said: Said, lost_by: str, *, agrees: bool) -> Word:
    return Word(said.value, said.source, said.level, said.time_ms, said.key, said.actor, lost_by, agrees)
