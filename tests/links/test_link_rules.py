"""What a web process knows of links: looked up as if everything were gone through, however much it is."""

from __future__ import annotations

from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from collector.links.revocations import Revocation, RevocationBook
from collector.links.rules import KeySet, LinkRules, change_rows
from collector.links.token import LinkKind, LinkToken

NAMES = st.sampled_from(["", "a", "b"])
KEYS = st.integers(0, 40).map(lambda number: UUID(int=number << 64 | number).bytes)
REVOCATIONS = st.builds(
    Revocation,
    st.text("0123456789", min_size=1, max_size=3),
    st.sampled_from(["main", "other"]),
    token_id=NAMES,
    campaign=NAMES,
    message=NAMES,
    key_id=NAMES,
    customer_key=NAMES,
    issued_from_s=st.sampled_from([0, 100]),
    issued_to_s=st.sampled_from([0, 200]),
    lifted=st.booleans(),
)
TOKENS = st.builds(
    LinkToken,
    st.just(LinkKind.MESSAGE),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["a", "b"]),
    st.just("4711"),
    st.sampled_from([50, 100, 150, 200]),
    st.just(0),
    campaign=NAMES,
    message=NAMES,
    space_id=st.sampled_from(["main", "other"]),
)


@given(st.lists(REVOCATIONS, max_size=12), TOKENS, NAMES)
def test_what_is_filed_is_found(rows: list[Revocation], token: LinkToken, customer: str) -> None:
    """A token is taken back where any of all revocations in force means it, and by one that does."""
    meant = [row for row in rows if not row.lifted and not row.is_empty() and row.means(token, customer)]
    found = RevocationBook(rows).find(token, customer)
    assert (found in meant) if meant else found is None


@given(st.sets(KEYS), st.lists(st.dictionaries(KEYS, st.booleans())))
def test_a_packed_set_is_a_set(first: set[bytes], changes: list[dict[bytes, bool]]) -> None:
    """Put in, taken out, repeated: it holds what a plain set holds, and finds it by its text."""
    plain, packed = set(first), KeySet(b"".join(sorted(first)))
    for change in changes:
        packed = packed.change(change)
        plain = (plain | {key for key, is_in in change.items() if is_in}) - {
            key for key, is_in in change.items() if not is_in
        }
        assert packed.packed == b"".join(sorted(plain))
    assert len(packed) == len(plain)
    for number in range(41):
        key = UUID(int=number << 64 | number)
        assert (str(key) in packed) == (key.bytes in plain)


def test_a_name_that_is_no_key_is_in_no_set() -> None:
    """An empty key, or a word, is nobody's."""
    packed = KeySet(UUID(int=0).bytes)
    assert "" not in packed
    assert "nobody" not in packed
    assert str(UUID(int=1)) not in packed


def test_rules_are_kept_whole_and_filed_once() -> None:
    """What is written to disk is what is read; the files for looking up are made once."""
    rules = LinkRules((Revocation("r1", "main", campaign="spring"),), UUID(int=5).bytes)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(rules), type=LinkRules)
    assert read == rules
    assert str(UUID(int=5)) in read.withdrawn
    assert read.revocations is read.revocations
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(LinkRules()), type=LinkRules) == LinkRules()


def test_a_later_version_takes_the_place_of_an_earlier_one() -> None:
    """Whatever comes first."""
    first, second = Revocation("r", "main", version=1), Revocation("r", "main", lifted=True, version=2)
    assert change_rows([first], [second]) == (second,)
    assert change_rows([second], [first]) == (second,)
