"""Changing keys in the file of secrets: put in, put in front, taken out. For commands; the roles only read.

A file is written anew whole or not at all, for the same owner, by one changer at a time; what this version does not
know stays in it. Hosts have copies of the file, and a role reads its copy when it starts and at `tagstitch reload`. So
a key of tagged links first waits behind the others, where it verifies and signs nothing; once every host knows it, it
goes to the front. Nothing is then ever signed that some host takes for a forgery.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from collector.errors import KeyringError
from collector.keyring import (
    ENVIRONMENT_NAME,
    Key,
    Keyring,
    LinkKey,
    PersonalKey,
    make_link_key,
    make_personal_key,
    read_keyring,
)

DAY_MS = 86_400_000
LINK_GRACE_DAYS = 396.0
"""As long as the tokens of recipients live: what was minted on the last day works to its end."""


def add_personal_key(path: Path, now_ms: int, environ: Mapping[str, str] | None = None) -> Keyring:
    """Put a fresh personal key in front of the others in the file, and return the new secrets.

    Raises KeyringError where keys rotate already, or the file cannot be changed.
    """

    def add(keyring: Keyring) -> list[PersonalKey]:
        newest = keyring.personal_keys[0]
        if len(keyring.personal_keys) > 1:
            raise KeyringError(f"personal keys rotate already, to {newest.id}: `tagstitch key finish-rotation` first")
        made = make_personal_key(now_ms)
        while made.id == newest.id:
            made = make_personal_key(now_ms)
        return [made, newest]

    return _change_keys(path, "personal_keys", add, environ)


def drop_personal_keys(path: Path, newest_id: str, environ: Mapping[str, str] | None = None) -> Keyring:
    """Take every personal key but this one, the newest, out of the file, and return the new secrets.

    Raises KeyringError where another one is the newest by now, or the file cannot be changed.
    """

    def drop(keyring: Keyring) -> list[PersonalKey]:
        if keyring.personal_keys[0].id != newest_id:
            raise KeyringError("the personal keys were changed meanwhile: look with `tagstitch key rotation`")
        return keyring.personal_keys[:1]

    return _change_keys(path, "personal_keys", drop, environ)


def add_link_key(path: Path, now_ms: int, environ: Mapping[str, str] | None = None) -> Keyring:
    """Put a fresh key of links behind the one that signs, to wait there, and return the new secrets.

    Raises KeyringError where one waits already, or the file cannot be changed.
    """

    def add(keyring: Keyring) -> list[LinkKey]:
        waiting = find_waiting(keyring)
        if waiting is not None:
            raise KeyringError(f"link key {waiting.id} waits already: `tagstitch key rotate-links` puts it in front")
        first, *others = keyring.link_keys
        made = make_link_key(now_ms)
        while any(made.id == key.id for key in keyring.link_keys):
            made = make_link_key(now_ms)
        return [first, msgspec.structs.replace(made, waits=True), *others]

    return _change_keys(path, "link_keys", add, environ)


def activate_link_key(
    path: Path, now_ms: int, grace_days: float = LINK_GRACE_DAYS, environ: Mapping[str, str] | None = None
) -> Keyring:
    """Put the key of links that waits in front, and return the new secrets.

    What the others have signed ties for `grace_days` more, or as long as it had, where that is less. Raises
    KeyringError where none waits, or the file cannot be changed.
    """
    end_ms = max(1, now_ms + round(grace_days * DAY_MS))

    def activate(keyring: Keyring) -> list[LinkKey]:
        waiting = find_waiting(keyring)
        if waiting is None:
            raise KeyringError("no link key waits: `tagstitch key rotate-links` makes one")
        others = (key for key in keyring.link_keys if key is not waiting)
        ended = [msgspec.structs.replace(key, until_ms=min(key.until_ms or end_ms, end_ms)) for key in others]
        return [msgspec.structs.replace(waiting, waits=False), *ended]

    return _change_keys(path, "link_keys", activate, environ)


def drop_link_key(
    path: Path, key_id: str, now_ms: int, *, force: bool = False, environ: Mapping[str, str] | None = None
) -> Keyring:
    """Take a key of links out of the file, and return the new secrets: whatever it signed is a forgery from then on.

    Raises KeyringError where there is none of this id, where it signs, or where its end is not over, unless `force`.
    """

    def drop(keyring: Keyring) -> list[LinkKey]:
        check_drop(keyring, key_id, now_ms, force=force)
        return [key for key in keyring.link_keys if key.id != key_id]

    return _change_keys(path, "link_keys", drop, environ)


def check_drop(keyring: Keyring, key_id: str, now_ms: int, *, force: bool) -> LinkKey:
    """Return the key of links that is to be taken out. Raises as `drop_link_key`."""
    found = next((key for key in keyring.link_keys if key.id == key_id), None)
    if found is None:
        raise KeyringError(f"there is no link key {key_id}: `tagstitch key links` lists them")
    if found is keyring.link_keys[0]:
        raise KeyringError(f"link key {key_id} signs: put another in front with `tagstitch key rotate-links`")
    if not found.waits and not force and not 0 < found.until_ms <= now_ms:
        raise KeyringError(f"what link key {key_id} has signed is not over: wait, or say --force")
    return found


def find_waiting(keyring: Keyring) -> LinkKey | None:
    """Return the key of links that verifies and does not sign yet, or None."""
    return next((key for key in keyring.link_keys[1:] if key.waits), None)


def _change_keys(
    path: Path,
    field: Literal["personal_keys", "link_keys"],
    change: Callable[[Keyring], Sequence[Key]],
    environ: Mapping[str, str] | None,
) -> Keyring:
    """Write the file anew with other keys in this field."""
    environ = os.environ if environ is None else environ
    if environ.get(ENVIRONMENT_NAME):
        raise KeyringError(
            f"the secrets are in {ENVIRONMENT_NAME}, which a command cannot change: put them into a file, name it with "
            "`--set secrets_file=FILE`, change that, and bring its text back"
        )
    path = path.resolve()  # a link stays one
    folder = os.open(path.parent, os.O_RDONLY)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = change(read_keyring(path, environ))
        document: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        document[field] = msgspec.to_builtins(keys)
        owner = path.stat()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # root rotates, the roles go on reading
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        os.fsync(folder)
    except OSError as error:
        raise KeyringError(f"secrets {path} cannot be changed: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
        os.close(folder)
    return read_keyring(path, environ)
