"""A tagged link's token stands in no text that is kept, wherever a page or its sender has put it."""

from __future__ import annotations

import pytest

from collector.links.token import LinkKind
from tests.accept.test_links_on_page import mint, mint_recipient
from tests.edge_examples import ORIGIN, make_body, make_event, take


@pytest.mark.parametrize("kind", LinkKind)
def test_a_token_in_the_wrong_place_is_not_written(kind: LinkKind) -> None:
    """Behind another parameter's name, in a path (a mail that is read in the browser, whose links are clicked), a title
    or a property."""
    token = mint(kind=kind) if kind is not LinkKind.RECIPIENT else mint_recipient()
    for address in (f"{ORIGIN}/?utm_content={token}", f"{ORIGIN}/l/{token}", f"{ORIGIN}/l/%6D{token[1:]}?a=%40"):
        props = {"url": f"https://news.example/l/{token}", "deep": [{"x": f"see {token}."}]}
        event = make_event(1, q=1, u=address, r=address, h=f"To {token}", p=props)
        for extra in ({}, {"lt": token}):
            answer, row = take(make_body(event, c="a", **extra))
            assert token.rpartition(".")[2].encode() not in answer.line
            assert b".4711." not in answer.line
            assert "[removed]" in row.events[0].props
