"""What a link counts as: the statuses, in the order of the head of `links.judgement`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.identity.identifiers import own_person_id
from collector.keyring import LinkKey
from collector.links.judgement import Judged, LinkStatus, is_unfilled, judge_link
from collector.links.minting import mint_link
from collector.links.revocations import Revocation, RevocationBook
from collector.links.token import LASTING, SALT, LinkKind
from tests.edge_examples import KEYRING, NOW_S, VISITOR

NOTHING = RevocationBook()
SPRING = RevocationBook([Revocation("r1", "main", campaign="spring")])
CUSTOMER = own_person_id(KEYRING.pseudonym_key, "main", "customer", "4711")
LONG_AGO = NOW_S - 200 * 86_400


def mint(**changes: Any) -> str:
    """Return a token of the campaign spring."""
    return mint_link(KEYRING, "4711", **{"now_s": NOW_S - 3600, "campaign": "spring", **changes})


def judge(text: str, revocations: RevocationBook = NOTHING, now_s: int = NOW_S) -> Judged:
    """Judge what stands where a token should."""
    return judge_link(KEYRING, text, revocations, now_s)


@pytest.mark.parametrize(
    ("text", "revocations", "status"),
    [
        (mint(), NOTHING, "unconfirmed"),
        (mint(sealed=True), NOTHING, "unconfirmed"),
        (mint(), SPRING, "revoked"),
        (mint(campaign="summer"), SPRING, "unconfirmed"),
        (mint(now_s=LONG_AGO), NOTHING, "expired"),
        (mint(now_s=LONG_AGO), SPRING, "revoked"),
        (mint(sent_at_s=NOW_S + 3600), NOTHING, "early"),
        (mint(is_test=True), SPRING, "test"),
        (mint(is_test=True, now_s=LONG_AGO), NOTHING, "test"),
        (mint()[:-1], NOTHING, "forged"),
        (mint() + "A", NOTHING, "forged"),
        ("x" * 5000, NOTHING, "forged"),
        ("*|LT|*", NOTHING, "unfilled"),
        ("", NOTHING, "unfilled"),
    ],
)
def test_the_status_of_a_link(text: str, revocations: RevocationBook, status: str) -> None:
    """What is said first holds; what is verified is told, and what is not is not."""
    judged = judge(text, revocations)
    assert judged.status == status
    assert (judged.token is None) == (status in ("forged", "unfilled"))
    assert judged.customer_key == ("" if judged.token is None else CUSTOMER)


@pytest.mark.parametrize("kind", sorted(LASTING))
def test_what_lasts_is_never_over(kind: LinkKind) -> None:
    """Whoever wants no more mail needs no fresh link for it, whatever was revoked, however long ago it was sent."""
    everything = RevocationBook([Revocation("r1", "main", issued_to_s=NOW_S * 2)])
    judged = judge(mint(kind=kind, now_s=LONG_AGO), everything, NOW_S + 20 * 366 * 86_400)
    assert judged.status is LinkStatus.UNCONFIRMED


def test_a_retired_key_ends_what_it_signed() -> None:
    """With its end over, a key's links are expired; without the key they are forged. What lasts lives as the key."""
    old = LinkKey("old1", "link-retired" * 6, until_ms=(NOW_S - 1) * 1000)
    holder = msgspec.structs.replace(KEYRING, link_keys=[old])
    keyring = msgspec.structs.replace(KEYRING, link_keys=[*KEYRING.link_keys, old])
    token = mint_link(holder, "4711", now_s=NOW_S - 60)
    assert judge_link(keyring, token, NOTHING, NOW_S).status is LinkStatus.EXPIRED
    assert judge(token).status is LinkStatus.FORGED
    lasting = mint_link(holder, "4711", now_s=NOW_S - 60, kind=LinkKind.UNSUBSCRIBE)
    assert judge_link(keyring, lasting, NOTHING, NOW_S).status is LinkStatus.UNCONFIRMED


def test_a_customer_a_key_and_a_time_can_be_revoked() -> None:
    """A revocation that names several things means those tokens for which all of them hold."""
    token = mint()
    assert judge(token, RevocationBook([Revocation("r", "main", customer_key=CUSTOMER)])).status is LinkStatus.REVOKED
    assert judge(token, RevocationBook([Revocation("r", "main", key_id="b2c4")])).status is LinkStatus.REVOKED
    assert judge(token, RevocationBook([Revocation("r", "main", issued_from_s=NOW_S)])).status is LinkStatus.UNCONFIRMED
    both = Revocation("r", "main", customer_key=CUSTOMER, campaign="summer")
    assert judge(token, RevocationBook([both])).status is LinkStatus.UNCONFIRMED
    one = judge(token).token
    assert one is not None
    assert judge(token, RevocationBook([Revocation("r", "main", token_id=one.token_id)])).status is LinkStatus.REVOKED


TOKEN, SEALED = mint(), mint(sealed=True)


@given(st.sampled_from([TOKEN, SEALED]), st.data())
def test_a_changed_token_is_forged(token: str, data: st.DataObject) -> None:
    """Cut, extended, or with one character changed, anywhere."""
    place = data.draw(st.integers(0, len(token) - 1))
    sign = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = data.draw(
        st.sampled_from([token[:place], token + sign, token[:place] + sign + token[place + 1 :], sign + token])
    )
    if changed != token:
        assert judge(changed).token is None


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    """Whatever stands in an address: a status, and never more."""
    assert judge(text).status in ("forged", "unfilled")


def test_what_other_keys_and_salts_have_signed_is_forged() -> None:
    """A cookie of ours, a token under another salt, and one signed with the cookies' key are no links."""
    fields = TOKEN.rpartition(".")[0]
    secret = KEYRING.link_keys[0].secret
    others = [Signer(secret, salt=salt, key_derivation="hmac").sign(fields).decode() for salt in (SALT, b"tagstitch")]
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S))
    stolen = msgspec.structs.replace(KEYRING, link_keys=[LinkKey("b2c4", KEYRING.cookie_keys[0].secret)])
    for text in (*others, cookie, mint_link(stolen, "4711", now_s=NOW_S)):
        assert judge(text).status is LinkStatus.FORGED


@pytest.mark.parametrize(
    "text",
    [
        *("*|LT|*", "*%7CLT%7C*", "{{ lt }}", "%7B%7Blt%7D%7D", "%257B%257Blt%257D%257D", "{{{lt}}}", "{% lt %}"),
        *("{{ contact.lt | default: '' }}", "%%LT%%", "%25%25LT%25%25", "%recipient.lt%", "[LT]", "[[lt]]"),
        *("${lt}", "{lt}", "{$lt}", "#{lt}", "@{lt}", "<%= lt %>", "%3C%25%3D+lt+%25%3E", "<<lt>>", "##LT##", "-lt-"),
        *("", " ", "%20", "undefined", "null", "None", "lt", "LT", "tagstitch"),
    ],
)
def test_merge_tags_that_were_not_filled(text: str) -> None:
    """As the senders write them, in clear and encoded; and the words that programs write for nothing."""
    assert is_unfilled(text)
    assert judge(text).status is LinkStatus.UNFILLED


@pytest.mark.parametrize("text", ["abc", "nothing", "m1.x", "4711", "spring", "--", "%C3%A9", "a{{lt}}b", "{" * 300])
def test_what_is_no_merge_tag(text: str) -> None:
    """Other words are no merge tags: they are forged, or broken."""
    assert not is_unfilled(text)


def test_the_parameters_name_is_a_merge_tag() -> None:
    """A sender that writes the field's bare name."""
    assert is_unfilled("kundenlink", "KundenLink")
    assert not is_unfilled("kundenlink")
