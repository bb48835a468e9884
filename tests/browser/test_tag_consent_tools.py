"""Consent tools in real Chromium: the reference implementations of TCF and GPP, Google's own reader of the data layer,
and Klaro, all as published on npm; and the recipes of `docs/tag.md`, run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_server import PageServer
from playwright.sync_api import Page, Route
from starlette.responses import Response
from test_tag_consent import SPY, read_profile

from collector.config import Config
from collector.snippet import make_snippet

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).parent.parent.parent
TAG_JS = REPOSITORY / "tag_js"
MODULES = TAG_JS / "node_modules"
FIXTURES = REPOSITORY / "tests" / "data" / "consent"

ALL_PURPOSES = list(range(1, 12))

# The reference implementations as a page's own script: a vendor's tool is built on the same.
REFERENCE = """
import { CmpApi as Tcf } from "@iabtechlabtcf/cmpapi";
import { GVL, TCModel, TCString } from "@iabtechlabtcf/core";
import { CmpApi as Gpp } from "@iabgpp/cmpapi";
const list = { gvlSpecificationVersion: 3, vendorListVersion: 48, tcfPolicyVersion: 5,
  lastUpdated: "2026-11-01T00:00:00Z", purposes: {}, specialPurposes: {}, features: {}, specialFeatures: {},
  vendors: {}, stacks: {}, dataCategories: {} };
window.encodeConsent = (purposes, features) => {
  const model = new TCModel(new GVL(list));
  Object.assign(model, { cmpId: 31, cmpVersion: 1, isServiceSpecific: true });
  model.purposeConsents.set(purposes);
  model.specialFeatureOptins.set(features);
  return TCString.encode(model);
};
window.loadTcf = () => { window.tcf = new Tcf(31, 1, true); };
window.loadGpp = () => { window.gpp = new Gpp(31, 1); };
"""

# The stub that the GPP specification asks for, which no package has.
GPP_STUB = """<script>
  window.__gpp = function (command, callback, parameter) {
    var own = window.__gpp;
    own.queue = own.queue || [];
    own.events = own.events || [];
    if (!arguments.length) return own.queue;
    if (command === 'events') return own.events;
    var ping = { gppVersion: '1.1', cmpStatus: 'stub', cmpDisplayStatus: 'hidden', signalStatus: 'not ready',
      supportedAPIs: [], cmpId: 31, sectionList: [], applicableSections: [-1], gppString: '', parsedSections: {} };
    if (command === 'ping') callback(ping, true);
    else if (command === 'addEventListener') {
      own.lastId = (own.lastId || 0) + 1;
      own.events.push({ id: own.lastId, callback: callback, parameter: parameter });
      callback({ eventName: 'listenerRegistered', listenerId: own.lastId, data: true, pingData: ping }, true);
    } else own.queue.push([].slice.apply(arguments));
  };
</script>"""

# Google's own three lines.
GTAG = "<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments); }</script>"


@pytest.fixture(scope="session")
def reference() -> str:
    """The reference implementations, bundled. Fails, and does not skip, where node or its modules are missing."""
    node = shutil.which("node")
    if node is None or not (MODULES / "@iabgpp").is_dir():
        pytest.fail("node or tag_js/node_modules is missing: install node, then run `npm ci` in tag_js")
    program = (
        "const { build } = require('esbuild');"
        "build({ stdin: { contents: require('fs').readFileSync(0, 'utf8'), resolveDir: '.' }, bundle: true,"
        " format: 'iife', write: false }).then((made) => process.stdout.write(made.outputFiles[0].text));"
    )
    run = subprocess.run([node, "-e", program], cwd=TAG_JS, input=REFERENCE, capture_output=True, text=True, check=True)
    return run.stdout


def package_file(name: str) -> str:
    """A published file of a package."""
    return (MODULES / name).read_text(encoding="utf-8")


def inline(name: str) -> str:
    """A published file as a script element."""
    return f"<script>{package_file(name)}</script>"


@pytest.fixture
def open_page(page: Page, page_server: PageServer, site: str, reference: str) -> Callable[..., Page]:
    """Open a page with the tag, told where to take consent from; `head` stands before the tag, `body` after it."""

    def open_page(consent_from: str, *, preset: str = "required", head: str = "", body: str = "") -> Page:
        snippet = make_snippet(Config(), site, consent=preset)
        marked = snippet.replace(" data-site=", f' data-auto="none" data-consent-from="{consent_from}" data-site=')
        assert marked != snippet
        html = f"<!doctype html><html lang=en><head><title>t</title>{head}{marked}</head><body>{body}</body></html>"
        page.add_init_script(reference)
        page.goto(page_server.add_page(f"/{site}", html))
        page.wait_for_function("tagstitch.isTagstitch")
        return page

    return open_page


def encode(page: Page, purposes: list[int], features: list[int]) -> str:
    """A consent string as a TCF tool keeps it."""
    text: str = page.evaluate("([purposes, features]) => encodeConsent(purposes, features)", [purposes, features])
    return text


def sent_consent(page_server: PageServer, site: str) -> list[str | None]:
    """Letters of consent on the beacons so far."""
    return [beacon.envelope.get("c") for beacon in page_server.beacons(site)]


def test_tcf_banner_is_waited_for_and_obeyed(
    open_page: Callable[..., Page], page_server: PageServer, site: str
) -> None:
    """With the stub and the reference implementation of TCF nothing happens while the banner is open; the answer sends
    what waited; opening the banner again changes nothing, and withdrawing there empties the profile."""
    page = open_page("tcf", head=inline("@iabtechlabtcf/stub/lib/stub.js"))
    page.evaluate("loadTcf(); tcf.update('', true)")
    page.wait_for_timeout(400)
    assert page_server.beacons(site) == []
    assert page.context.cookies() == []

    page.evaluate("text => tcf.update(text, false)", encode(page, [1, 5, 8], []))
    page_server.event_names_are(site, ["page_view", "consent"])
    assert sent_consent(page_server, site) == ["ai"]

    page.evaluate("text => tcf.update(text, true)", encode(page, [], []))
    page.evaluate("tagstitch('track', 'while_open')")
    page_server.event_names_are(site, ["page_view", "consent", "while_open"])
    page.evaluate("text => tcf.update(text, false)", encode(page, [], []))
    page_server.event_names_are(site, ["page_view", "consent", "while_open", "consent"])
    assert sent_consent(page_server, site)[-1] == ""
    assert page.context.cookies() == []


@pytest.mark.parametrize(
    ("purposes", "features", "letters"),
    [(ALL_PURPOSES, [1], "aipm"), ([1, 3, 4, 7, 8], [], "am"), ([1, 8], [1], "a")],
)
def test_tcf_answer_of_an_earlier_visit_counts_at_once(
    open_page: Callable[..., Page],
    page_server: PageServer,
    site: str,
    purposes: list[int],
    features: list[int],
    letters: str,
) -> None:
    """A stored consent string, decoded by the reference implementation, gives our letters; precise location gives none
    of them. The string is sent as the answer's proof, once."""
    page = open_page("tcf", head=inline("@iabtechlabtcf/stub/lib/stub.js"))
    page.evaluate("loadTcf()")
    page.evaluate("text => tcf.update(text, false)", encode(page, purposes, features))
    page_server.event_names_are(site, ["page_view", "consent"])
    assert sent_consent(page_server, site) == [letters]
    [beacon] = page_server.beacons(site)
    assert beacon.envelope["e"][1]["p"] == {"source": "tcf", "proof": encode(page, purposes, features)}
    page.reload()
    page.evaluate("loadTcf()")
    page.evaluate("text => tcf.update(text, false)", encode(page, purposes, features))
    page_server.event_names_are(site, ["page_view", "consent", "page_view"])  # its proof is known by now


def test_tcf_special_feature_two_allows_the_fingerprint(
    open_page: Callable[..., Page], page_server: PageServer, site: str
) -> None:
    """Opting in to scanning device characteristics, and nothing less, has the device's signals read."""
    page = open_page("tcf", head=inline("@iabtechlabtcf/stub/lib/stub.js"))
    page.evaluate("loadTcf()")
    page.evaluate("text => tcf.update(text, false)", encode(page, ALL_PURPOSES, [2]))
    page_server.event_names_are(site, ["page_view", "consent", "fingerprint"])
    assert sent_consent(page_server, site)[-1] == "aifpm"


def test_tcf_tool_without_stub_may_come_late(
    open_page: Callable[..., Page], page_server: PageServer, site: str
) -> None:
    """A tool that appears only after the tag, without the stub that it owes the page, is found."""
    page = open_page("tcf")
    page.wait_for_timeout(500)
    text = encode(page, [1, 8], [])
    page.evaluate("text => { loadTcf(); tcf.update(text, false) }", text)
    page_server.event_names_are(site, ["page_view", "consent"])
    assert sent_consent(page_server, site) == ["a"]


@pytest.mark.parametrize(("preset", "names"), [("required", []), ("implied", ["page_view"])])
def test_where_the_gdpr_does_not_apply_the_preset_stands(
    open_page: Callable[..., Page], page_server: PageServer, site: str, preset: str, names: list[str]
) -> None:
    """A TCF tool that says so has not answered for the person."""
    page = open_page("tcf", preset=preset, head=inline("@iabtechlabtcf/stub/lib/stub.js"))
    page.evaluate("loadTcf(); tcf.update(null)")
    page.wait_for_timeout(600)
    page_server.event_names_are(site, names)
    assert sent_consent(page_server, site) == [None] * len(names)


@pytest.mark.parametrize("preset", ["implied", "off"])
def test_no_preset_grants_before_the_tool_is_heard(
    open_page: Callable[..., Page], page: Page, page_server: PageServer, site: str, preset: str
) -> None:
    """While the listening module is on its way nothing is sent or kept, whatever the preset; a stored refusal counts
    when it has come, and what a preset would have sent meanwhile is never sent."""
    held: list[Route] = []
    module = re.compile(r"/x/t-c-[^/]+\.js$")
    page.route(module, lambda route: held.append(route))  # playwright sets attributes on it
    open_page("tcf", preset=preset, head=inline("@iabtechlabtcf/stub/lib/stub.js"))
    page.evaluate("loadTcf()")
    page.evaluate("text => tcf.update(text, false)", encode(page, [], []))
    page.evaluate("tagstitch('track', 'early')")
    with page.expect_response(module):
        page.wait_for_timeout(600)
        [route] = held
        assert page_server.beacons(site) == []
        assert not any(read_profile(page).values())
        route.continue_()
    page.evaluate("tagstitch('track', 'late')")
    page.wait_for_timeout(600)
    assert page_server.beacons(site) == []
    assert not any(read_profile(page).values())


def test_gpp_opt_out_is_obeyed(open_page: Callable[..., Page], page_server: PageServer, site: str) -> None:
    """With the reference implementation of GPP the answer counts when the signal is ready; opting out of sale takes
    marketing away and nothing else, and gives it back when it is revoked."""
    page = open_page("tcf gpp", head=GPP_STUB)
    page.evaluate("loadGpp(); gpp.setFieldValue('usnat', 'SaleOptOut', 2); gpp.setApplicableSections([7])")
    page.evaluate("gpp.setCmpStatus('loaded')")
    page.wait_for_timeout(400)
    assert page_server.beacons(site) == []

    page.evaluate("gpp.setSignalStatus('ready')")
    page_server.event_names_are(site, ["page_view", "consent"])
    for value, event in ((1, "out"), (2, "in")):
        page.evaluate(
            """value => {
              gpp.setSignalStatus('not ready');
              gpp.setFieldValue('usnat', 'SaleOptOut', value);
              gpp.fireSectionChange('usnat');
              gpp.setSignalStatus('ready');
            }""",
            value,
        )
        page.evaluate("name => tagstitch('track', name)", event)
        page_server.beacon_count_is(site, len(page_server.beacons(site)) + 1)
    assert sent_consent(page_server, site) == ["aipm", "aip", "aipm"]


def test_gpp_in_europe_is_no_answer(open_page: Callable[..., Page], page_server: PageServer, site: str) -> None:
    """Where Europe's section is in force, sections of the United States in the same string do not count."""
    page = open_page("gpp", head=GPP_STUB)
    page.evaluate("loadGpp(); gpp.setFieldValue('usnat', 'SaleOptOut', 2); gpp.setApplicableSections([2])")
    page.evaluate("gpp.setSignalStatus('ready')")
    page.wait_for_timeout(600)
    assert page_server.beacons(site) == []


@pytest.mark.parametrize("manager", ["none", "before", "after"])
def test_google_consent_commands_are_heard(
    open_page: Callable[..., Page], page_server: PageServer, site: str, manager: str
) -> None:
    """gtag's `default` is no answer and its `update` is one, with Google's own reader of the data layer, which wraps
    `push`, before the tag, after it, or not at all; the reader gets everything that was pushed."""
    reader = package_file("data-layer-helper/dist/data-layer-helper.js")
    start = ";window.seen = []; new DataLayerHelper(dataLayer, (_, change) => seen.push(change), true)"
    default = "gtag('consent', 'default', {ad_storage: 'denied', analytics_storage: 'denied', wait_for_update: 500});"
    head = f"{GTAG}<script>{default}{reader + start if manager == 'before' else ''}</script>"
    page = open_page("google", head=head)
    if manager == "after":
        page.add_script_tag(content=reader + start)
    page.wait_for_timeout(400)
    assert page_server.beacons(site) == []

    assert page.evaluate("dataLayer.push({event: 'shown'})") == 2
    page.evaluate("gtag('consent', 'update', {analytics_storage: 'granted', personalization_storage: 'granted'})")
    page_server.event_names_are(site, ["page_view", "consent"])
    page.evaluate(
        "gtag('consent', 'update', {ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted'})"
    )
    page.evaluate("tagstitch('track', 'later')")
    page_server.event_names_are(site, ["page_view", "consent", "consent", "later"])
    assert sent_consent(page_server, site) == ["aip", "aipm"]
    if manager != "none":
        assert {"event": "shown"} in page.evaluate("seen")


def test_listening_touches_nothing(
    open_page: Callable[..., Page], page: Page, page_server: PageServer, site: str
) -> None:
    """While all three standards are listened to and none has an answer, no property of the device is read and the
    profile stays as it is."""
    page.add_init_script(SPY)
    stubs = inline("@iabtechlabtcf/stub/lib/stub.js") + GPP_STUB + GTAG
    open_page("tcf gpp google", head=stubs + "<script>touched.length = 0</script>")
    page.evaluate("loadTcf(); tcf.update('', true); loadGpp(); gtag('consent', 'default', {})")
    page.wait_for_timeout(600)
    assert page.evaluate("touched") == []
    profile = read_profile(page)
    assert not any(profile.values()), profile
    assert page_server.beacons(site) == []


def recipe(name: str) -> str:
    """What `docs/tag.md` tells the owner of a site to put into the page for this tool."""
    page = (REPOSITORY / "docs" / "tag.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {name}\n.*?```html\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_recipe_for_klaro(open_page: Callable[..., Page], page_server: PageServer, site: str) -> None:
    """With the recipe and Klaro itself nothing is sent until the banner is answered; the answer counts at once, on the
    next page without a question, and switching the visits off in its settings withdraws."""
    script = package_file("klaro/dist/klaro.js")
    page_server.pages["/klaro.js"] = lambda _request: Response(script, media_type="text/javascript")
    page = open_page("", head="", body=recipe("Klaro"))
    page.wait_for_selector(".cookie-notice")
    page.wait_for_timeout(300)
    assert page_server.beacons(site) == []

    page.click(".cookie-notice .cm-link, .cookie-notice .cn-learn-more")
    for service in ("visits", "offers"):
        page.click(f"label[for='service-item-{service}']")
    page.click(".cookie-modal .cm-btn-accept")
    page_server.event_names_are(site, ["page_view"])
    page.reload()
    page_server.event_names_are(site, ["page_view"] * 2)
    assert page.locator(".cookie-notice:visible").count() == 0
    assert sent_consent(page_server, site) == ["am", "am"]

    page.evaluate("klaro.show(undefined, true)")
    page.click("label[for='service-item-visits']")
    page.click(".cookie-modal .cm-btn-accept")
    page_server.event_names_are(site, ["page_view", "page_view", "consent"])
    assert sent_consent(page_server, site)[-1] == ""


def vendor_steps() -> list[Any]:
    """By tool: scripts that do what its documentation says the tool does, and the consent that must follow."""
    steps: dict[str, list[dict[str, Any]]] = json.loads((FIXTURES / "vendors.json").read_text(encoding="utf-8"))
    return [pytest.param(name, found, id=name) for name, found in steps.items()]


@pytest.mark.parametrize(("name", "steps"), vendor_steps())
def test_recipe_by_documented_events(
    open_page: Callable[..., Page], page_server: PageServer, site: str, name: str, steps: list[dict[str, Any]]
) -> None:
    """The recipe turns what the vendor's script is documented to do into consent, and waits until somebody answered."""
    page = open_page("", body=recipe(name))
    expected: list[str] = []
    for number, step in enumerate(steps):
        page.evaluate(step["run"])
        page.evaluate("name => tagstitch('track', name)", f"step_{number}")
        if step["letters"] is None:
            page.wait_for_timeout(400)
        else:
            expected.append(step["letters"])
            page_server.beacon_count_is(site, len(expected))
        assert sent_consent(page_server, site) == expected, step["claim"]
