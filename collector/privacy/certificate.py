"""Certificates of erasure: what was erased, where, how many, when and how that was verified; signed, about nobody.

A certificate is JSON. The signature is Ed25519 over the JSON without it, keys sorted, no spaces, by a key that follows
from the instance's secrets; the public key stands in the certificate, and is compared with the instance's own: so
anybody can check that nothing was changed, and the instance that it was its own word.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import msgspec

from collector.keyring import Keyring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1


class Erased(msgspec.Struct, frozen=True):
    """One place. `rows`: that went; `blanked`: that stay, with the person taken out; `left`: found afterwards."""

    place: str
    holds: str
    rows: int
    blanked: int = 0
    left: int = 0


class Certificate(msgspec.Struct, frozen=True, omit_defaults=False):
    """What an erasure did. Times in ISO 8601, UTC. `kind`: erase or anonymise. `public_key`, `signature`: base64."""

    format: int
    instance_id: str
    request_id: str
    space_id: str
    kind: str
    people: int
    identifiers: int
    asked_at: str
    begun_at: str
    done_at: str
    places: tuple[Erased, ...]
    verified: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    public_key: str = ""
    signature: str = ""

    @property
    def left(self) -> int:
        """Rows and files that were found after the erasing; 0 where it is complete."""
        return sum(place.left for place in self.places)


def sign_certificate(keyring: Keyring, certificate: Certificate) -> Certificate:
    """Return it with the public key and the signature."""
    key = make_signing_key(keyring)
    named = msgspec.structs.replace(certificate, public_key=_write_public(key), signature="")
    signature = b64encode(key.sign(_encode(named))).decode()
    return msgspec.structs.replace(named, signature=signature)


def is_genuine(certificate: Certificate) -> bool:
    """Whether nothing of it was changed since it was signed with the key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(certificate.public_key, validate=True))
        key.verify(
            b64decode(certificate.signature, validate=True), _encode(msgspec.structs.replace(certificate, signature=""))
        )
    except (ValueError, InvalidSignature):
        return False
    return True


def is_ours(keyring: Keyring, certificate: Certificate) -> bool:
    """Whether this instance has signed it, and nothing was changed since."""
    return certificate.public_key == _write_public(make_signing_key(keyring)) and is_genuine(certificate)


def _encode(certificate: Certificate) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(certificate), order="sorted")


def make_signing_key(keyring: Keyring) -> Ed25519PrivateKey:
    """Return the key that signs certificates and the chain of the audit log: it follows from the secrets."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = hmac.new(keyring.pseudonym_key.encode(), b"tagstitch.certificate", hashlib.sha256).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def _write_public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()
