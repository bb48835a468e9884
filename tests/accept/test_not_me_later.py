"""Who says "not me" long after the link that named somebody."""

from __future__ import annotations

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.event import NIL_ID
from tests.accept.test_links_on_page import CUSTOMER
from tests.edge_examples import KEYRING, NOW_S, VISITOR, make_body, make_context, make_event, take


def test_not_me_is_heard_on_a_later_visit() -> None:
    """The page that asks has been viewed first, long after the link was: its answer must not have forgotten whom the
    link had named."""
    known = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S - 7200, 2, NOW_S - 3600, CUSTOMER))
    answer, row = take(make_body(make_event(3)), make_context(cookies={"__Host-ts_shop": known}))
    assert (row.events[0].assurance, row.events[0].customer_key) == (0, NIL_ID)
    later = make_context(cookies={"__Host-ts_shop": known if answer.set_cookie is None else answer.set_cookie})
    row = take(make_body(make_event(4, n="not_me")), later)[1]
    assert [(said.kind, said.token_id) for said in row.evidence] == [("disown", CUSTOMER)]
