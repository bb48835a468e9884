"""The recipes of docs/tag.md: they are the files of examples/, and do in real Chromium what the page says of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from fresh_build import ROOT, TAG_JS, consumer_folder, run_esbuild, run_node
from page_server import PageServer
from playwright.sync_api import Page
from starlette.responses import Response

from collector.config import Config
from collector.keyring import make_keyring
from collector.reasons import Reason
from collector.signing import check_identify
from collector.sites.book import Site
from collector.snippet import make_snippet

EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests" / "data" / "recipes"
HOSTILE = "</script><script>window.broken = 1</script> & \"'\u2028<!--"
ORDER: dict[str, Any] = {
    "transaction_id": "o-1",
    "currency": "EUR",
    "value": 25,
    "items": [{"item_id": "A-1", "item_name": HOSTILE, "price": 12.5, "quantity": 2}],
}


def run_php(*arguments: str | Path, facts: object) -> str:
    """Run a PHP program with facts on its standard input; fails with its words."""
    php = shutil.which("php")
    if php is None:
        pytest.fail("php is missing: `make test` installs it, or: apt-get install php-cli")
    done = subprocess.run(
        [php, *map(str, arguments)], input=json.dumps(facts), capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def snippet(site: str) -> str:
    """What `tagstitch snippet` prints, with consent implied; of what the tag notes by itself only page views are left,
    so that no test depends on how long somebody looked."""
    printed = make_snippet(Config(), site, consent="implied")
    return printed.replace(f'data-site="{site}"', f'data-site="{site}" data-auto="spa"').strip()


def read_calls(html: str, command: str) -> list[list[Any]]:
    """Read the calls of a command out of a page, as JSON of their arguments."""
    found = re.findall(rf'tagstitch\(("{command}".*)\);', html)
    return [json.loads(f"[{call}]")[1:] for call in found]


# -- the page shows the files ------------------------------------------------------------------------------------------


def test_the_page_shows_each_recipe_as_it_is() -> None:
    """Every recipe in examples/ stands in docs/tag.md word for word, and nothing else is said to be one. A site's own
    test is no recipe for its pages: docs/inspect.md leads to it."""
    page = (ROOT / "docs" / "tag.md").read_text("utf-8")
    shown = re.findall(r"<!-- examples/(\S+) -->\n```\w+\n(.*?)```\n", page, re.DOTALL)
    paths = [path for path in EXAMPLES.rglob("*") if path.is_file() and "playwright" not in path.parts]
    files = {str(path.relative_to(EXAMPLES)): path.read_text("utf-8") for path in paths}
    assert dict(shown) == files
    assert len(shown) == len(files)


# -- server templates --------------------------------------------------------------------------------------------------


def render_jinja(site: str, facts: dict[str, Any]) -> str:
    """Render the Jinja recipe as Flask and Starlette do: escaped by default."""
    loader = jinja2.DictLoader(
        {
            "page.html": (EXAMPLES / "templates" / "jinja.html").read_text("utf-8"),
            "tagstitch.html": snippet(site),
        }
    )
    return jinja2.Environment(loader=loader, autoescape=True).get_template("page.html").render(facts)


def render_php(site: str, facts: dict[str, Any], folder: Path) -> str:
    shutil.copy(EXAMPLES / "templates" / "page.php", folder)
    (folder / "tagstitch.html").write_text(snippet(site), "utf-8")
    return run_php(DATA / "page.php", folder / "page.php", facts=facts)


@pytest.mark.browser
@pytest.mark.parametrize("language", ["jinja", "php"])
def test_a_server_template_says_who_and_what(
    language: str, page: Page, page_server: PageServer, site: str, tmp_path: Path
) -> None:
    """A page made on a server identifies its customer and tells its order; a hostile name stays text."""
    facts = {"title": "order", "customer": {"id": "4711", "signature": "1.2.ab"}, "order": ORDER}
    html = render_jinja(site, facts) if language == "jinja" else render_php(site, facts, tmp_path)
    assert snippet(site) in html
    page.goto(page_server.add_page(f"/template/{language}", html))
    events = page_server.event_names_are(site, ["page_view", "identify", "purchase"])
    assert events[1]["k"] == [{"k": "customer", "v": "4711", "g": "1.2.ab"}]
    assert events[2]["p"] == ORDER
    assert page.evaluate("window.broken") is None


@pytest.mark.browser
@pytest.mark.parametrize("language", ["jinja", "php"])
def test_a_server_template_without_a_customer(
    language: str, page: Page, page_server: PageServer, site: str, tmp_path: Path
) -> None:
    """Nobody signed in and nothing bought: a page view, and no call that says nothing."""
    facts = {"title": HOSTILE, "customer": None, "order": None}
    html = render_jinja(site, facts) if language == "jinja" else render_php(site, facts, tmp_path)
    page.goto(page_server.add_page(f"/template/{language}/none", html))
    page_server.event_names_are(site, ["page_view"])
    assert page.evaluate("window.broken") is None


# -- WooCommerce -------------------------------------------------------------------------------------------------------


def render_woocommerce(folder: Path, site: str, hooks: list[tuple[str, int | None]], **facts: Any) -> str:
    """Let the plugin print a page in our stand-in for WordPress."""
    shutil.copy(EXAMPLES / "woocommerce" / "tagstitch.php", folder)
    (folder / "snippet.html").write_text(snippet(site), "utf-8")
    known = {
        "site": site,
        "version": 3,
        "secret": "0" * 64,
        "user": 0,
        "product_name": HOSTILE,
        "order_status": "processing",
        "hooks": hooks,
    }
    return run_php(DATA / "wordpress.php", folder / "tagstitch.php", "page", facts=known | facts)


def test_woocommerce_signs_as_the_collector_checks(tmp_path: Path) -> None:
    """A signed-in customer is identified with a signature that the collector takes, and takes for nobody else."""
    keyring = make_keyring()
    secret = keyring.derive_identify_secret("shop", 3)
    html = render_woocommerce(tmp_path, "shop", [], user=4711, secret=secret)
    ((value, options),) = read_calls(html, "identify")
    site = Site("shop", identify_versions=(3,))
    now_s = int(time.time())
    assert value == "4711"
    assert check_identify(keyring, site, "customer", value, options["signature"], now_s) is None
    assert check_identify(keyring, site, "customer", value, options["signature"], now_s + 90_000) is Reason.EXPIRED
    assert check_identify(keyring, site, "customer", "4712", options["signature"], now_s) is Reason.SIGNATURE
    assert secret not in html
    assert read_calls(render_woocommerce(tmp_path, "shop", [], user=0), "identify") == []


def test_woocommerce_tells_an_order_once(tmp_path: Path) -> None:
    """The thank-you page opened twice tells one purchase; a failed or unknown order tells none."""
    twice = [("woocommerce_thankyou", 77), ("woocommerce_thankyou", 77)]
    assert len(read_calls(render_woocommerce(tmp_path, "shop", twice), "track")) == 1
    assert read_calls(render_woocommerce(tmp_path, "shop", [("woocommerce_thankyou", 78)]), "track") == []
    failed = render_woocommerce(tmp_path, "shop", [("woocommerce_thankyou", 77)], order_status="failed")
    assert read_calls(failed, "track") == []


@pytest.mark.browser
def test_woocommerce_in_a_browser(page: Page, page_server: PageServer, site: str, tmp_path: Path) -> None:
    """Product, checkout and order arrive with the field's names and as numbers; a product's name cannot break out."""
    hooks = [
        ("woocommerce_after_single_product", None),
        ("woocommerce_before_checkout_form", None),
        ("woocommerce_thankyou", 77),
    ]
    html = render_woocommerce(tmp_path, site, hooks, user=4711)
    page.goto(page_server.add_page("/woocommerce", html))
    names = ["page_view", "identify", "view_item", "begin_checkout", "purchase"]
    events = {event["n"]: event for event in page_server.event_names_are(site, names)}
    lamp = {"item_id": "LAMP-1", "item_name": HOSTILE, "price": 12.5}
    card = {"item_id": "9", "item_name": "Gift card", "price": 12.5, "quantity": 1}
    assert events["view_item"]["p"] == {"currency": "EUR", "value": 12.5, "items": [lamp | {"quantity": 1}]}
    assert events["begin_checkout"]["p"]["items"] == [lamp | {"quantity": 2}, card]
    assert events["purchase"]["p"] == {
        "transaction_id": "1077",
        "currency": "EUR",
        "value": 37.5,
        "tax": 7.1,
        "shipping": 4.9,
        "coupon": "may,ten",
        "items": [lamp | {"quantity": 2}, card],
    }
    assert page.evaluate("window.broken") is None


@pytest.mark.browser
def test_woocommerce_begins_a_new_visitor_after_signing_out(
    page: Page, page_server: PageServer, site: str, tmp_path: Path
) -> None:
    """The cookie that signing out leaves makes the next page reset, once, even where that page came from a cache."""
    url = page_server.add_page("/signed-out", render_woocommerce(tmp_path, site, []))
    page.goto(url)
    page_server.event_names_are(site, ["page_view"])
    page.context.add_cookies([{"name": "tagstitch_reset", "value": "1", "url": page_server.origin}])
    page.goto(url)
    page_server.event_names_are(site, ["page_view"] * 2 + ["reset"])
    page.goto(url)
    page_server.event_names_are(site, ["page_view"] * 3 + ["reset"])
    assert not [cookie for cookie in page.context.cookies() if cookie.get("name") == "tagstitch_reset"]


# -- Google Tag Manager ------------------------------------------------------------------------------------------------

# What Google Tag Manager does with a custom HTML tag: variables become values, and each script becomes a new element
# that keeps nothing but its address and its text.
INJECT = """
function inject(html) {
  const template = document.createElement('template');
  template.innerHTML = html;
  for (const script of template.content.querySelectorAll('script')) {
    const made = document.createElement('script');
    if (script.src) { made.src = script.getAttribute('src'); made.async = true; }
    made.text = script.text;
    document.body.append(made);
  }
}
"""


@pytest.mark.browser
def test_google_tag_manager_starts_the_tag_and_hands_events_on(page: Page, page_server: PageServer, site: str) -> None:
    """Injected as a tag manager does, without attributes, the recipe starts the tag of its site, and an e-commerce
    event of the data layer becomes an event."""
    tag = (EXAMPLES / "google-tag-manager" / "tag.html").read_text("utf-8")
    tag = tag.replace("site: 'shop'", f"site: '{site}', auto: 'spa'").replace("'required'", "'implied'")
    tag = tag.replace("https://shop.example", page_server.origin)
    assert site in tag
    assert page_server.origin in tag
    events = (EXAMPLES / "google-tag-manager" / "events.html").read_text("utf-8")
    events = events.replace("{{Event}}", '"purchase"').replace(
        "{{ecommerce}}", json.dumps(ORDER).replace("<", "\\u003c")
    )
    nothing = events.replace(json.dumps(ORDER).replace("<", "\\u003c"), "undefined")
    html = "".join(f"inject({json.dumps(one).replace('<', chr(92) + 'u003c')});" for one in (tag, events, nothing))
    page.goto(page_server.add_page("/gtm", f"<!doctype html><title>gtm</title><body><script>{INJECT}{html}</script>"))
    found = page_server.event_names_are(site, ["page_view", "purchase"])
    assert found[1]["p"] == ORDER
    assert page.evaluate("document.querySelectorAll('[data-site]').length") == 0


# -- Next.js -----------------------------------------------------------------------------------------------------------


def test_nextjs_layout_renders_on_a_server() -> None:
    """The layout of the app router, with the package's component in it, renders to its page alone."""
    script = run_esbuild(consumer_folder() / "tests/data/recipes/next_layout.tsx", platform="node")
    assert json.loads(run_node("-", program=script)) == '<html lang="en"><head></head><body>page</body></html>'


@pytest.mark.browser
@pytest.mark.long
def test_nextjs_pages_router(page: Page, page_server: PageServer, site: str) -> None:
    """`_app` puts queue and tag on the page once, whatever page is shown, and the tag sees each route. `next/script` is
    a stand-in here that does what its documentation says."""
    folder = consumer_folder() / "tests" / "data" / "recipes"
    script = run_esbuild(
        folder / "next_pages.tsx", format="iife", alias={"next/script": str(folder / "next_script.tsx")}
    )
    script = script.replace('"data-site": "shop"', f'"data-site": "{site}", "data-auto": "spa"').replace(
        '"required"', '"implied"'
    )
    assert site in script
    page_server.pages[f"/next/{site}.js"] = lambda _request: Response(script, media_type="text/javascript")
    body = f"<div id=root></div><script src=/next/{site}.js></script>"
    page.goto(page_server.add_page("/next", f"<!doctype html><title>next</title><body>{body}"))
    page_server.event_names_are(site, ["page_view"])
    page.get_by_role("button").click()
    page_server.event_names_are(site, ["page_view"] * 2)
    assert page.locator("script[data-site]").count() == 1


# -- e-commerce events -------------------------------------------------------------------------------------------------


def test_the_page_lists_the_commerce_events_with_examples_that_compile() -> None:
    """The table has every event that the package's types know, and no other; its required properties are those of the
    types, because each example compiles as it stands and fails without any one of them."""
    page = (ROOT / "docs" / "tag.md").read_text("utf-8").partition("## E-commerce events")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| `(.+)` \|$", page, re.MULTILINE)
    types = (ROOT / "tag_js" / "src" / "api.ts").read_text("utf-8")
    known = re.findall(
        r"^  (\w+): \w+;", types.partition("export interface CommerceEvents {")[2].partition("\n}")[0], re.M
    )
    assert [name for name, _, _ in rows] == known
    (item,) = re.findall(r"^const lamp = .*$", page, re.MULTILINE)
    lines = ['import { tagstitch } from "tagstitch-tag";', item]
    for name, listed, example in rows:
        assert f"'{name}'" in example
        lines.append(f"{example};")
        for required in re.findall(r"\*\*(\w+)\*\*", listed):
            without = re.sub(rf"\b{required}: (\[.*?\]|'[^']*'|[\d.]+),? ?", "", example)
            assert without != example
            lines += [f"// @ts-expect-error: without {required}", f"{without};"]
    folder = consumer_folder()
    (folder / "commerce.ts").write_text("\n".join(lines))
    options = ["--noEmit", "--strict", "--target", "es2020", "--module", "esnext", "--moduleResolution", "bundler"]
    run_node(TAG_JS / "node_modules" / "typescript" / "bin" / "tsc", *options, folder / "commerce.ts", cwd=folder)
