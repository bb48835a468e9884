"""Survivorship: which of several values of a trait is believed, what lost against it, and why.

In this order: a correction beats everything. Then who was surer of whom they spoke: the higher level. Among equals the
trait's policy: the source most believed, or whoever spoke last. What is equal in all that is parted by its source and
identifier, so that the order in which values come in decides nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from collector.profiles.definitions import Policy, TraitConfig

CORRECTION = "correction"


class Said(msgspec.Struct, frozen=True):
    """One source's word. `key`: own person id of whom it was said of. `is_closed`: sealed, and we have no key to it."""

    value: Any
    source: str  # identify, server, adapter:NAME, correction
    level: int
    time_ms: int
    key: str
    actor: str = ""  # who made a correction
    is_closed: bool = False


class Reason(StrEnum):
    """Why a value lost."""

    CORRECTION = "correction"  # against a correction
    LEVEL = "level"  # against what was said more surely
    SOURCE = "source"  # against a source more believed
    OLDER = "older"  # against what was said later
    EQUAL = "equal"  # said at the same time, as surely: somebody has to lose
    CLOSED = "closed"  # sealed, and nobody has a key to it


class Lost(msgspec.Struct, frozen=True):
    """A value that was not believed. `agrees`: it is the same as the one that was."""

    said: Said
    reason: Reason
    agrees: bool


class Survivor(msgspec.Struct, frozen=True):
    """The value that is believed, and those that are not, the best of them first."""

    said: Said
    lost: tuple[Lost, ...] = ()

    @property
    def is_contested(self) -> bool:
        """Whether somebody as sure of whom they spoke says otherwise."""
        return any(not lost.agrees and lost.said.level >= self.said.level for lost in self.lost)


def survive(values: Iterable[Said], trait: TraitConfig) -> Survivor | None:
    """Return the value that is believed, None of no values. What cannot be opened loses against what can."""
    ranked = sorted(values, key=lambda said: _rank(said, trait))
    if not ranked:
        return None
    best = ranked[0]
    lost = tuple(Lost(said, _find_reason(best, said, trait), said.value == best.value) for said in ranked[1:])
    return Survivor(best, lost)


def _rank(said: Said, trait: TraitConfig) -> tuple[Any, ...]:
    """Return what sorts values, the most believed first."""
    is_correction = said.source == CORRECTION
    place = 0 if is_correction else _find_place(said.source, trait)
    level = 0 if is_correction else -said.level
    return (said.is_closed, not is_correction, level, place, -said.time_ms, said.source, said.key)


def _find_place(source: str, trait: TraitConfig) -> int:
    if trait.policy is not Policy.SOURCES:
        return 0
    return trait.sources.index(source) if source in trait.sources else len(trait.sources)


def _find_reason(best: Said, said: Said, trait: TraitConfig) -> Reason:
    if said.is_closed and not best.is_closed:
        return Reason.CLOSED
    if best.source == CORRECTION and said.source != CORRECTION:
        return Reason.CORRECTION
    if best.source != CORRECTION:
        if best.level != said.level:
            return Reason.LEVEL
        if _find_place(best.source, trait) != _find_place(said.source, trait):
            return Reason.SOURCE
    return Reason.OLDER if best.time_ms != said.time_ms else Reason.EQUAL
