"""Signatures, held against the specification's own example and against code that knows nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from collector.webhooks.signing import BadSecret, make_secret, parse_secret, read_secrets, sign

# Of the specification's reference libraries.
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
EXAMPLE_TIME = 1_614_265_330
EXAMPLE_BODY = b'{"test": 2432232314}'
EXAMPLE_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_specification() -> None:
    """Byte for byte what the reference libraries sign."""
    assert sign([parse_secret(EXAMPLE_SECRET)], EXAMPLE_ID, EXAMPLE_TIME, EXAMPLE_BODY) == EXAMPLE_SIGNATURE


def test_two_secrets_are_two_signatures() -> None:
    """While a secret is changed, whoever has either of them finds the signature that fits."""
    texts = [make_secret(), make_secret()]
    said = sign([parse_secret(text) for text in texts], "id-1", 1_790_000_000, b'{"a":"\xc3\xbc"}').split(" ")
    for text, signature in zip(texts, said, strict=True):
        key = base64.b64decode(text[len("whsec_") :])
        code = hmac.new(key, b'id-1.1790000000.{"a":"\xc3\xbc"}', hashlib.sha256).digest()
        assert signature == "v1," + base64.b64encode(code).decode()


def test_a_new_secret_is_usable() -> None:
    """What the command makes, the configuration takes; no two are the same."""
    assert len(parse_secret(make_secret())) == 32
    assert make_secret() != make_secret()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with whsec_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_***", "no base64"),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), "24 to 64 bytes, and this one 23"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "24 to 64 bytes, and this one 65"),
    ],
)
def test_secrets_that_cannot_be_used(text: str, reason: str) -> None:
    """The reason is told, and never the secret."""
    with pytest.raises(BadSecret, match=reason) as caught:
        parse_secret(text)
    assert len(text) < 10 or text.removeprefix("whsec_") not in str(caught.value)


def test_secrets_come_from_the_environment() -> None:
    """In the order of their names; one that is missing is named."""
    texts = {"NEW": make_secret(), "OLD": make_secret(), "WRONG": "whsec_x"}
    assert read_secrets(["NEW", "OLD"], texts) == [parse_secret(texts["NEW"]), parse_secret(texts["OLD"])]
    with pytest.raises(BadSecret, match="MISSING is not set"):
        read_secrets(["MISSING"], texts)
    with pytest.raises(BadSecret, match="WRONG cannot be used"):
        read_secrets(["WRONG"], texts)
