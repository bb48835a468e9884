"""Traces: what lies on this host's disk outside the store and may name somebody.

    rejected/            bodies that were refused, sealed: each is opened, and goes where it names them
    load/refused/        lines that the store refused: the same
    spool/*/*.bad        damaged pieces: what cannot be read is searched for what names them, and goes whole
    adapters/            indexes of files of records: the same; they are made again from their source

The spool itself is drained before, and sealed segments go when they are loaded. Imports that wait to be gone on with
hold what their file holds: whoever erases is told to finish them first.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import PrivacyError, PrivacyReason
from collector.event import LandingRow
from collector.identity.identifiers import VISITOR_KIND, is_blocked, name_identifier, own_person_id
from collector.identity.normal_forms import normalise
from collector.importing.state import FOLDER_NAME as IMPORT_FOLDER
from collector.importing.state import STATE_NAME, ImportState
from collector.keyring import Keyring
from collector.load.loader import REFUSED_NAME
from collector.sites.poll import read_copy

if TYPE_CHECKING:
    from collector.accept.kept_bodies import KeptBody

MIN_SEARCHED_CHARS = 4
"""A shorter value stands in files by chance: it is no trace."""


class Names(NamedTuple):
    """What may name people on a disk. `keys`: own person ids; `visitors`: visitor ids; `values`: as they are stored."""

    space_id: str
    keys: frozenset[str]
    visitors: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()

    def list_searched(self) -> list[bytes]:
        """What is searched for in files that cannot be read, as bytes."""
        texts = self.keys | self.visitors | {value for value in self.values if len(value) >= MIN_SEARCHED_CHARS}
        return [text.encode("utf-8", "surrogatepass") for text in sorted(texts)]


def remove_traces(config: Config, keyring: Keyring, names: Names) -> dict[str, int]:
    """Remove what names them, and return how many pieces went, by folder.

    Raises PrivacyError where an import waits to be finished, OSError.
    """
    data = config.data_path
    check_imports(data)
    return {
        "rejected": _clean_kept(data, keyring, names),
        "load/refused": _clean_refused(data, keyring, names),
        "spool": _remove_found(sorted((data / "spool").glob("*/*.bad")), names),
        "adapters": _remove_found(sorted(path for path in (data / "adapters").glob("*") if path.is_file()), names),
    }


def check_imports(data: Path) -> None:
    """Raise PrivacyError where an import was begun and not finished: what it has read lies on the disk."""
    for path in sorted((data / IMPORT_FOLDER).glob(f"*/{STATE_NAME}")):
        try:
            state = msgspec.json.decode(path.read_bytes(), type=ImportState)
        except (OSError, msgspec.MsgspecError):
            continue
        if state.phase != "done":
            raise PrivacyError(
                PrivacyReason.PENDING,
                f"the import of {state.file} was begun and not finished: finish it (`tagstitch import events`), or "
                f"remove {path.parent}",
            )


def _clean_kept(data: Path, keyring: Keyring, names: Names) -> int:
    """Write each file of refused bodies anew without those that name them."""
    # What reads them brings the edge's pipeline along: half of what a role that seldom does so would load.
    from collector.accept.kept_bodies_files import list_files, read_bodies, seal

    namers = _make_namers(data, keyring, names)
    removed = 0
    for file in list_files(data):
        kept, gone = [], 0
        for body in read_bodies(file.path, keyring):
            if body is None:
                continue
            if _names_them(body, keyring, names, namers):
                gone += 1
            else:
                kept.append(seal(keyring, body))
        if gone:
            removed += gone
            if kept:
                disk.write_file(file.path, b"".join(kept))
            else:
                disk.unlink(file.path)
    return removed


def _names_them(body: KeptBody, keyring: Keyring, names: Names, namers: Iterable[Callable[[str, str], str]]) -> bool:
    envelope = body.envelope
    for visitor_id in (envelope.visitor_id, envelope.reset_from):
        if visitor_id and (
            visitor_id in names.visitors
            or own_person_id(keyring.pseudonym_key, names.space_id, VISITOR_KIND, visitor_id) in names.keys
        ):
            return True
    said = [(identifier.kind, identifier.value) for event in envelope.events for identifier in event.identifiers]
    return any(namer(kind, value) in names.keys for kind, value in said for namer in namers)


def _make_namers(data: Path, keyring: Keyring, names: Names) -> list[Callable[[str, str], str]]:
    """Return, for each site of the space, what makes an own person id of kind and value as a page writes them."""
    sites = [site for site in read_copy(data).sites.values() if site.space_id == names.space_id]

    def make(site_kinds: dict[str, object]) -> Callable[[str, str], str]:
        def name(kind_name: str, value: str) -> str:
            kind = site_kinds.get(kind_name)
            if kind is None or is_blocked(value):
                return ""
            normal = normalise(kind, value)  # type: ignore[arg-type]
            return "" if normal is None else name_identifier(keyring, names.space_id, kind, normal).key  # type: ignore[arg-type]

        return name

    return [make({kind.name: kind for kind in site.kinds}) for site in sites]


def _clean_refused(data: Path, keyring: Keyring, names: Names) -> int:
    """Remove lines that the store refused and that name them."""
    removed = 0
    for path in sorted((data / "load" / REFUSED_NAME).glob("*.json")):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            continue
        if _is_of(text, names) or any(searched in text for searched in names.list_searched()):
            disk.unlink(path)
            removed += 1
    return removed


def _is_of(text: bytes, names: Names) -> bool:
    try:
        row = msgspec.json.decode(text, type=LandingRow)
    except msgspec.MsgspecError:
        return False
    keys = {row.own_person_id, *(event.customer_key for event in row.events)}
    keys |= {key for evidence in row.evidence for key in (evidence.a_key, evidence.b_key)}
    return not keys.isdisjoint(names.keys)


def _remove_found(paths: Iterable[Path], names: Names) -> int:
    """Remove files in which something that names them is found."""
    searched = names.list_searched()
    found = [path for path in paths if _is_found(path, searched)]
    for path in found:
        disk.unlink(path)
    return len(found)


def _is_found(path: Path, searched: Iterable[bytes]) -> bool:
    for data in _map(path):
        return any(data.find(piece) >= 0 for piece in searched)
    return False


def _map(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (FileNotFoundError, ValueError):  # gone, or empty
        return
