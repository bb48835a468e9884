"""A mailing from its minting to its report: real clicks through the real collector, engine, stitch and questions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collector.reports.questions import run_question
from collector.store.client import open_client
from tests.identity_drive import Space, name_origin, running_world

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """One space of one instance."""
    with running_world(tmp_path_factory.mktemp("reports"), spaces=1) as world:
        yield world.take_space()


@pytest.mark.long
def test_a_mailing_is_counted_once_and_by_who_it_was(space: Space) -> None:
    """Both ways in, a second device, a scanner, a friend who signs in, an unfilled tag, and what was bought."""
    origin = name_origin(space.site_id)
    mailing = {"campaign": "spring", "message": "m-1", "link": "top"}
    by_page, by_redirect = (
        space.mint("anna", **mailing),
        space.mint("cleo", target=f"{origin}/offer", consent="m", **mailing),
    )
    anna, phone, cleo, friend, lost = (space.browser(more={"c": "aim"}) for _ in range(5))
    anna.click(by_page, ago_h=9)
    anna.send(anna.make_event("purchase", 8.5, p={"value": 30}))
    phone.click(by_page, ago_h=8)
    assert space.world.get(f"/l/{by_redirect}").status == 302
    cleo.click(by_redirect, ago_h=7)
    assert space.world.get(f"/l/{by_redirect}", "Mimecast").status == 302
    friend.click(space.mint("anna", **mailing), ago_h=6)
    friend.sign_in(customer="ben", ago_h=5)
    lost.view(ago_h=4, u=f"{origin}/?lt=*%7CLT%7C*&utm_campaign=spring")
    space.settle()

    instance, today = space.world.instance, datetime.fromtimestamp(space.world.now_ms / 1000, UTC).date()
    span = {"site": space.site_id, "first": today - timedelta(days=2), "last": today + timedelta(days=1)}
    with open_client(instance.config, instance.keyring, "reader") as reader:
        rows = run_question(reader, "links", span, today=today)
        assert [{name: value for name, value in row.items() if value} for row in rows] == [
            {
                "campaign": "spring",
                "message": "m-1",
                "link": "top",
                "clicks": 4,
                "recipients": 3,
                "scanners": 1,
                "confirmed": 4,
                "people": 3,
                "converted": 1,
                "value": 30.0,
                "forwarded": 1,
                "second_devices": 1,
            },
            {"campaign": "spring", "unfilled": 1},
        ]
        days = run_question(reader, "link_days", span, today=today)
        assert (sum(row["clicks"] for row in days), sum(row["scanners"] for row in days)) == (4, 1)
        unfilled = run_question(reader, "link_unfilled", span, today=today)
        assert [(row["campaign"], row["unfilled"], row["filled"]) for row in unfilled] == [("spring", 1, 4)]
        visitors = run_question(reader, "daily_visitors", span, today=today)
        assert sum(row["page_views"] for row in visitors) == 5
        links = reader.query_rows(
            "SELECT visitors, clicks, machine_clicks FROM v_links ORDER BY visitors DESC, machine_clicks DESC"
        )
    assert [tuple(row.values()) for row in links] == [(2, 2, 0), (1, 1, 1), (1, 1, 0)]
