"""The desk of a privacy officer: who is meant, what is held about them, and carrying out what they ask for.

Whoever asks is named by any identifier. A request is written down before anything is changed; only one is carried out
at a time on a host, under a lock. Commands, the API and the page all come here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import UUID, uuid4

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import PrivacyError, PrivacyReason, TagstitchError
from collector.identity import audit
from collector.identity.identifiers import VISITOR_KIND
from collector.identity.names import PERSON_KIND, find_identifier, read_kinds
from collector.identity.normal_forms import normalise
from collector.keyring import Keyring
from collector.privacy import requests
from collector.privacy.certificate import Certificate
from collector.privacy.deleting import Counted
from collector.privacy.erasing import Erasing, Order, Watcher, read_names
from collector.privacy.inventory import PLACES, render_for
from collector.privacy.requests import Asked, DataRequest
from collector.privacy.subjects import Subject, bind_scope, find_main_key, find_subjects
from collector.privacy.takeaway import write_takeaway
from collector.privacy.traces import Names
from collector.privacy.withdrawals import write_withdrawals
from collector.privacy.words import ENGLISH, Words
from collector.profiles.definitions import Definitions
from collector.profiles.states import State, set_state
from collector.profiles.traits import correct
from collector.purposes import Purpose
from collector.store.client import StoreClient
from collector.use.config import read_use

LOCK_NAME = "privacy.lock"
MOST_PEOPLE = 10_000
LOCK_LOOK_S = 0.2


class Holding(msgspec.Struct, frozen=True):
    """What one table holds about somebody. `rows`: that would go; `named`: of others, that name them."""

    place: str
    holds: str
    rows: int
    named: int = 0


class Finding(msgspec.Struct, frozen=True):
    """Who is meant, and what is held. `identifiers`: kind, value as it is stored, whether it is shared with others."""

    people: tuple[str, ...]
    identifiers: tuple[tuple[str, str, bool], ...]
    held: tuple[Holding, ...]

    @property
    def rows(self) -> int:
        """All rows together."""
        return sum(place.rows for place in self.held)


class Silent:
    """A watcher that says nothing."""

    def begin(self, step: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int) -> None:
        """Say nothing."""


@dataclass(slots=True)
class PrivacyDesk:
    """What one officer may do in one space. For one thread, as its client. `actor`, `via`: as in the audit log."""

    client: StoreClient
    config: Config
    keyring: Keyring
    space_id: str
    actor: str
    via: str = requests.COMMAND
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    patience_s: float = 600.0  # how long to wait while another request is carried out on this host

    def find(self, names: Sequence[str]) -> Finding:
        """Say who is meant, and what is held about them. Raises PrivacyError, RepairError, StoreError."""
        subjects = self.find_subjects(names)
        params = bind_scope(self.client, subjects)
        held = []
        for place in PLACES:
            blank = place.blank[1]
            of_others = f"countIf(NOT ({place.erase}) AND {blank})" if blank else "0"
            sql = f"SELECT countIf({place.erase}) AS rows, {of_others} AS named FROM {place.table}"  # noqa: S608
            row = self.client.query_rows(render_for(sql), params)[0]
            held.append(Holding(place.table, place.holds, int(row["rows"]), int(row["named"])))
        identifiers = sorted(
            {
                (item.kind or VISITOR_KIND, item.value, item.key in subject.shared)
                for subject in subjects
                for item in subject.held
            }
        )
        return Finding(tuple(subject.person_id for subject in subjects), tuple(identifiers), tuple(held))

    def export(self, names: Sequence[str], out: IO[bytes], words: Words = ENGLISH) -> dict[str, int]:
        """Write everything that is held about somebody as a zip, and return how many rows each part has.

        Raises as `find`, OSError."""
        return self.hand_over(self.ask(requests.EXPORT, Asked(tuple(names))), out, words)

    def hand_over(self, request: DataRequest, out: IO[bytes], words: Words = ENGLISH) -> dict[str, int]:
        """Write what a request of kind export asks for; it is answered by that. Raises as `export`."""
        if request.kind != requests.EXPORT or request.is_over:
            raise PrivacyError(PrivacyReason.CONFLICT, f"this request is {request.state} and of kind {request.kind}")
        subjects = self.find_subjects(request.asked.names)
        counts = write_takeaway(
            self.client, self.keyring, self.space_id, subjects, out, words=words, now_ms=self.now_ms()
        )
        self._close(request, state=requests.DONE)
        return counts

    def restrict(self, names: Sequence[str], *, restricted: bool) -> DataRequest:
        """Keep what is held about somebody, and let nobody use it; or let it be used again. Raises as `find`."""
        request = self.ask(requests.RESTRICT if restricted else requests.UNRESTRICT, Asked(tuple(names)))
        keys = [key for subject in self.find_subjects(names) for key in (*subject.whole, subject.person_id)]
        set_state(self.client, self.space_id, keys, State.RESTRICTED if restricted else None, now_ms=self.now_ms())
        return self._close(request, state=requests.DONE)

    def object_to(self, names: Sequence[str], purposes: Collection[str]) -> DataRequest:
        """Take back what somebody consented to, for these purposes, under all their identifiers. Raises as `find`."""
        if unknown := set(purposes) - {str(purpose) for purpose in Purpose}:
            known = ", ".join(str(purpose) for purpose in Purpose)
            raise PrivacyError(PrivacyReason.ARGUMENT, f"{min(unknown)!r} is no purpose: there are {known}")
        request = self.ask(requests.OBJECT, Asked(tuple(names), {"purposes": sorted(purposes)}))
        keys = {key for subject in self.find_subjects(names) for key in subject.whole}
        write_withdrawals(
            self.client, self.space_id, keys, purposes, actor=self.actor, proof=request.request_id, now_ms=self.now_ms()
        )
        return self._close(request, state=requests.DONE)

    def correct(self, names: Sequence[str], values: Mapping[str, Any], definitions: Definitions) -> DataRequest:
        """Put values right: what is said here beats all sources. `values`: by trait, None takes a correction back.

        Raises as `find`, TraitRefused where a trait is not declared or a value not of its type."""
        _check(values, definitions)
        request = self.ask(requests.CORRECT, Asked(tuple(names)))
        self._put_right(Asked(tuple(names), dict(values)), definitions)
        return self._close(request, state=requests.DONE)

    def ask_to_correct(self, names: Sequence[str], values: Mapping[str, Any], definitions: Definitions) -> DataRequest:
        """Write down what somebody wants put right; an officer carries it out by approving it. Raises as `correct`."""
        _check(values, definitions)
        return self.ask(requests.CORRECT, Asked(tuple(names), dict(values)), waits=True)

    def ask(self, kind: str, asked: Asked, *, waits: bool = False) -> DataRequest:
        """Write a request down. `waits`: for `approve`, as an erasure does where the settings want a second pair of
        eyes. Raises as `find`."""
        subjects = self.find_subjects(asked.names)
        now_ms = self.now_ms()
        waits = waits or (kind in (requests.ERASE, requests.ANONYMISE) and self.config.privacy_approval)
        request = DataRequest(
            request_id=str(uuid4()),
            kind=kind,
            state=requests.WAITING if waits else requests.OPEN,
            requested_at_ms=now_ms,
            due_at_ms=now_ms + requests.DUE_DAYS * requests.DAY_MS,
            actor=self.actor,
            via=self.via,
            people=len(subjects),
            subjects=msgspec.json.encode(asked).decode(),
            changed_at_ms=now_ms,
        )
        self._note("asked for", request)
        requests.write_request(self.client, self.space_id, request)
        return request

    def approve(self, request_id: str) -> DataRequest:
        """Approve a request that waits for it, as somebody else than who wrote it down. A correction is carried out by
        that. Raises as `read`, TraitRefused where a trait is not declared any more."""
        request = self.read(request_id)
        if request.state != requests.WAITING:
            raise PrivacyError(PrivacyReason.CONFLICT, f"this request is {request.state}: it does not wait")
        if request.actor == self.actor:
            raise PrivacyError(PrivacyReason.CONFLICT, f"{self.actor} wrote it down: somebody else has to approve it")
        if request.kind == requests.CORRECT:
            self._put_right(request.asked, Definitions(read_use(self.config).traits, self.space_id))
        self._note("approved", request)
        if request.kind == requests.CORRECT:
            return self._close(request, state=requests.DONE, approved_by=self.actor)
        return self._change(request, state=requests.OPEN, approved_by=self.actor)

    def refuse(self, request_id: str) -> DataRequest:
        """Refuse a request that has not begun; it then names nobody any more. Raises PrivacyError, StoreError."""
        request = self.read(request_id)
        if request.state not in (requests.WAITING, requests.OPEN):
            raise PrivacyError(
                PrivacyReason.CONFLICT, f"this request is {request.state}: it cannot be refused any more"
            )
        self._note("refused", request)
        return self._close(request, state=requests.REFUSED, reason=f"by {self.actor}")

    def read(self, request_id: str) -> DataRequest:
        """Return a request. Raises PrivacyError where there is none, StoreError."""
        return requests.read_request(self.client, self.space_id, _read_id(request_id))

    def list_requests(self, states: tuple[str, ...] = (), most: int = 100) -> list[DataRequest]:
        """Return requests, what is due first first. Raises StoreError."""
        return requests.list_requests(self.client, self.space_id, states=states, most=most)

    def erase(self, request: DataRequest, watcher: Watcher | None = None) -> tuple[DataRequest, Certificate]:
        """Carry out an erasure, and return the request and the certificate. May be called again until it succeeds.

        Raises PrivacyError, InstanceError, StoreError; the request then stays open and says why.
        """
        with self._lock():
            request = self.read(request.request_id)
            if request.state == requests.DONE:  # somebody else was faster
                return request, msgspec.json.decode(request.certificate, type=Certificate)
            if request.state not in (requests.OPEN, requests.RUNNING, requests.FAILED):
                raise PrivacyError(PrivacyReason.CONFLICT, f"this request is {request.state}: it cannot be carried out")
            told = _Told(self, request, watcher or Silent())
            try:
                asked = told.settle()
                order = Order(
                    request_id=request.request_id,
                    space_id=self.space_id,
                    subjects=asked.found,
                    asked_at_ms=request.requested_at_ms,
                    names=asked.traces or Names(self.space_id, frozenset()),
                    values=self.read_values(asked.names),
                    kind=request.kind,
                    counted=asked.counted,
                )
                erasing = Erasing(self.client, self.config, self.keyring, order, told, told.remember, self.now_ms)
                certificate = erasing.run()
            except TagstitchError as error:
                self._change(told.request, state=requests.OPEN, reason=str(error))
                raise
            text = msgspec.json.encode(certificate).decode()
            self._note("carried out", told.request)
            return self._close(told.request, state=requests.DONE, certificate=text, step="done", reason=""), certificate

    def close(self, request: DataRequest, **fields: object) -> DataRequest:
        """Write the last version of a request, which names nobody any more. Raises StoreError."""
        return self._close(request, **fields)

    # --- inside

    def _put_right(self, asked: Asked, definitions: Definitions) -> None:
        _check(asked.values, definitions)
        for subject in self.find_subjects(asked.names):
            key = find_main_key(subject)
            for name, value in asked.values.items():
                correct(
                    *(self.client, self.keyring, definitions, key, name, value),
                    actor=self.actor,
                    now_ms=self.now_ms(),
                )

    def change(self, request: DataRequest, **fields: object) -> DataRequest:
        """Write the next version of a request. Raises StoreError."""
        return self._change(request, **fields)

    def _change(self, request: DataRequest, **fields: object) -> DataRequest:
        return requests.change_request(self.client, self.space_id, request, self.now_ms(), **fields)

    def _close(self, request: DataRequest, **fields: object) -> DataRequest:
        closed = self._change(request, **fields, subjects="")
        requests.forget_subjects(self.client, self.space_id, closed)
        return closed

    def _note(self, what: str, request: DataRequest) -> None:
        """Write into the audit log what becomes of a request; it names nobody."""
        said = {"request_id": request.request_id, "kind": request.kind, "what": what, "people": request.people}
        audit.write_setting(self.client, self.space_id, audit.REQUEST, self.actor, said, self.now_ms(), via=self.via)

    def find_subjects(self, names: Sequence[str]) -> list[Subject]:
        """Return the people whom these names mean. Raises PrivacyError, RepairError, StoreError."""
        if not names:
            raise PrivacyError(PrivacyReason.ARGUMENT, "say who: KIND=VALUE, such as customer=4711 or visitor=ID")
        keys = [find_identifier(self.client, self.keyring, self.space_id, name).key for name in names]
        subjects = find_subjects(self.client, self.space_id, keys, self.now_ms())
        if len(subjects) > MOST_PEOPLE:
            raise PrivacyError(PrivacyReason.ARGUMENT, f"at most {MOST_PEOPLE:,} people at once: split the list")
        return subjects

    def read_values(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Return kind and normal form of what was named by its value."""
        kinds = read_kinds(self.client, self.space_id)
        found = []
        for name in names:
            kind, sign, value = name.strip().partition("=")
            if sign and kind not in (VISITOR_KIND, PERSON_KIND):
                found += [
                    (kind, normal) for form in kinds.get(kind, ()) if (normal := normalise(form, value)) is not None
                ]
        return found

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the host's lock. A command on a host without an instance needs none."""
        folder = self.config.data_path / "run"
        if not folder.parent.is_dir():
            yield
            return
        disk.make_folder(folder)
        deadline = time.monotonic() + self.patience_s
        while (lock := disk.take_lock(folder / LOCK_NAME)) is None:
            if time.monotonic() >= deadline:
                raise PrivacyError(PrivacyReason.BUSY, "another request is being carried out here: try again later")
            time.sleep(LOCK_LOOK_S)
        try:
            yield
        finally:
            disk.close(lock)


def _check(values: Mapping[str, Any], definitions: Definitions) -> None:
    for name, value in values.items():
        if value is not None:
            definitions.check(name, value)


def _read_id(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise PrivacyError(PrivacyReason.ARGUMENT, "this is no id of a request: `tagstitch privacy requests`") from None


class _Told:
    """Writes the step into the request, and tells who watches."""

    def __init__(self, desk: PrivacyDesk, request: DataRequest, watcher: Watcher) -> None:
        self.request = request
        self._desk = desk
        self._watcher = watcher

    def settle(self) -> Asked:
        """Return whom the request is about, found once and written down: later the same names are somebody new's."""
        asked, desk = self.request.asked, self._desk
        if not asked.found:
            found = tuple(desk.find_subjects(asked.names))
            asked = msgspec.structs.replace(
                asked, found=found, traces=read_names(desk.client, desk.space_id, found), counted={}
            )
            self._keep(asked)
        return asked

    def remember(self, counts: Mapping[str, Counted]) -> None:
        """Write down what there was, at the first try."""
        if not self.request.asked.counted:
            self._keep(msgspec.structs.replace(self.request.asked, counted=dict(counts)))

    def _keep(self, asked: Asked) -> None:
        self.request = self._desk.change(self.request, subjects=msgspec.json.encode(asked).decode())

    def begin(self, step: str) -> None:
        """A step begins."""
        self.request = self._desk.change(self.request, state=requests.RUNNING, step=step)
        self._watcher.begin(step)

    def advance(self, done: int, total: int) -> None:
        """So much of the step is done."""
        self._watcher.advance(done, total)
