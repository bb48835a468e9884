"""The tag in an old WebKit: WPE 2.38, the syntax and the functions of Safari 16.

Only what an old engine can tell: that the script is read and runs. WPE takes no proxy when it is driven, so the page
is on localhost; its cookie rules are nobody else's, so nothing is said about cookies.
"""

from __future__ import annotations

import pytest
from engines import Tab, wait_for_answers
from secure_site import SecureSite

pytestmark = pytest.mark.parametrize("engine", ["old_webkit"], indirect=True)


def test_old_syntax_suffices(tab: Tab, secure_site: SecureSite, site: str) -> None:
    """The snippet and the tag are read without a syntax error, and a page view and an event arrive."""
    secure_site.add_shop_page("/old", site)
    tab.open(secure_site.local_origin + "/old")
    assert tab.evaluate("[typeof cookieStore, typeof navigation]") == ["undefined", "undefined"], "not so old any more"
    wait_for_answers(tab, 1)
    tab.evaluate("tagstitch('track', 'x', {n: 1})")
    events = secure_site.kept_names_are(site, ["page_view", "x"])
    assert events[0].url == secure_site.local_origin + "/old"
    assert secure_site.wrong == []
