"""ID tokens and a site's own tokens: what is believed, and every way in which one can be wrong."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from collector.id_tokens.check import MAX_TOKEN_CHARS, Vouched, check_token
from collector.id_tokens.key_sets import read_key_set
from collector.id_tokens.keys import KeyBook, Source
from collector.reasons import Reason
from collector.sites.book import Issuer
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, SITE
from tests.id_tokens.token_makers import (
    AUDIENCE,
    DOCUMENT,
    ISSUER,
    KEY_BY_ID,
    MEMBERS,
    OTHER_RSA_KEY,
    RSA_KEY,
    make_claims,
    make_token,
)

OURS = Issuer(ISSUER, AUDIENCE)
WITH_ISSUER = msgspec.structs.replace(SITE, issuers=(OURS,))
GOOD = Vouched("customer", "4711", ISSUER)
NOT_VERIFIED = Vouched("customer", "4711", is_verified=False)
OTHER_SET = json.dumps(
    {"keys": [{**RSAAlgorithm.to_jwk(OTHER_RSA_KEY.public_key(), as_dict=True), "kid": "theirs"}]}
).encode()
SECRET = KEYRING.derive_identify_secret("shop", 2)


def book(read_at_ms: int = NOW_MS, document: bytes = DOCUMENT) -> KeyBook:
    """Return a book that knows the issuer's keys."""
    return KeyBook({Source(ISSUER): read_key_set(document, read_at_ms)})


def check(token: str, *issuers: Issuer, keys: KeyBook | None = None, **more: Any) -> Any:
    """Judge a token on a site with these issuers. What it is known by has a test of its own."""
    answer = check_whole(token, *issuers, keys=keys, **more)
    return answer._replace(token_id="") if isinstance(answer, Vouched) else answer


def check_whole(
    token: str,
    *issuers: Issuer,
    keys: KeyBook | None = None,
    kind: str = "",
    nonce: str = "",
    now_ms: int = NOW_MS,
) -> Any:
    """Judge a token on a site with these issuers."""
    site = msgspec.structs.replace(SITE, issuers=issuers or (OURS,))
    return check_token(token, site, KEYRING, keys or book(), now_ms, kind, nonce)


def make_site_token(*, secret: str = SECRET, head: dict[str, Any] | None = None, **changes: Any) -> str:
    """Return a token as the site's back end makes it."""
    claims = {"iss": "shop", "sub": "4711", "exp": NOW_S + 3600, **changes}
    return jwt.encode({n: v for n, v in claims.items() if v is not None}, secret, "HS256", head)


def encode(part: Any) -> str:
    """Return a part of a token, signed by nobody."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# --- ID tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key_id", "algorithm"),
    [
        *(("rsa", name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        *(("p256", "ES256"), ("p384", "ES384"), ("ed", "EdDSA")),
    ],
)
def test_every_algorithm_of_the_list_verifies(key_id: str, algorithm: str) -> None:
    """What issuers sign with is taken, and the claim names the customer."""
    assert check(make_token(key_id=key_id, algorithm=algorithm)) == GOOD


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, GOOD),
        ({"iss": "https://evil.example"}, Reason.SIGNATURE),
        ({"iss": f"{ISSUER}/"}, Reason.SIGNATURE),
        ({"iss": None}, Reason.SIGNATURE),
        ({"iss": [ISSUER]}, Reason.SIGNATURE),
        ({"aud": "somebody-else"}, Reason.SIGNATURE),
        ({"aud": None}, Reason.SIGNATURE),
        ({"aud": {}}, Reason.SIGNATURE),
        ({"aud": []}, Reason.SIGNATURE),
        ({"aud": [AUDIENCE]}, GOOD),
        ({"aud": [AUDIENCE, "other"]}, Reason.SIGNATURE),
        ({"aud": [AUDIENCE, "other"], "azp": "other"}, Reason.SIGNATURE),
        ({"aud": [AUDIENCE, "other"], "azp": AUDIENCE}, GOOD),
        ({"aud": [AUDIENCE] * 17, "azp": AUDIENCE}, Reason.SIGNATURE),
        ({"exp": None}, Reason.SIGNATURE),
        ({"exp": "1795003600"}, Reason.SIGNATURE),
        ({"exp": True}, Reason.SIGNATURE),
        ({"exp": NOW_S - 60}, Reason.EXPIRED),
        ({"exp": NOW_S - 59}, GOOD),
        ({"exp": NOW_S + 0.5}, GOOD),
        ({"iat": None}, Reason.SIGNATURE),
        ({"iat": NOW_S + 61}, Reason.SIGNATURE),
        ({"iat": NOW_S + 59}, GOOD),
        ({"iat": NOW_S - 86_400 - 60, "exp": NOW_S + 10**9}, Reason.EXPIRED),
        ({"iat": NOW_S - 86_400, "exp": NOW_S + 10**9}, GOOD),
        ({"nbf": NOW_S + 61}, Reason.SIGNATURE),
        ({"nbf": NOW_S + 59}, GOOD),
        ({"nbf": "soon"}, Reason.SIGNATURE),
        ({"sub": None}, Reason.SIGNATURE),
        ({"sub": ""}, Reason.SIGNATURE),
        ({"sub": 4711}, GOOD),
        ({"sub": True}, Reason.SIGNATURE),
        ({"sub": ["4711"]}, Reason.SIGNATURE),
    ],
)
def test_claims(changes: dict[str, Any], expected: object) -> None:
    """Each claim is checked, and a wrong one costs the token."""
    assert check(make_token(make_claims(**changes))) == expected


def test_a_token_of_another_key_is_forged() -> None:
    """Signed by whoever, with the right id in its head."""
    assert check(make_token(key=OTHER_RSA_KEY)) is Reason.SIGNATURE


def test_the_head_cannot_choose_how_it_is_verified() -> None:
    """`none`, a public key taken as a secret, and keys that the token brings along are refused."""
    claims = make_claims()
    assert check(f"{encode({'alg': 'none'})}.{encode(claims)}.") is Reason.SIGNATURE
    assert check(jwt.encode(claims, None, "none")) is Reason.SIGNATURE
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    import hashlib
    import hmac

    signed = f"{encode({'alg': 'HS256', 'kid': 'rsa'})}.{encode(claims)}"
    confused = f"{signed}.{encode(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"
    assert check(confused) is Reason.SIGNATURE
    own = {"jwk": MEMBERS[0], "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert"}
    assert check(make_token(key=OTHER_RSA_KEY, head=own)) is Reason.SIGNATURE
    for algorithm in ("HS384", "HS512"):
        assert check(jwt.encode(make_claims(iss="shop"), SECRET, algorithm)) is Reason.SIGNATURE


def test_a_key_verifies_its_own_algorithm_only() -> None:
    """A key that says what it is for is used for that; curves are not mixed."""
    document = json.dumps({"keys": [{**MEMBERS[0], "alg": "PS256"}]}).encode()
    assert check(make_token(algorithm="PS256"), keys=book(document=document)) == GOOD
    assert check(make_token(algorithm="RS256"), keys=book(document=document)) == NOT_VERIFIED
    assert check(make_token(key=KEY_BY_ID["p256"], key_id="p384", algorithm="ES256")) == NOT_VERIFIED


@pytest.mark.parametrize("name", ["crit", "b64", "zip", "enc"])
def test_heads_that_change_the_reading_are_refused(name: str) -> None:
    """Whatever would make others read the token in another way than we do."""
    head = {"alg": "RS256", "kid": "rsa", name: ["x"] if name == "crit" else "DEF" if name != "b64" else True}
    signed = f"{encode(head)}.{encode(make_claims())}"
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature = RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert check(f"{signed}.{encode(signature)}") is Reason.SIGNATURE


def test_a_key_of_another_issuer_is_none_of_this_ones() -> None:
    """Each issuer's keys count for its own tokens only, whatever `kid` says."""
    other = "https://login.other.example"
    keys = KeyBook({Source(ISSUER): read_key_set(DOCUMENT, NOW_MS), Source(other): read_key_set(OTHER_SET, NOW_MS)})
    both = (OURS, Issuer(other, AUDIENCE))
    of_other = make_claims(iss=other)
    assert check(make_token(of_other, key=OTHER_RSA_KEY, key_id="theirs"), *both, keys=keys) == GOOD._replace(
        actor=other
    )
    assert check(make_token(key=OTHER_RSA_KEY, key_id="theirs"), *both, keys=keys) == NOT_VERIFIED
    assert check(make_token(of_other), *both, keys=keys) == NOT_VERIFIED
    assert check(make_token(key=OTHER_RSA_KEY, key_id="rsa"), *both, keys=keys) is Reason.SIGNATURE


def test_without_a_key_id_the_only_key_that_fits_is_taken() -> None:
    """Two keys that fit need the id."""
    assert check(make_token(key_id=None)) == GOOD
    document = json.dumps({"keys": [MEMBERS[0], {**MEMBERS[0], "kid": "second"}]}).encode()
    assert check(make_token(key_id=None), keys=book(document=document)) == NOT_VERIFIED


def test_a_key_that_is_not_there_is_asked_for() -> None:
    """Keys never read, or read a while ago: `keys`, and the issuer is noted. Read just now: there is no such key, and
    the token says no more than any text does."""
    empty = KeyBook()
    assert check(make_token(), keys=empty) is Reason.KEYS
    assert empty.take_wanted() == {Source(ISSUER)}
    assert empty.take_wanted() == set()
    token = make_token(key=RSA_KEY, key_id="next")
    old, fresh = book(NOW_MS - 60_000), book(NOW_MS - 59_999)
    assert (check(token, keys=old), old.take_wanted()) == (Reason.KEYS, {Source(ISSUER)})
    assert (check(token, keys=fresh), fresh.take_wanted()) == (NOT_VERIFIED, set())


def test_the_issuer_is_waited_for_once() -> None:
    """For three seconds from the first such token on; then it counts as unsigned until keys have been read again."""
    keys = book(NOW_MS - 100_000)
    token = make_token(key=RSA_KEY, key_id="next")

    def ask(after_ms: int) -> Any:
        return check(token, keys=keys, now_ms=NOW_MS + after_ms)

    assert [ask(ms) for ms in (0, 2999, 3000, 50_000)] == [Reason.KEYS, Reason.KEYS, NOT_VERIFIED, NOT_VERIFIED]
    keys.sets = book(NOW_MS + 50_000).sets
    assert [ask(ms) for ms in (50_001, 110_000)] == [NOT_VERIFIED, Reason.KEYS]
    keys.sets = book(NOW_MS + 200_000).sets  # read by a clock that was set back since
    assert [ask(ms) for ms in (3000, 6000)] == [Reason.KEYS, NOT_VERIFIED]
    unpolled = KeyBook(may_ask=False)
    assert (check(make_token(), keys=unpolled), unpolled.take_wanted()) == (NOT_VERIFIED, set())


def test_only_a_token_for_us_makes_us_ask() -> None:
    """A token of a foreign issuer or for somebody else is refused before anybody is asked."""
    keys = KeyBook()
    assert check(make_token(make_claims(aud="other")), keys=keys) is Reason.SIGNATURE
    assert check(make_token(make_claims(iss="https://evil.example")), keys=keys) is Reason.SIGNATURE
    assert keys.take_wanted() == set()


def test_the_issuer_says_which_kind() -> None:
    """The tag's `customer` means: as the token says. Any other kind must be the issuer's."""
    login = Issuer(ISSUER, AUDIENCE, kind="login")
    vouched = Vouched("login", "4711", ISSUER)
    assert [check(make_token(), login, kind=kind) for kind in ("", "customer", "login")] == [vouched] * 3
    assert check(make_token(), login, kind="email") is Reason.SIGNATURE
    both = (login, Issuer(ISSUER, AUDIENCE, claim="number"))
    token = make_token(make_claims(number="99"))
    assert check(token, *both, kind="customer") == Vouched("customer", "99", ISSUER)
    assert check(token, *both, kind="") == vouched


def test_an_unverified_address_names_nobody() -> None:
    """Anybody can enter a stranger's address at many an issuer, so it counts only where the issuer has checked it."""
    issuer = Issuer(ISSUER, AUDIENCE, kind="email", claim="email")
    for verified, expected in ((True, "joe@shop.example"), ("true", "joe@shop.example"), (False, None), (None, None)):
        answer = check(make_token(make_claims(email="joe@shop.example", email_verified=verified)), issuer)
        assert answer == (Vouched("email", expected, ISSUER) if expected else Reason.SIGNATURE)


@pytest.mark.parametrize(
    ("claims", "methods", "mfa"),
    [
        ({}, "", False),
        ({"amr": ["pwd"]}, "pwd", False),
        ({"amr": ["pwd", "otp"]}, "otp pwd", True),
        ({"amr": ["mfa"]}, "mfa", True),
        ({"amr": ["pwd", "pin"]}, "pin pwd", False),
        ({"amr": ["otp", "sms"]}, "otp sms", False),
        ({"amr": ["hwk", "fpt", "user"]}, "fpt hwk user", True),
        ({"amr": "mfa"}, "", False),
        ({"amr": [["mfa"], 1, None, "a b", "x" * 33, "joe@shop.example"]}, "", False),
        ({"amr": [f"m{n}" for n in range(40)]}, "m0 m1 m10 m11 m12 m13 m14 m15", False),
        ({"acr": "gold"}, "", True),
        ({"acr": "silver"}, "", False),
        ({"acr": ""}, "", False),
        ({"acr": ["gold"]}, "", False),
        ({"acr": "https://refeds.org/profile/mfa"}, "", True),
    ],
)
def test_more_than_one_factor_is_a_flag(claims: dict[str, Any], methods: str, mfa: bool) -> None:
    """From the methods and the class of the sign-in, in an ID token and in one of the site's own."""
    gold = Issuer(ISSUER, AUDIENCE, mfa_acr="gold")
    assert check(make_token(make_claims(**claims)), gold)[3:5] == (methods, mfa)
    own = check(make_site_token(**claims))
    assert own[3:5] == (methods, mfa and claims.get("acr") != "gold")


def test_an_issuer_without_a_class_of_its_own_has_none() -> None:
    """No `mfa=`: an empty `acr` means nothing."""
    assert check(make_token(make_claims(acr="")))[4] is False


def test_a_token_is_for_the_request_that_the_page_made() -> None:
    """Where the page says which nonce it had asked for, a token with another one or without is not its own."""
    for token in (make_token(make_claims(nonce="n-1")), make_site_token(nonce="n-1")):
        assert isinstance(check(token, nonce="n-1"), Vouched)
        assert isinstance(check(token), Vouched)
        assert check(token, nonce="n-2") is Reason.SIGNATURE
    assert check(make_token(), nonce="n-1") is Reason.SIGNATURE
    assert check(make_token(make_claims(nonce=["n-1"])), nonce="n-1") is Reason.SIGNATURE


def test_what_a_token_is_known_by() -> None:
    """By its id of this issuer, else by itself; a site's own token by its id alone, because two may be alike."""

    def name(**changes: Any) -> str:
        answer = check_whole(make_token(make_claims(**changes)))
        assert isinstance(answer, Vouched)
        return answer.token_id

    assert name(jti="1") == name(jti="1", iat=NOW_S - 20) != name(jti="2")
    assert name() == name() != name(iat=NOW_S - 20)
    assert len(name()) == len(name(jti="1")) == 32
    assert name(jti="") == name(jti="")
    again = (
        check_whole(make_token(key_id="p256", algorithm="ES256")),
        check_whole(make_token(key_id="p256", algorithm="ES256")),
    )
    assert again[0] == again[1]  # ES256 signs the same in another way each time
    own = [check_whole(make_site_token(**claims)).token_id for claims in ({}, {"jti": ""}, {"jti": "1"})]
    assert (own[:2], len(own[2])) == (["", ""], 32)
    assert own[2] != name(jti="1")


def test_a_token_has_a_bound() -> None:
    """8 KiB; a longer one is not even opened."""
    token = make_token(make_claims(filler="x" * 5000))
    assert (len(token) < MAX_TOKEN_CHARS, check(token)) == (True, GOOD)
    assert check(make_token(make_claims(filler="x" * 7000))) is Reason.SIZE


# --- a site's own tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Vouched("customer", "4711")),
        ({"sub": 4711}, Vouched("customer", "4711")),
        ({"kind": "email", "sub": "joe@shop.example"}, Vouched("email", "joe@shop.example")),
        ({"kind": 1}, Reason.SIGNATURE),
        ({"sub": None}, Reason.SIGNATURE),
        ({"iss": "blog"}, Reason.SIGNATURE),
        ({"iss": None}, Reason.SIGNATURE),
        ({"exp": None}, Reason.SIGNATURE),
        ({"exp": NOW_S + 86_400 + 61}, Reason.SIGNATURE),
        ({"exp": NOW_S + 86_400}, Vouched("customer", "4711")),
        ({"exp": NOW_S - 60}, Reason.EXPIRED),
        ({"nbf": NOW_S + 61}, Reason.SIGNATURE),
        ({"iat": NOW_S + 61}, Reason.SIGNATURE),
        ({"iat": NOW_S - 10**6}, Vouched("customer", "4711")),
        ({"secret": KEYRING.derive_identify_secret("blog", 2)}, Reason.SIGNATURE),
        ({"secret": KEYRING.derive_identify_secret("shop", 3)}, Reason.SIGNATURE),
        ({"secret": KEYRING.derive_identify_secret("shop", 1)}, Vouched("customer", "4711")),
        ({"head": {"kid": "2"}}, Vouched("customer", "4711")),
        ({"head": {"kid": "1"}}, Reason.SIGNATURE),
        ({"head": {"kid": "rsa"}}, Reason.SIGNATURE),
    ],
)
def test_a_sites_own_token(changes: dict[str, Any], expected: object) -> None:
    """Signed with a signing secret in force, for this site, for a day at most."""
    assert check(make_site_token(**changes)) == expected


def test_a_sites_own_token_is_for_its_kind() -> None:
    """A page cannot use it for another kind of identifier."""
    token = make_site_token(kind="email", sub="joe@shop.example")
    assert check(token, kind="email") == check(token, kind="customer") == Vouched("email", "joe@shop.example")
    assert check(token, kind="login") is Reason.SIGNATURE


def test_a_site_without_secret_takes_no_token_of_its_own() -> None:
    """No version in force: nothing verifies."""
    bare = msgspec.structs.replace(SITE, identify_versions=())
    assert check_token(make_site_token(), bare, KEYRING, KeyBook(), NOW_MS) is Reason.SIGNATURE


# --- anything ------------------------------------------------------------------------------------------------

REFUSALS = (Reason.SIGNATURE, Reason.EXPIRED, Reason.SIZE, Reason.KEYS)


def is_believed_by_nobody(answer: Any) -> bool:
    """Whether a token is refused, or counts for no more than any text: it names a key that nobody has."""
    return answer in REFUSALS or (isinstance(answer, Vouched) and not answer.is_verified)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["iss", "aud", "azp", "sub", "exp", "iat", "nbf", "kind", "email"])
heads = st.fixed_dictionaries(
    {"alg": st.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none", "HS512"]) | json_values},
    optional={"kid": json_values, "crit": json_values, "b64": json_values, "typ": json_values},
)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.text(string.ascii_letters + string.digits + "-_.=", max_size=400))
def test_any_text_is_refused(text: str) -> None:
    """Whatever a page sends as a token, the answer is a reason."""
    assert check(text) in REFUSALS


@settings(max_examples=150, deadline=None)
@given(heads, st.dictionaries(names, json_values, max_size=6) | json_values | st.binary(max_size=60), st.binary())
def test_any_parts_are_refused(head: Any, claims: Any, signature: bytes) -> None:
    """Well made but unsigned: never believed, never an exception."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    token = f"{encode(head)}.{encode(body)}.{encode(signature)}"
    assert check(token, keys=KeyBook()) in REFUSALS
    assert is_believed_by_nobody(check(token))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, json_values, max_size=5))
def test_any_claims_of_the_issuer_give_an_answer(changes: dict[str, Any]) -> None:
    """Signed by the issuer but strange: an answer, and a value that is text."""
    answer = check(make_token({**make_claims(), **changes}))
    assert answer in REFUSALS or (isinstance(answer, Vouched) and isinstance(answer.value, str) and answer.value)


@pytest.mark.parametrize("body", ["[" * 5000, '{"exp":' + "9" * 5000 + "}", '{"exp":1e999}', "{}" * 9, "\ud800", "nul"])
def test_parts_that_break_parsers(body: str) -> None:
    """Depth, endless numbers and half characters, in head and claims."""
    raw = encode(body.encode("utf-8", "surrogatepass"))
    good = encode({"alg": "RS256", "kid": "rsa"})
    for token in (f"{good}.{raw}.AAAA", f"{raw}.{encode(make_claims())}.AAAA"):
        assert check(token) in REFUSALS


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_one_changed_character_is_noticed(data: st.DataObject) -> None:
    """Of a good token no character can be changed."""
    token = data.draw(st.sampled_from([make_token(), make_site_token()]))
    place = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(st.sampled_from([c for c in string.ascii_letters + "-_.=" if c != token[place]]))
    assert is_believed_by_nobody(check(token[:place] + changed + token[place + 1 :]))
