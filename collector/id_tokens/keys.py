"""The public keys of the issuers, as one web process knows them: frozen sets in a KeyBook.

A set is replaced whole when the issuer has been asked again; until then the last one stays in force. A key that is
not there is noted, so that whoever polls asks for it soon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from collector.reasons import Reason
from collector.sites.book import Issuer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PublicKey: TypeAlias = "RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey"

FAMILY_BY_ALGORITHM = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}
"""The signature algorithms that an issuer may use, and the keys that fit. Secrets and `none` are not among them."""

ASK_AGAIN_MS = 60_000
"""An issuer that has just been asked has no such key: then a token that names one is forged."""


class Source(NamedTuple):
    """Where keys come from: an issuer, and the address of its keys where the site names one."""

    issuer: str
    jwks_url: str = ""


class IssuerKey(NamedTuple):
    """One public key. `algorithm`: the only one that it is for; "" for any that fits its family."""

    key_id: str
    family: str
    algorithm: str
    public: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys of one source. `members`: as they were published, to be kept on disk. `read_at_ms`: when."""

    members: tuple[Mapping[str, str], ...]
    keys: tuple[IssuerKey, ...]
    read_at_ms: int

    def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """Return the key of this id. A token may leave the id out where only one key fits."""
        family = FAMILY_BY_ALGORITHM.get(algorithm)
        fit = [
            key
            for key in self.keys
            if key.family == family and key.algorithm in ("", algorithm) and key_id in ("", key.key_id)
        ]
        return fit[0].public if fit and (key_id or len(fit) == 1) else None


class KeyBook:
    """What a web process knows of all issuers. Sets are replaced by one assignment; reading costs nothing."""

    def __init__(self, sets: Mapping[Source, KeySet] = MappingProxyType({})) -> None:
        self.sets = sets
        self._wanted: set[Source] = set()

    def find(self, issuer: Issuer, key_id: str, algorithm: str, now_ms: int) -> PublicKey | Reason:
        """Return the key by which a token must verify.

        Else `signature`, where the issuer has no such key, or `keys`, where it has to be asked first.
        """
        source = Source(issuer.issuer, issuer.jwks_url)
        key_set = self.sets.get(source)
        public = key_set.find(key_id, algorithm) if key_set is not None else None
        if public is not None:
            return public
        # A set that seems to be of the future was read before the clock was set back: it may be of any age.
        if key_set is not None and 0 <= now_ms - key_set.read_at_ms < ASK_AGAIN_MS:
            return Reason.SIGNATURE
        self._wanted.add(source)
        return Reason.KEYS

    def take_wanted(self) -> set[Source]:
        """Return the sources of which a key was missed since the last call."""
        wanted, self._wanted = self._wanted, set()
        return wanted
