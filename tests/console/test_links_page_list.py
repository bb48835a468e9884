"""Tagging a list piece by piece: every row once, in its place, as it was written, with one more column."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.console.links_page_list import (
    BOM,
    ListOptions,
    ListProblem,
    ListState,
    ListTagger,
)
from collector.errors import LinkError
from collector.keyring import make_keyring
from collector.links.token import LinkKind, LinkToken, read_link
from collector.sites.book import IdentifierKind, Site, SiteBook

KEYRING = make_keyring()
NOW_S = 1_800_000_000
TARGET = "https://shop.example/sale?utm_campaign=spring"
PHONE = IdentifierKind(name="phone", personal=True, normaliser="phone", priority=5)
BOOK = SiteBook(
    sites={
        "shop": Site(site_id="shop", origins=("https://shop.example",), link_hosts=("go.example",)),
        "other": Site(site_id="other", space_id="elsewhere", origins=("https://other.example",), kinds=(PHONE,)),
    }
)


def make_tagger(**changes: Any) -> ListTagger:
    """Return a tagger of a list whose first column has customer numbers."""
    options = ListOptions(**{"column": 0, "campaign": "spring", "target": TARGET, **changes})
    return ListTagger(KEYRING, options, BOOK, "main", parameter="lt", link_base="https://c.example/l/")


def tag(text: str | bytes, size: int = 10**6, **changes: Any) -> tuple[str, str, ListState]:
    """Tag a list in pieces of this size, as the page does. Returns the tagged rows, the refused ones and the end."""
    data = text.encode() if isinstance(text, str) else text
    tagger = make_tagger(**changes)
    state = ListState(minting_id="m", started_s=NOW_S)
    tagged, refused = b"", b""
    while state.taken < len(data):
        piece = data[state.taken : state.taken + size]
        is_last = state.taken + size >= len(data)
        before = state.taken
        done = tagger.tag(piece, state, is_last=is_last)
        tagged, refused, state = tagged + done.tagged, refused + done.refused, done.state
        assert state.taken > before
    return tagged.decode(), refused.decode(), state


def read(text: str, **changes: Any) -> list[list[str]]:
    """Return rows as a spreadsheet would."""
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), **changes))


def open_token(text: str) -> LinkToken:
    """Return what a token in a column says."""
    token = read_link(KEYRING, text.rpartition("lt=")[2].rpartition("/")[2], NOW_S)
    assert isinstance(token, LinkToken)
    return token


def test_every_row_gets_a_link_of_its_own() -> None:
    """The rest stays as it was written, quotes and line ends too."""
    text = 'id;name;city\r\n4711;"Lovelace; Ada";London\r\n4712;Grace "G" Hopper;\r\n'
    tagged, refused, state = tag(text, delimiter=";")
    assert [line.partition(";http")[0] for line in tagged.split("\r\n")[1:3]] == text.split("\r\n")[1:3]
    rows = read(tagged, delimiter=";")
    assert rows[0] == ["id", "name", "city", "link"]
    first, second = (open_token(row[3]) for row in rows[1:])
    assert (first.reference, first.campaign, first.kind) == ("4711", "spring", LinkKind.MESSAGE)
    assert second.reference == "4712"
    assert first.token_id != second.token_id
    assert rows[1][3].startswith(f"{TARGET}&lt=m")
    assert (state.made, state.refused, state.line) == (2, 0, 3)
    assert refused == "id;name;city;refused\r\n"


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    ),
    size=st.integers(400, 700),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    has_mark=st.booleans(),
)
def test_pieces_are_the_same_as_the_whole(
    rows: list[list[str]], size: int, delimiter: str, end: str, has_mark: bool
) -> None:
    """Wherever a piece is cut, in a sign or in quotes: the same rows come back, with one more column."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(["id", "a", "b", "c"])
    writer.writerows([str(number + 1), *row] for number, row in enumerate(rows))
    data = BOM * has_mark + out.getvalue().encode()
    tagged, _, state = tag(data, size, delimiter=delimiter)
    assert state.made == len(rows)
    assert tagged.startswith("\ufeff") is has_mark
    found = read(tagged, delimiter=delimiter)
    assert [row[:4] for row in found[1:]] == [[str(number + 1), *row] for number, row in enumerate(rows)]
    assert [open_token(row[4]).reference for row in found[1:]] == [row[0] for row in found[1:]]
    assert len(found[0]) == 5


def test_nobody_is_sent_a_broken_link() -> None:
    """A row without a customer keeps its place and gets the plain address; the second list says why."""
    tagged, refused, state = tag("id,name\n4711,Ada\n,Bob\nguest,Cy\neve@mail.example,Eve\n")
    rows = read(tagged)
    assert [row[2] for row in rows[2:]] == [TARGET] * 3
    assert (state.made, state.refused) == (1, 3)
    reasons = [row[2] for row in read(refused)[1:]]
    assert [reason.partition(":")[0] for reason in reasons] == ["line 3", "line 4", "line 5"]
    assert "e-mail" in reasons[2]
    done = make_tagger().tag(b"id\nguest\n,\n,\n0\n", ListState("m", NOW_S), is_last=True)
    assert done.reasons == {"nobody": 2}
    assert read(tag("id\nguest\n", form="token")[0])[1] == ["guest", ""]


@pytest.mark.parametrize(
    ("changes", "begins", "has_target"),
    [
        ({"form": "link"}, TARGET, False),
        ({"form": "token"}, "m", False),
        ({"form": "redirect"}, "https://c.example/l/m", True),
        ({"kind": LinkKind.RECIPIENT, "form": "token", "campaign": ""}, "r", False),
        ({"kind": LinkKind.UNSUBSCRIBE, "form": "link"}, "https://c.example/l/u", False),
        ({"kind": LinkKind.PREFERENCES, "target": ""}, "https://c.example/l/p", False),
        ({"sealed": True, "form": "token"}, "M", False),
    ],
)
def test_what_the_column_holds(changes: dict[str, Any], begins: str, has_target: bool) -> None:
    """A target stands in the token where it leads through the collector, and nowhere else."""
    [_, row] = read(tag("id\n4711\n", **changes)[0])
    assert row[1].startswith(begins)
    assert bool(open_token(row[1]).target) is has_target


def test_a_list_of_addresses_becomes_pseudonyms() -> None:
    """Not one address stands in the links."""
    tagged, _, _ = tag("mail,first\nYlva@Mail.example,Ylva\n", identifier="email", form="token")
    token = open_token(read(tagged)[1][2])
    assert token.is_pseudonym
    assert "ylva" not in token.reference.lower()


def test_consent_goes_into_the_link() -> None:
    """Yes, no and the wire's letters; whoever says neither gets no link that pretends."""
    text = "id,newsletter\n1a,yes\n2a,NO\n3a,im\n4a,\n5a,perhaps\n"
    tagged, refused, state = tag(text, consent_column=1, form="token")
    rows = read(tagged)[1:]
    assert [open_token(row[2]).consent for row in rows[:4]] == ["m", "", "im", ""]
    assert state.refused == 1
    assert "perhaps" in refused
    done = make_tagger(consent_column=1).tag(text.encode(), ListState("m", NOW_S), is_last=True)
    assert done.said == (("1a", "m"), ("2a", ""), ("3a", "im"))


def test_a_list_without_names() -> None:
    """The first row is a row; the column is called nothing."""
    tagged, _, state = tag("4711,Ada\n4712,Grace", has_header=False, form="token")
    assert state.made == 2
    assert [open_token(row[2]).reference for row in read(tagged)] == ["4711", "4712"]


def test_odd_rows() -> None:
    """Empty rows go, short ones are filled up, empty columns too many are cut; a column's name is taken only once."""
    tagged, _, state = tag("id,name,LINK\n\n4711\n4712,Grace,x,,\n , ,\n")
    rows = read(tagged)
    assert rows[0] == ["id", "name", "LINK", "link_2"]
    assert rows[1][:3] == ["4711", "", ""]
    assert rows[2][:3] == ["4712", "Grace", "x"]
    assert all(len(row) == 4 for row in rows)
    assert state.made == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"id\n\xffda\n", "line 2 is not UTF-8"),
        ("id\n4711\n".encode("utf-16"), "not UTF-8"),
        (b"id,name\n4711,Ada,London\n", "line 2 has 3 columns"),
        (b'id,name\n4711,"Ada\n4712,Grace\n', "line 2: a quotation mark is not closed"),
        (b'id,name\n4711,"Ada"x\n', "line 2: a quotation mark is misplaced"),
        (b"id\r4711\r4712\r", "old Macs"),
        (b"id" + b"," * 600 + b"\n", "more than 500 columns"),
    ],
)
def test_a_list_that_cannot_be_read(data: bytes, says: str) -> None:
    """The line is named, and never what stands in it."""
    with pytest.raises(ListProblem, match=says) as caught:
        tag(data)
    assert "Ada" not in str(caught.value)


def test_a_row_that_never_ends() -> None:
    """A quotation mark that is closed in no piece ends the tagging, not the memory."""
    with pytest.raises(ListProblem, match="does not end"):
        tag(b'id,name\n4711,"' + b"x" * 2000 + b"\n", size=500)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target": ""}, "target"),
        ({"target": "https://evil.example/"}, "target"),
        ({"target": "https://other.example/"}, "target"),  # another space's site
        ({"target": "//shop.example/"}, "target"),
        ({"identifier": "phone"}, "identifier"),  # known in another space alone
        ({"delimiter": "x"}, "delimiter"),
        ({"column": 3}, "column"),
        ({"column": -1}, "column"),
    ],
)
def test_what_cannot_be_asked(changes: dict[str, Any], field: str) -> None:
    """Each refusal names what to change on the page."""
    with pytest.raises(ListProblem) as caught:
        tag("id\n4711\n", **changes)
    assert caught.value.field == field


@pytest.mark.parametrize("changes", [{"campaign": "a@b"}, {"days": 0.0}, {"kind": LinkKind.RECIPIENT}])
def test_what_no_link_may_say(changes: dict[str, Any]) -> None:
    """It is found before the first row."""
    with pytest.raises(LinkError):
        make_tagger(**changes)


def test_the_previews_are_true_links() -> None:
    """Of the first rows, refused ones among them, with their lines; nothing is counted."""
    rows = "".join(f"{number + 1}x,Ada\n" for number in range(20))
    done = make_tagger().tag(f"id,name\nguest,Bob\n{rows}".encode(), ListState("", NOW_S), is_last=False, most_rows=10)
    assert len(done.previews) == 10
    assert (done.previews[0].line, done.previews[0].refused, done.previews[0].made) == (2, "nobody", "")
    assert open_token(done.previews[1].made).reference == "1x"
    assert done.state.made == 0


def test_the_record_of_a_list() -> None:
    """Who, how many, until when; nothing about recipients."""
    tagger = make_tagger(message="first", link="button", days=30.0)
    record = tagger.make_record(ListState("id", NOW_S, made=7, refused=2), "page:anna")
    assert (record.via, record.actor, record.campaign, record.message) == ("page", "page:anna", "spring", "first")
    assert (record.made, record.recipients, record.refused, record.links) == (7, 7, 2, ("button",))
    assert record.expires_at_ms == (NOW_S + 30 * 86_400) * 1000
