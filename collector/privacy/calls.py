"""What a program may ask about somebody's data, as one struct, and how it is carried out, with its own connection."""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collector.config import Config
from collector.errors import PrivacyError, PrivacyReason
from collector.identity.names import MAX_NAME_CHARS
from collector.keyring import Keyring
from collector.privacy import requests
from collector.privacy.confirming import MadeLink, make_link
from collector.privacy.desk import Finding, PrivacyDesk
from collector.privacy.requests import Asked, DataRequest
from collector.privacy.words import LANGUAGES
from collector.profiles.definitions import Definitions
from collector.store.client import open_client

MAX_NAMES = 1_000
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request for somebody. `names`: KIND=VALUE, or the id of a person or a visitor; of an erasure up to MAX_NAMES.

    `purposes`: of an objection. `traits`: of a correction, null takes one back. `dry_run`: say who is meant and what is
    held, and write nothing down.
    """

    kind: Literal["erase", "anonymise", "export", "correct", "restrict", "unrestrict", "object"]
    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_NAMES)]
    purposes: tuple[str, ...] = ("marketing",)
    traits: dict[str, Any] = {}
    dry_run: bool = False


class Shown(msgspec.Struct, frozen=True):
    """A request, as the API shows it: whom it is about is not in it. Times in milliseconds since 1970.

    `wanted`: of a correction that waits, the traits as the person wants them. `certificate`: of an erasure that was
    carried out, signed.
    """

    request_id: str
    kind: str
    state: str
    requested_at_ms: int
    due_at_ms: int
    changed_at_ms: int
    people: int
    actor: str
    approved_by: str
    step: str
    reason: str
    wanted: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None


class Listed(msgspec.Struct, frozen=True):
    """Requests, what is due first first."""

    requests: tuple[Shown, ...]


def make_call(
    config: Config, keyring: Keyring, space_id: str, actor: str, definitions: Definitions, call: Call
) -> Finding | Shown:
    """Carry a call out, or write it down where that takes long. Raises PrivacyError, RepairError, TraitRefused,
    StoreError."""
    with open_client(config, keyring, "writer") as client:
        desk = PrivacyDesk(client, config, keyring, space_id, actor, "api")
        if call.dry_run:
            return desk.find(call.names)
        match call.kind:
            case "erase" | "anonymise" | "export":
                return show(desk.ask(call.kind, Asked(call.names)))
            case "correct":
                if not call.traits:
                    raise PrivacyError(PrivacyReason.ARGUMENT, 'say which traits: {"traits": {"city": "Bremen"}}')
                return show(desk.correct(call.names, call.traits, definitions))
            case "object":
                return show(desk.object_to(call.names, call.purposes))
            case _:
                return show(desk.restrict(call.names, restricted=call.kind == requests.RESTRICT))


def answer_list(config: Config, keyring: Keyring, space_id: str, states: tuple[str, ...]) -> Listed:
    """Return the requests of a space. Raises PrivacyError, StoreError."""
    if unknown := set(states) - set(requests.STATES):
        raise PrivacyError(PrivacyReason.ARGUMENT, f"{min(unknown)!r} is no state: {', '.join(requests.STATES)}")
    with open_client(config, keyring, "writer") as client:
        found = requests.list_requests(client, space_id, states=states)
        return Listed(tuple(show(request) for request in found))


def answer_one(config: Config, keyring: Keyring, space_id: str, actor: str, request_id: str, step: str) -> Shown:
    """Return a request, after `step` where that is approve or refuse. Raises PrivacyError, StoreError."""
    with open_client(config, keyring, "writer") as client:
        desk = PrivacyDesk(client, config, keyring, space_id, actor, "api")
        if step == "approve":
            return show(desk.approve(request_id))
        if step == "refuse":
            return show(desk.refuse(request_id))
        return show(desk.read(request_id))


def answer_link(config: Config, keyring: Keyring, space_id: str, actor: str, request_id: str) -> MadeLink:
    """Return the confirmation link of a request of kind link, to be sent to whom it names. Raises as `answer_one`."""
    with open_client(config, keyring, "writer") as client:
        return make_link(PrivacyDesk(client, config, keyring, space_id, actor, "api"), request_id)


def answer_export(config: Config, keyring: Keyring, space_id: str, actor: str, request_id: str, language: str) -> bytes:
    """Return the zip of a request of kind export that is open; it is answered by that. Raises as `answer_one`."""
    words = LANGUAGES.get(language)
    if words is None:
        raise PrivacyError(PrivacyReason.ARGUMENT, f"there are these languages: {', '.join(LANGUAGES)}")
    with open_client(config, keyring, "writer") as client:
        desk = PrivacyDesk(client, config, keyring, space_id, actor, "api")
        out = io.BytesIO()
        desk.hand_over(desk.read(request_id), out, words)
        return out.getvalue()


def show(request: DataRequest) -> Shown:
    """Return what the API shows of a request."""
    fields = {name: getattr(request, name) for name in Shown.__struct_fields__ if name not in ("certificate", "wanted")}
    certificate = msgspec.json.decode(request.certificate) if request.certificate else None
    wanted = request.asked.values if request.kind == requests.CORRECT and request.subjects else None
    return Shown(**fields, wanted=wanted, certificate=certificate)
