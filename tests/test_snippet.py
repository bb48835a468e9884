"""The text of `tagstitch snippet`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import brotli
import msgspec
import pytest

from collector.config import Config
from collector.errors import ConfigError
from collector.sites.book import CookieCapture, Issuer, Site
from collector.snippet import list_attributes, make_snippet
from collector.tag_builds import TAG, read_build

ROOT = Path(__file__).parent.parent
AIM_BYTES = 200
BOUND_BYTES = 250


def read_inline(snippet: str) -> str:
    """Return the code of the first script element."""
    return snippet.split("</script>", 1)[0].split(">", 1)[1]


def test_default_snippet() -> None:
    """Two script elements: the queue, and the tag from the site's own origin, loaded without blocking."""
    snippet = make_snippet(Config(), "shop")
    assert snippet.count("<script") == snippet.count("</script>") == 2
    assert '<script async referrerpolicy="origin" src="/x/t.js" data-site="shop"></script>' in snippet


@pytest.mark.parametrize("nonce", [False, True])
@pytest.mark.parametrize("consent", ["required", "implied"])
def test_snippet_is_small(nonce: bool, consent: str) -> None:
    """The inline script of a site with default settings is under 200 bytes, brotli; with the loader it is under 250."""
    snippet = make_snippet(Config(), "shop", base_url="https://data.shop.example", nonce=nonce, consent=consent)
    assert len(brotli.compress(read_inline(snippet).encode(), quality=11)) <= AIM_BYTES
    assert len(brotli.compress(snippet.encode(), quality=11)) <= BOUND_BYTES


def test_a_snippet_that_says_much_is_small_too() -> None:
    """What is taken off the address bar for captured parameters costs little more."""
    site = Site("shop", capture=("customer=param:cid", "customer=param:member", "email=param:mail"))
    assert len(brotli.compress(read_inline(make_snippet(Config(), site)).encode(), quality=11)) <= BOUND_BYTES


TOKEN = "b2c4.abcDEF_0123456789~-x"
KEPT = "https://shop.example/a?b=1#c"
STRIPPED = [
    ("https://shop.example/a", "https://shop.example/a"),
    (KEPT, KEPT),
    (f"https://shop.example/a?lt={TOKEN}", "https://shop.example/a"),
    (f"https://shop.example/a?lt={TOKEN}#c", "https://shop.example/a#c"),
    (f"https://shop.example/a?lt={TOKEN}&b=1#c", KEPT),
    (f"https://shop.example/a?b=1&lt={TOKEN}#c", KEPT),
    (f"https://shop.example/a?_tsh={TOKEN}&lt={TOKEN}&b=1#c", KEPT),
    (f"https://shop.example/a?b=1&_tsh={TOKEN}&lt={TOKEN}#c", KEPT),
    (f"https://shop.example/a?lt={TOKEN}&b=1&_tsh={TOKEN}#c", KEPT),
    (f"https://shop.example/a?x=1&lt={TOKEN}&b=%26lt%3D&_tsh={TOKEN}&y", "https://shop.example/a?x=1&b=%26lt%3D&y"),
    ("https://shop.example/a?lt=short&_tsh=", "https://shop.example/a?lt=short&_tsh="),
    (f"https://shop.example/a?alt={TOKEN}&lt2={TOKEN}", f"https://shop.example/a?alt={TOKEN}&lt2={TOKEN}"),
    (f"https://shop.example/a?lt={TOKEN}!", f"https://shop.example/a?lt={TOKEN}!"),
    (f"https://shop.example/#/route?lt={TOKEN}&cid=4711", f"https://shop.example/#/route?lt={TOKEN}&cid=4711"),
    ("https://shop.example/a?cid=4711&b=1#c", KEPT),
    ("https://shop.example/a?cid=&b=1#c", KEPT),
    ("https://shop.example/a?b=1&cid=a%40b.example&u.id[0]=7#c", KEPT),
    (f"https://shop.example/a?cid=4711&lt={TOKEN}&u.id[0]=7&b=1#c", KEPT),
    ("https://shop.example/a?cid=4711#cid=4711", "https://shop.example/a#cid=4711"),
    ("https://shop.example/a?uxid[0]=7&acid=1&cid", "https://shop.example/a?uxid[0]=7&acid=1&cid"),
]


def test_the_inline_script_takes_ours_off_the_address_bar_and_nothing_else() -> None:
    """In a real engine: other parameters, fragment and the history's state stay; the tag finds the whole address.

    A function that others have put on `history` does not see it, and an address without ours is left alone.
    """
    site = Site("shop", capture=("customer=param:cid", "customer=param:u.id[0]", "customer=cookie:lt"))
    page = """
        const [code, ...addresses] = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const found = addresses.map((href) => {
          const calls = [];
          const window = {}, location = { href };
          class History { replaceState(...call) { calls.push(call, this === history); } }
          const history = new History();
          history.state = { page: 7 };
          history.replaceState = () => { throw new Error("seen"); };
          new Function("window", "location", "history", "History", code)(window, location, history, History);
          window.tagstitch("track", "a");
          return { href, calls, kept: window.tagstitch.u, queued: Array.from(window.tagstitch.q[0]) };
        });
        console.log(JSON.stringify(found));
    """
    given = json.dumps([read_inline(make_snippet(Config(), site)), *(address for address, _ in STRIPPED)])
    node = shutil.which("node") or pytest.fail("node is missing")
    done = subprocess.run([node, "-e", page], input=given, capture_output=True, text=True, check=True, timeout=60)
    for answer, (address, bare) in zip(json.loads(done.stdout), STRIPPED, strict=True):
        assert answer["kept"] == address
        assert answer["queued"] == ["track", "a"]
        assert answer["calls"] == ([] if bare == address else [[{"page": 7}, "", bare], True]), address


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
    assert "(?:from|_tsh)=" in snippet
    assert "lt|" not in snippet


def test_the_sites_row_stands_in_data_attributes() -> None:
    """Everything that the tag must know of the site's settings is said, and only that."""
    site = Site(
        "shop",
        consent="cookieless",
        consent_from="tcf google",
        auto="none",
        capture=("customer=param:cid", "email=meta:mail"),
        linked_domains=("outlet.example", "blog.example"),
        cookie="sid",
        cookie_domain="shop.example",
        session_minutes=20,
        sample=0.5,
        capture_cookies=(CookieCapture("uid"),),
        issuers=(Issuer("https://login.example", "web"),),
    )
    loader = make_snippet(Config(), site).splitlines()[1]
    assert dict(re.findall(r' data-([a-z-]+)="([^"]*)"', loader)) == {
        "site": "shop",
        "consent": "cookieless",
        "consent-from": "tcf google",
        "auto": "none",
        "capture": "customer=param:cid email=meta:mail",
        "domains": "outlet.example blog.example",
        "cookie": "sid_v",
        "cookie-domain": "shop.example",
        "session-minutes": "20",
    }
    assert "login.example" not in loader
    assert 'data-consent="implied"' in make_snippet(Config(), site, consent="implied")


def test_what_is_printed_are_settings_of_the_tag() -> None:
    """Each attribute that the snippet may print is one that the tag reads."""
    site = Site("s", "m", (), "off", cookie="a", cookie_domain="b.example", auto="spa", consent_from="tcf")
    site = msgspec.structs.replace(site, capture=("customer=js:a",), linked_domains=("a.example",), session_minutes=1)
    printed = list_attributes(Config(beacon_path="/e", link_parameter="f"), site)
    assert {name.removeprefix("data-") for name in printed} <= read_tag_settings()
    assert len(printed) == 11


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
    with pytest.raises(ConfigError, match="required, implied, cookieless, off"):
        make_snippet(Config(), "shop", consent="none")


def test_documentation_shows_what_is_printed() -> None:
    """The script elements in docs/tag.md are those of the snippet, with and without a nonce."""
    page = (ROOT / "docs" / "tag.md").read_text(encoding="utf-8")
    for nonce in (False, True):
        loader = make_snippet(Config(), "shop", nonce=nonce).splitlines()[1]
        assert loader in page


def read_tag_settings() -> set[str]:
    """Return the data attributes that the tag reads, by the tag's own source."""
    source = ROOT / "tag_js" / "src"
    block = re.search(
        r"const DEFAULTS = \{\n(.*?)\n\};", (source / "settings.ts").read_text(encoding="utf-8"), re.DOTALL
    )
    assert block, "settings.ts has no DEFAULTS"
    names = re.findall(r"^  (\w+):", block[1], re.MULTILINE)
    names += re.findall(r"dataset\.(\w+)", "".join(path.read_text("utf-8") for path in source.glob("*.ts")))
    return {re.sub("[A-Z]", lambda m: f"-{m[0].lower()}", name) for name in names}


def test_documentation_lists_every_setting_of_the_tag() -> None:
    """Each data attribute that the tag reads stands in the table of docs/tag.md, and no other does."""
    page = (ROOT / "docs" / "tag.md").read_text(encoding="utf-8")
    settings = page[page.index("## Settings") :]
    assert set(re.findall(r"^\| `data-([a-z-]+)`", settings, flags=re.MULTILINE)) == read_tag_settings()
