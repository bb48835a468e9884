"""What a record comes to: its key, its values, and the identifiers that it names.

Two records come to the same digest if and only if there is nothing to write for the second. The digest is keyed: it
stands in the store, and values may be few enough to be guessed. Pure.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import blake2b, sha256
from typing import Any, NamedTuple

import msgspec

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Described, Field, Record
from collector.errors import ConfigError
from collector.identity.identifiers import Named, is_blocked, name_identifier
from collector.identity.normal_forms import normalise
from collector.keyring import Keyring
from collector.privacy.tombstones import NONE, Tombstones
from collector.profiles.definitions import MAX_TEXT_CHARS, NAME, Definitions, TraitType
from collector.sites.book import IdentifierKind

DIGEST_BYTES = 16
PURPOSE = b"tagstitch.records"
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
"""For digests: a source may give its fields in any order."""


class Refused(StrEnum):
    """Why a record is not copied. Closed: the command's answer has these words."""

    KEY = "key"  # it has no key that could be one of its kind
    BLOCKED = "blocked"  # the key names nobody: null, guest, 000
    DOUBLE = "double"  # several records have the key
    ERASED = "erased"  # whoever has this key was erased
    RESTRICTED = "restricted"  # and whose data must not be used


class Tied(NamedTuple):
    """An identifier that a record names. `named.value` as it is stored; `value` in normal form."""

    kind: IdentifierKind
    named: Named
    value: str


class Form(NamedTuple):
    """A record to be copied. `key`: 16 bytes. `values`: by field, those that are taken. `ties`: its key first."""

    key: bytes
    digest: bytes
    values: dict[str, Any]
    ties: tuple[Tied, ...]


class Former:
    """Makes forms of the records of one source. `traits`: what each field becomes; `unfit`: how often a field had a
    value that is not taken."""

    def __init__(
        self,
        config: AdapterConfig,
        described: Described,
        keyring: Keyring,
        kinds: Mapping[str, IdentifierKind],
        definitions: Definitions,
        tombstones: Tombstones = NONE,
        is_fresh: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """`kinds`: of the space, by name. `tombstones`: what was erased: it is not copied again, unless `is_fresh` says
        that whoever has come back has consented since. Raises ConfigError for fields that cannot become what they say.
        """
        self.unfit: Counter[str] = Counter()
        self._config = config
        self._keyring = keyring
        self._kinds = kinds
        self._space_id = config.space
        self._tombstones = tombstones
        self._is_fresh = is_fresh
        self._key_kind = self._find_kind("key_kind", described.key_kind)
        self.traits = {field.name: field.trait or field.name for field in described.fields}
        self._identifiers = {
            field.name: self._find_kind(f"fields.{field.name}.identifier", field.identifier)
            for field in described.fields
            if field.identifier
        }
        for field in described.fields:
            self._check(field, definitions)
        secret = hmac.new(keyring.pseudonym_key.encode(), PURPOSE, sha256).digest()
        # Whatever decides how a record is written is part of what is digested.
        meant = [
            (name, trait, definitions.find(trait).personal, kind.name if (kind := self._identifiers.get(name)) else "")
            for name, trait in self.traits.items()
        ]
        keys = [key.id for key in keyring.personal_keys]
        self._secret = hmac.new(secret, _encode((config.name, self._space_id, meant, keys)), sha256).digest()

    def form(self, record: Record) -> Form | Refused:
        """Return what a record comes to, or why it is not copied. Counts what is left out of it in `unfit`."""
        tied = self._tie(self._key_kind, record.key)
        if not isinstance(tied, Tied):
            return tied
        if record.unfit:
            self.unfit.update(record.unfit)
        values = record.values
        ties: tuple[Tied, ...] = (tied,)
        for name, kind in self._identifiers.items():
            value = values.get(name)
            if value is None:
                continue
            other = self._tie(kind, value if isinstance(value, str) else _encode(value).decode())
            if isinstance(other, Tied):
                ties = (*ties, other)
            else:
                self.unfit[name] += 1
        try:
            said = _encode_sorted(values)
        except (TypeError, ValueError, OverflowError):
            values, said = self._fit(values)
        if len(said) > MAX_TEXT_CHARS:
            values, said = self._fit(values)
        for other in ties[1:]:
            said += other.named.key.encode()
        digest = blake2b(said, digest_size=DIGEST_BYTES, key=self._secret).digest()
        return Form(bytes.fromhex(tied.named.key.replace("-", "")), digest, values, ties)

    def encode(self, values: Mapping[str, Any]) -> dict[str, bytes]:
        """Return the values of a form as JSON, by trait."""
        return {self.traits[name]: _encode(value) for name, value in values.items()}

    def _fit(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return values without those that have no JSON or too much of it, and the JSON of all of them."""
        kept = {}
        for name, value in values.items():
            try:
                if len(_encode(value)) <= MAX_TEXT_CHARS:
                    kept[name] = value
                    continue
            except (TypeError, ValueError, OverflowError):
                pass
            self.unfit[name] += 1
        return kept, _encode_sorted(kept)

    def _tie(self, kind: IdentifierKind, value: str) -> Tied | Refused:
        normal = normalise(kind, value)
        if normal is None:
            return Refused.KEY
        if is_blocked(normal):
            return Refused.BLOCKED
        named = name_identifier(self._keyring, self._space_id, kind, normal, self._tombstones)
        if named.erased_ms and not self._is_fresh(named.key):
            return Refused.ERASED
        return Tied(kind, named, normal)

    def _find_kind(self, setting: str, name: str) -> IdentifierKind:
        if name not in self._kinds:
            known = ", ".join(sorted(self._kinds))
            raise self._refuse(setting, f"space {self._space_id} knows no kind {name}: it has {known}")
        return self._kinds[name]

    def _check(self, field: Field, definitions: Definitions) -> None:
        trait = self.traits[field.name]
        where = f"fields.{field.name}"
        if not NAME.fullmatch(trait):
            raise self._refuse(f"{where}.trait", "a trait's name is of small letters, digits and _")
        if list(self.traits.values()).count(trait) > 1:
            raise self._refuse(f"{where}.trait", f"two fields become the trait {trait}: name one of them otherwise")
        if definitions.is_declared(trait):
            wanted = definitions.find(trait).type
            if wanted is not TraitType.JSON and wanted.value != field.type:
                reason = f"is of type {field.type}, and [traits.{trait}] of type {wanted.value}: make them the same"
                raise self._refuse(where, reason)

    def _refuse(self, setting: str, reason: str) -> ConfigError:
        return ConfigError(f"adapters.{self._config.name}.{setting}", str(self._config.file), reason)
