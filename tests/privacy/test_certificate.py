"""Certificates: signed by the instance, and refused when anything of them was changed."""

from __future__ import annotations

import msgspec
import pytest

from collector.keyring import make_keyring
from collector.privacy.certificate import FORMAT, Certificate, Erased, is_genuine, is_ours, sign_certificate

KEYRING = make_keyring()
CERTIFICATE = Certificate(
    format=FORMAT,
    instance_id=KEYRING.instance_id,
    request_id="5f0c9a52-0000-4000-8000-000000000000",
    space_id="main",
    kind="erase",
    people=1,
    identifiers=3,
    asked_at="2026-11-23T10:00:00Z",
    begun_at="2026-11-23T10:00:01Z",
    done_at="2026-11-23T10:00:09Z",
    places=(Erased("events", "what somebody did", 12),),
    verified=("each table was asked again",),
)


def test_a_signed_certificate_is_ours() -> None:
    """It survives being written and read, and another instance sees that it is genuine and not its own."""
    signed = sign_certificate(KEYRING, CERTIFICATE)
    read = msgspec.json.decode(msgspec.json.encode(signed), type=Certificate)
    assert read == signed
    assert is_ours(KEYRING, read)
    assert is_genuine(read)
    assert not is_ours(make_keyring(), read)


@pytest.mark.parametrize(
    "change",
    [
        {"people": 2},
        {"done_at": "2026-11-24T10:00:09Z"},
        {"places": (Erased("events", "what somebody did", 13),)},
        {"verified": ()},
        {"remarks": ("none",)},
        {"signature": ""},
        {"signature": "AAAA"},
        {"public_key": "nonsense"},
        {"public_key": sign_certificate(make_keyring(), CERTIFICATE).public_key},
    ],
)
def test_a_changed_certificate_is_not_genuine(change: dict[str, object]) -> None:
    """Whatever is changed, the signature does not fit any more."""
    signed = msgspec.structs.replace(sign_certificate(KEYRING, CERTIFICATE), **change)
    assert not is_genuine(signed)
    assert not is_ours(KEYRING, signed)
