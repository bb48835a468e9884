"""What somebody takes along: everything that is held about them, as one zip.

    index.html            readable, the newest first of each part
    <part>.jsonl, .csv    everything, for programs and for spreadsheets
    dictionary.csv        what each column means

Values that are stored sealed or as pseudonyms are opened where this instance can: they are the person's own. What
others are called that the person was seen with stays a pseudonym.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any
from uuid import UUID

import msgspec

from collector.exporting.cells import neutralise
from collector.keyring import Keyring
from collector.privacy.inventory import PLACES, render_for
from collector.privacy.parts import PARTS, read_meanings, read_part
from collector.privacy.subjects import Subject, bind_scope
from collector.privacy.words import ENGLISH, Words
from collector.profiles.traits import open_trait
from collector.profiles.vaulted import VAULT, Vault, decode_vault
from collector.store.client import StoreClient

SHOWN_ROWS = 200
_TRAITS = """
SELECT toString(held.key) AS own_key, name, source, level, value, sealed, time FROM traits AS held FINAL
WHERE space_id = {space:String} AND is_deleted = 0 AND (%s) ORDER BY name, time
"""
_MEANINGS = {
    "kind": "Kind of the identifier",
    "value": "Its value; empty where only a pseudonym is kept",
    "pseudonym": "What is stored in place of it; empty: it is stored as it is",
    "own_person_id": "Id that it has in all other files",
    "level": "How sure it is that it is yours, 0 to 4",
    "shared_with_others": "true: others have used it as well, and only your own times are here",
    "name": "Name of the trait",
    "trait_value": "The value",
    "source": "Who said so",
    "time": "When it was said",
}


@dataclass(slots=True)
class ReadPart:
    """A part that was read. `rows`: the last SHOWN_ROWS; `count`: of all."""

    name: str
    meanings: dict[str, str]
    count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def write_takeaway(
    client: StoreClient,
    keyring: Keyring,
    space_id: str,
    subjects: Sequence[Subject],
    out: IO[bytes],
    *,
    words: Words = ENGLISH,
    now_ms: int,
    tell: Callable[[str, int], None] = lambda name, rows: None,
) -> dict[str, int]:
    """Write the zip, and return how many rows each part has; `tell` hears it as well. Raises StoreError, OSError."""
    found: list[ReadPart] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, meanings, rows in _read_all(client, keyring, space_id, subjects):
            part = ReadPart(name, meanings)
            _write_part(archive, part, rows)
            tell(name, part.count)
            found.append(part)
        archive.writestr("dictionary.csv", _write_dictionary(found))
        archive.writestr("index.html", _render(found, words, now_ms))
    return {part.name: part.count for part in found}


def _read_all(
    client: StoreClient, keyring: Keyring, space_id: str, subjects: Sequence[Subject]
) -> Iterator[tuple[str, dict[str, str], Iterable[dict[str, Any]]]]:
    params = bind_scope(client, subjects)
    names = ("kind", "value", "pseudonym", "own_person_id", "level", "shared_with_others")
    identifiers = list_identifiers(client, keyring, space_id, subjects)
    yield "identifiers", {name: _MEANINGS[name] for name in names}, identifiers
    traits = list_traits(client, keyring, space_id, params)
    meanings = {"name": "name", "value": "trait_value", "source": "source", "level": "level", "time": "time"}
    yield "traits", {name: _MEANINGS[said] for name, said in meanings.items()}, traits
    for part in PARTS:
        yield part.name, read_meanings(client, part), read_part(client, space_id, part, params)


def list_identifiers(
    client: StoreClient, keyring: Keyring, space_id: str, subjects: Sequence[Subject]
) -> list[dict[str, Any]]:
    """Return the identifiers of people, opened where they can be. Raises StoreError."""
    keys = sorted({item.key for subject in subjects for item in subject.held})
    rows = client.query_rows(VAULT, {"space": space_id, "keys": keys}) if keys else []
    vault = Vault(keyring, space_id, [decode_vault(row["row"]) for row in rows])
    found = []
    for subject in subjects:
        for item in subject.held:
            value = vault.open(item)
            found.append(
                {
                    "kind": item.kind or "visitor",
                    "value": value,
                    "pseudonym": item.value if value != item.value else "",
                    "own_person_id": item.key,
                    "level": item.level,
                    "shared_with_others": item.key in subject.shared,
                }
            )
    return found


def list_traits(
    client: StoreClient, keyring: Keyring, space_id: str, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what was said of people, opened. `params`: as `bind_scope` gives them. Raises StoreError."""
    place = next(place for place in PLACES if place.table == "traits")
    rows = client.query_rows(_TRAITS % render_for(place.erase), {"space": space_id, **params})
    found = []
    for row in rows:
        text: bytes | str | None = row["value"]
        if row["sealed"]:
            text = open_trait(keyring, space_id, row["own_key"], row["name"], row["value"])
        try:
            value = None if text is None else msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = None
        found.append({"name": row["name"], "value": value, **{name: row[name] for name in ("source", "level", "time")}})
    return found


def _write_part(archive: zipfile.ZipFile, part: ReadPart, rows: Iterable[dict[str, Any]]) -> None:
    """Write a part's two files."""
    lines, sheet = io.BytesIO(), io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(part.meanings)
    for row in rows:
        shown = {name: _show(row[name]) for name in part.meanings}
        lines.write(msgspec.json.encode(shown) + b"\n")
        writer.writerow([neutralise(_flatten(value)) for value in shown.values()])
        part.count += 1
        part.rows.append({name: _flatten(value) for name, value in shown.items()})
        del part.rows[:-SHOWN_ROWS]
    part.rows.reverse()
    archive.writestr(f"{part.name}.jsonl", lines.getvalue())
    archive.writestr(f"{part.name}.csv", sheet.getvalue().encode("utf-8-sig"))


def _show(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


def _flatten(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else "" if value is None else value


def _write_dictionary(parts: Sequence[ReadPart]) -> bytes:
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(("part", "column", "meaning"))
    for part in parts:
        writer.writerows((part.name, name, meaning) for name, meaning in part.meanings.items())
    return sheet.getvalue().encode("utf-8-sig")


def _render(parts: Sequence[ReadPart], words: Words, now_ms: int) -> bytes:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("collector.privacy"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")
    return environment.get_template("takeaway.html").render(parts=parts, words=words, day=day).encode()
