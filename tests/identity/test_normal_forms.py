"""Normal forms: spellings of one value have one form, and what is no value of its kind has none."""

from __future__ import annotations

import string
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.identity import normal_forms
from collector.identity.normal_forms import ask_library, normalise
from collector.sites.book import IdentifierKind

TEXT = IdentifierKind("customer", normaliser="text")
EMAIL = IdentifierKind("email", normaliser="email", personal=True)
PHONE = IdentifierKind("phone", normaliser="phone", personal=True)
GERMAN_PHONE = IdentifierKind("phone", normaliser="phone", personal=True, region="DE")
ID = IdentifierKind("device", normaliser="uuid")
KINDS = (TEXT, EMAIL, PHONE, GERMAN_PHONE, ID)


@pytest.mark.parametrize(
    ("kind", "value", "normal"),
    [
        (TEXT, " 4711 ", "4711"),
        (TEXT, "Müller", "Müller"),
        (TEXT, "Mu\u0308ller", "Müller"),
        (TEXT, "\ufeff4711\u200b", "4711"),
        (TEXT, "AbC", "AbC"),
        (TEXT, "a\x00b", None),
        (TEXT, "a\nb", None),
        (TEXT, "a\u202eb", None),
        (TEXT, "", None),
        (TEXT, "   ", None),
        (TEXT, "x" * 512, "x" * 512),
        (TEXT, "x" * 513, None),
        (EMAIL, " Joe.Doe+Shop@Example.COM ", "joe.doe+shop@example.com"),
        (EMAIL, "joe@example.com.", "joe@example.com"),
        (EMAIL, "joe@BÜCHER.example", "joe@bücher.example"),
        (EMAIL, "joe@xn--bcher-kva.example", "joe@bücher.example"),
        (EMAIL, "joe@Straße.de", "joe@straße.de"),
        (EMAIL, "WEIẞ@shop.de", "weiß@shop.de"),
        (EMAIL, "MU\u0308LLER@shop.de", "müller@shop.de"),
        (EMAIL, "用户@例子.广告", "用户@例子.广告"),
        (EMAIL, "o'brien@shop.ie", "o'brien@shop.ie"),
        (EMAIL, "joe@EXAMPLE。com", "joe@example.com"),
        (EMAIL, "joe", None),
        (EMAIL, "joe@", None),
        (EMAIL, "@example.com", None),
        (EMAIL, "joe@localhost", None),
        (EMAIL, "joe@intranet.local", None),
        (EMAIL, "joe@example..com", None),
        (EMAIL, "joe.@example.com", None),
        (EMAIL, "joe doe@example.com", None),
        (EMAIL, "joe@@example.com", None),
        (EMAIL, "joe@-x.example", None),
        (EMAIL, "joe@ab--cd.example", None),
        (EMAIL, "joe@a_b.example", None),
        (EMAIL, "joe@192.0.2.1", None),
        (EMAIL, "joe@[192.0.2.1]", None),
        (EMAIL, '"joe doe"@example.com', None),
        (EMAIL, "Joe <joe@example.com>", None),
        (EMAIL, "joe@" + "a" * 64 + ".example", None),
        (EMAIL, "x" * 250 + "@example.com", None),
        (PHONE, "+49 (0)30 123456", "+4930123456"),
        (PHONE, "+49-30/123 456", "+4930123456"),
        (PHONE, "tel:+1.800.356.9377", "+18003569377"),
        (PHONE, "＋４９ ３０ １２３４５６", "+4930123456"),
        (PHONE, "+39 06 12345678", "+390612345678"),
        (PHONE, "030 123456", None),
        (PHONE, "+49 30 123456 ext. 5", None),
        (PHONE, "+49 30 123456;ext=5", None),
        (PHONE, "call +49 30 123456", None),
        (PHONE, "+999 123456", None),
        (PHONE, "+49 1", None),
        (PHONE, "+49 " + "1" * 30, None),
        (PHONE, "+1 800 FLOWERS", None),
        (GERMAN_PHONE, "030 123456", "+4930123456"),
        (GERMAN_PHONE, "0049 30 123456", "+4930123456"),
        (GERMAN_PHONE, "+44 20 7946 0958", "+442079460958"),
        (GERMAN_PHONE, "110", None),
        (ID, "4F6D2C1E-8A3B-4C5D-9E7F-0A1B2C3D4E5F", "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"),
        (ID, "{4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f}", "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"),
        (ID, "urn:uuid:4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f", "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"),
        (ID, "4f6d2c1e", None),
    ],
)
def test_normal_forms(kind: IdentifierKind, value: str, normal: str | None) -> None:
    """Spellings of one value have one normal form; what is no value of the kind has none."""
    assert normalise(kind, value) == normal


ADDRESSES = st.builds(
    "{}@{}".format,
    st.text(st.sampled_from(string.ascii_letters + "0189.+-_'äßÜİﬁ＠ẞΣς\u0308"), max_size=12),
    st.lists(st.text(st.sampled_from("abZ09-_äßÉ。"), min_size=0, max_size=6), min_size=1, max_size=4).map(".".join),
)
NUMBERS = st.text(st.sampled_from("+0123456789 ()-./tel:"), max_size=24)


@given(st.text(max_size=60) | ADDRESSES | NUMBERS, st.sampled_from(KINDS))
@example("ΑΣ@x.de", EMAIL)
def test_a_normal_form_is_final(value: str, kind: IdentifierKind) -> None:
    """Normalising twice changes nothing."""
    normal = normalise(kind, value)
    if normal is not None:
        assert normalise(kind, normal) == normal


PLAIN = st.from_regex(normal_forms._PLAIN_EMAIL, fullmatch=True)
LETTERS = st.text(st.sampled_from("ab0.+-_@testlocalinvalidarpaonionhostx"), max_size=40)


@given(PLAIN | LETTERS | ADDRESSES)
@example("joe@x.test")
@example("joe@test.x-y.de")
@example("a@a.localhost")
@example("_@a.de")
def test_the_quick_way_gives_what_the_library_gives(value: str) -> None:
    """An address that the pattern takes is one to email-validator too, and the same."""
    lower = value.lower()
    if len(lower) <= normal_forms._MAX_PLAIN_CHARS and normal_forms._PLAIN_EMAIL.fullmatch(lower):
        assert ask_library(value) == lower == normalise(EMAIL, value)


def test_a_web_process_without_such_values_loads_neither_library() -> None:
    """Their tables are large; most sites have plain addresses, and no phone numbers."""
    source = (
        "import sys, collector.app\n"
        "from collector.identity.normal_forms import normalise\n"
        "from collector.sites.book import DEFAULT_KINDS\n"
        "assert normalise(DEFAULT_KINDS[1], 'Joe.Doe@Example.com') == 'joe.doe@example.com'\n"
        "print([name for name in ('phonenumbers', 'email_validator') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
