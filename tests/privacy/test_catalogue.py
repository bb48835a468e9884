"""The catalogue: no column without an entry, no sentence missing in a language, and true of what there is."""

from __future__ import annotations

import re

import pytest

from collector.errors import ConfigError
from collector.privacy.catalogue import (
    COLUMNS,
    PURPOSES,
    TABLES,
    Category,
    describe,
    list_cookies,
    list_fields,
)
from collector.privacy.catalogue_pages import PAPERS
from collector.privacy.catalogue_words import list_languages, read_language
from collector.privacy.inventory import NOT_PERSONAL, PLACES
from collector.purposes import SWITCHES
from collector.sites.book import Site
from collector.store.document import list_tables

SHOP = Site("shop", keep_days=426, cookie="sid", cookie_domain="shop.example")


def test_every_column_of_every_table_about_people_is_there() -> None:
    """And what is not about people says why: the inventory of erasing is the same."""
    places = {place.table for place in PLACES}
    assert TABLES.keys() == places
    wanted = {(table.name, name) for table in list_tables() if table.name in places for name, _, _ in table.columns}
    assert {(one.table, one.column) for one in list_fields()} == wanted
    assert {table.name for table in list_tables() if not table.name.startswith("v_")} - places <= NOT_PERSONAL.keys()
    assert all(one.meaning for one in list_fields())


def test_no_entry_is_of_something_that_is_gone() -> None:
    """Every category has fields, every named column is one."""
    assert {one.category for one in list_fields()} == set(Category) == set(PURPOSES)
    assert COLUMNS.keys() <= {one.column for one in list_fields()}


def test_what_is_switched_by_a_purpose_says_so() -> None:
    """Every purpose that categories name switches something."""
    assert set(PURPOSES.values()) <= {switch.purpose for switch in SWITCHES}


@pytest.mark.parametrize("code", ["en", "de"])
@pytest.mark.parametrize("name", PAPERS)
def test_each_paper_can_be_written(code: str, name: str) -> None:
    """With every site; nothing is left of a placeholder, and tables are whole."""
    text = PAPERS[name](read_language(code), [SHOP, Site("intranet", consent="off")], ["webhook crm: crm.example"])
    assert not re.search(r"\{\w+\}", text)
    assert ("sid" in text) and ("intranet" in text)
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    if name in ("record", "dpia", "catalogue"):
        assert "webhook crm: crm.example" in text
    if name in ("record", "dpia"):
        assert text.count(read_language(code).labels["fill_in"].partition(":")[0]) >= 1


def test_languages() -> None:
    """English first; another is refused with those there are."""
    assert list_languages() == ("en", "de")
    with pytest.raises(ConfigError, match="en, de"):
        read_language("xx")


def test_cookies_are_those_of_the_site() -> None:
    """Under the site's own names; nothing but the objection and refusals without consent."""
    cookies = {cookie.name: cookie for cookie in list_cookies(SHOP)}
    assert set(cookies) == {"sid", "sid_v", "_ts_out", "_ts_no", "sid_vt", "sid_vc", "sid_vq", "sid_vg"}
    assert cookies["sid"].is_http_only
    assert [one.name for one in cookies.values() if one.purpose == "necessary"] == ["_ts_out", "_ts_no"]
    assert "__Host-ts_blog" in {cookie.name for cookie in list_cookies(Site("blog"))}


def test_the_tag_keeps_nothing_else() -> None:
    """What the tag forgets when consent is taken back is what the catalogue lists."""
    from pathlib import Path

    source = (Path(__file__).parents[2] / "tag_js" / "src" / "visitor.ts").read_text(encoding="utf-8")
    found = re.search(r'\["", \.\.\."(\w+)"\]', source)
    assert found
    listed = {cookie.name.removeprefix("_ts_v") for cookie in list_cookies(Site("shop")) if cookie.kind == "storage"}
    assert set(found[1]) == listed


def test_as_data() -> None:
    """Categories with fields, and for each site what it keeps."""
    said = describe([SHOP])
    assert [one["site"] for one in said["sites"]] == ["shop"]
    assert said["sites"][0]["retention_days"] == {"events": 426, "network": 30, "rejected": 14}
    assert sum(len(one["fields"]) for one in said["categories"]) == len(list_fields())
