"""Which traits and identifiers an export has as columns, and which of them in clear.

A personal value is in a file in clear because somebody has named it, or it is not in it: a masked one is of use to
nobody. Identifiers, by their kind as `id:email`, come out of the vault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from collector.exporting.columns import Column, Kind, make_trait_column, read_trait
from collector.exporting.files import ExportError
from collector.exporting.people import Person
from collector.profiles.definitions import Definitions
from collector.profiles.profile import Part

ID = "id:"
_KIND = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Chosen(msgspec.Struct, frozen=True):
    """Traits by name, and kinds of identifiers."""

    definitions: Definitions
    traits: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns: traits as they are declared, identifiers as lists of all that somebody has."""
        found = [make_trait_column(self.definitions, name) for name in self.traits]
        return (*found, *(Column(f"id_{kind}", Kind.TEXTS, True) for kind in self.kinds))

    @property
    def parts(self) -> frozenset[Part]:
        """What of a person has to be read for them."""
        return frozenset([Part.TRAITS] * bool(self.traits) + [Part.VALUES] * bool(self.kinds))

    @property
    def personal(self) -> list[str]:
        """The columns with personal values."""
        return [column.name for column in self.columns if column.personal]

    def read(self, person: Person) -> tuple[Any, ...]:
        """Return the values of a person."""
        found = [
            read_trait(self.definitions, name, person.traits[name].value) if name in person.traits else None
            for name in self.traits
        ]
        return (*found, *(person.values.get(kind) for kind in self.kinds))


def choose(
    definitions: Definitions, wanted: Sequence[str], clear: Sequence[str], *, taken: Sequence[Column], all_open: bool
) -> Chosen:
    """Return what was asked for. `wanted`: traits; `clear`: personal traits, and kinds of identifiers as `id:email`.

    `taken`: columns that are there anyway. `all_open`: with every declared trait that is not personal. Raises
    ExportError that names what cannot be had, and how it can.
    """
    declared = definitions.traits
    names = [name for name in declared if all_open and not declared[name].personal] + list(wanted)
    kinds = []
    for name in clear:
        if not name.startswith(ID):
            names.append(name)
        elif _KIND.fullmatch(kind := name.removeprefix(ID)):
            kinds.append(kind)
        else:
            raise ExportError(f"--clear {name}: write a kind of identifier after {ID}, as {ID}email")
    for name in names:
        if name not in declared:
            known = ", ".join(declared) or "none yet"
            raise ExportError(f"trait {name} is not declared in space {definitions.space_id}; there is {known}")
        if declared[name].personal and name not in clear:
            raise ExportError(f"trait {name} is personal: it is left out, or given in clear with --clear {name}")
    chosen = Chosen(definitions, tuple(dict.fromkeys(names)), tuple(dict.fromkeys(kinds)))
    if twice := {column.name for column in taken} & {column.name for column in chosen.columns}:
        raise ExportError(f"trait {min(twice)} has the name of a column that is there anyway: rename the trait")
    return chosen
