"""The text of `tagstitch snippet`."""

from __future__ import annotations

import re
from pathlib import Path

import brotli
import pytest

from collector.config import Config
from collector.errors import ConfigError
from collector.snippet import make_snippet
from collector.tag_builds import TAG, read_build

BOUND_BYTES = 250


def test_default_snippet() -> None:
    """Two script elements: the queue, and the tag from the site's own origin, loaded without blocking."""
    snippet = make_snippet(Config(), "shop")
    assert snippet.count("<script") == snippet.count("</script>") == 2
    assert '<script async referrerpolicy="origin" src="/x/t.js" data-site="shop"></script>' in snippet


@pytest.mark.parametrize("nonce", [False, True])
@pytest.mark.parametrize("consent", ["required", "implied"])
def test_snippet_is_small(nonce: bool, consent: str) -> None:
    """The snippet costs a page at most 250 bytes, brotli."""
    snippet = make_snippet(Config(), "shop", base_url="https://data.shop.example", nonce=nonce, consent=consent)
    assert len(brotli.compress(snippet.encode(), quality=11)) <= BOUND_BYTES


def test_integrity_only_with_the_versioned_path() -> None:
    """What may change under its address carries no integrity; the immutable path does, with what lets it be checked."""
    assert "integrity" not in make_snippet(Config(), "shop", base_url="https://shop.example")
    build = read_build()
    file = build.find_file(TAG)
    snippet = make_snippet(Config(), "shop", base_url="https://shop.example/", versioned=True)
    assert f'src="https://shop.example/x/t-{build.version}-{file.hash}.js"' in snippet
    assert f'integrity="{file.integrity}" crossorigin="anonymous"' in snippet


def test_only_what_differs_from_the_tags_own_defaults_is_said() -> None:
    """Other paths, another link parameter and another preset stand in data attributes, the defaults do not."""
    assert re.findall(r"data-[a-z-]+", make_snippet(Config(), "shop")) == ["data-site"]
    config = Config(beacon_path="/e", link_parameter="from")
    snippet = make_snippet(config, "shop", base_url="https://c.example", consent="off")
    assert 'data-endpoint="https://c.example/e"' in snippet
    assert 'data-link="from"' in snippet
    assert 'data-consent="off"' in snippet
    assert "[?&])from=" in snippet
    assert "lt=" not in snippet


def test_tag_at_the_root_needs_no_endpoint() -> None:
    """A tag at /t.js sends to /b by itself."""
    assert "data-endpoint" not in make_snippet(Config(tag_path="/t.js", beacon_path="/b"), "shop")


def test_nonce_stands_on_both_elements() -> None:
    """Under a strict CSP both elements need the nonce."""
    assert make_snippet(Config(), "shop", nonce=True).count('nonce="{{ nonce }}"') == 2


def test_site_id_cannot_break_out_of_its_attribute() -> None:
    """Whatever the site id holds, it stays text."""
    snippet = make_snippet(Config(), '"><script>alert(1)</script>')
    assert snippet.count("<script") == 2
    assert "&quot;&gt;&lt;script&gt;" in snippet


@pytest.mark.parametrize("base_url", ["shop.example", "javascript:alert(1)", 'https://a"b', "ftp://x"])
def test_base_url_must_be_an_address(base_url: str) -> None:
    """A base URL that is none is refused with a sentence."""
    with pytest.raises(ConfigError, match="base_url"):
        make_snippet(Config(), "shop", base_url=base_url)


def test_consent_must_be_a_preset() -> None:
    """A typing error must not switch consent off."""
    with pytest.raises(ConfigError, match="required, implied or off"):
        make_snippet(Config(), "shop", consent="none")


def test_documentation_shows_what_is_printed() -> None:
    """The script elements in docs/tag.md are those of the snippet, with and without a nonce."""
    page = (Path(__file__).parent.parent / "docs" / "tag.md").read_text(encoding="utf-8")
    for nonce in (False, True):
        loader = make_snippet(Config(), "shop", nonce=nonce).splitlines()[1]
        assert loader in page


def test_documentation_lists_every_setting_of_the_tag() -> None:
    """Each data attribute that the tag reads stands in the table of docs/tag.md, and no other does."""
    root = Path(__file__).parent.parent
    page = (root / "docs" / "tag.md").read_text(encoding="utf-8")
    source = "".join((root / "tag_js" / "src" / name).read_text("utf-8") for name in ("settings.ts", "entry.ts"))
    read = {
        re.sub("[A-Z]", lambda m: f"-{m[0].lower()}", name) for name in re.findall(r"(?:data|dataset)\.(\w+)", source)
    }
    listed = set(re.findall(r"^\| `data-([a-z-]+)`", page, flags=re.MULTILINE))
    assert listed == read
