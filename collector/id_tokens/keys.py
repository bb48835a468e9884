"""The public keys of the issuers, as one web process knows them: frozen sets in a KeyBook.

A set is replaced whole when the issuer has been asked again; until then the last one stays in force. A key that is
not there is noted, so that whoever polls asks for it soon; who brought a token by it is asked to come again once.
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

PAUSE_S = 60.0
WAIT_MS = 3_000
"""How long after the first token by an unknown key the issuer's answer is waited for. Not longer than senders are told
to wait, so that each is told so once."""


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

    def __init__(
        self, sets: Mapping[Source, KeySet] = MappingProxyType({}), *, pause_s: float = PAUSE_S, may_ask: bool = True
    ) -> None:
        """`pause_s`: an issuer that was asked less than so long ago has no such key. `may_ask`: somebody polls the
        issuers, so that a key that is missed may be there soon."""
        self.sets = sets
        self._pause_ms = int(pause_s * 1000)
        self._may_ask = may_ask
        self._wanted: set[Source] = set()
        self._missed: dict[Source, tuple[int, int]] = {}  # when the set was read that lacked a key, when that was seen

    def find(
        self, issuer: Issuer, key_id: str, algorithm: str, now_ms: int, *, may_wait: bool = True
    ) -> PublicKey | Reason:
        """Return the key by which a token must verify.

        Else `keys`, where the issuer has to be asked first, or `unverified`, where it has no such key, or has not
        answered in WAIT_MS; and at once where the sender could not wait (`may_wait`).
        """
        source = Source(issuer.issuer, issuer.jwks_url)
        key_set = self.sets.get(source)
        public = key_set.find(key_id, algorithm) if key_set is not None else None
        if public is not None:
            return public
        # A set that seems to be of the future was read before the clock was set back: it may be of any age.
        is_fresh = key_set is not None and 0 <= now_ms - key_set.read_at_ms < self._pause_ms
        if is_fresh or not self._may_ask:
            return Reason.UNVERIFIED
        self._wanted.add(source)
        if not may_wait:
            return Reason.UNVERIFIED
        read_at_ms = 0 if key_set is None else key_set.read_at_ms
        lacking, missed_ms = self._missed.get(source, (-1, 0))
        if lacking != read_at_ms or now_ms < missed_ms:
            self._missed[source] = (read_at_ms, now_ms)
            return Reason.KEYS
        return Reason.KEYS if now_ms - missed_ms < WAIT_MS else Reason.UNVERIFIED

    def take_wanted(self) -> set[Source]:
        """Return the sources of which a key was missed since the last call."""
        wanted, self._wanted = self._wanted, set()
        return wanted
