"""`GET /l/<what the sender forgot to fill in>`: a kind page, and a row that says which campaign it was."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.link_requests import LinkRequests


@pytest.mark.parametrize("text", ["*|LT|*", "{{ lt }}", "%%LT%%", "[LT]", "-lt-", "undefined", ""])
def test_a_merge_tag_that_nobody_filled(text: str) -> None:
    """A page that says so kindly, and a row for the site that was asked, with the campaign of the address."""
    requests = LinkRequests()
    response = requests.ask(quote(text, safe="*|{}[]"), tail="?utm_campaign=spring&x=1")
    [row] = requests.rows
    assert response.status_code == 404
    assert "not filled in" in response.text
    assert (row.site_id, row.link_status, row.link_campaign, row.events[0].url) == ("shop", "unfilled", "spring", "")
    assert requests.refused == []


@pytest.mark.parametrize("sign", ["@", "%40", "%2540", "%252540"])
def test_an_unfilled_link_keeps_no_mail_address(sign: str) -> None:
    """However often the campaign of the address was encoded on its way."""
    requests = LinkRequests()
    requests.ask("*|LT|*", tail=f"?utm_campaign=anna{sign}mail.example&utm_id=m1")
    [row] = requests.rows
    assert (row.link_campaign, row.link_message) == ("[removed]", "m1")
    assert b"mail.example" not in requests.lines[0]


def test_pages_speak_german() -> None:
    """By what the browser says that it likes."""
    response = LinkRequests().ask("*|LT|*", headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    assert "nicht ausgefüllt" in response.text
    assert '<html lang="de">' in response.text
