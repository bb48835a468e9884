"""Who is measured, and how each is configured: ours and its peers, all doing the same work.

The work of a tag: one page view and the three events of `EVENTS`, with the same names and properties. The work of a
fingerprint: everything it reads by default, until its result is there. Each agent runs in its documented default
configuration; what is set beyond that is set so that it finds the local sink, and says so in a comment.

`codes` are scripts that run in this order as inline scripts; `start` is what a page would call then. In both, ORIGIN
stands for the sink's origin of this run.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from collector.config import Config
from collector.snippet import make_snippet
from collector.tag_builds import STATIC, TAG

PEERS = Path(__file__).parent.parent / "peers"
MODULES = PEERS / "node_modules"
SITE = "bench"
FINGERPRINT = "f.js"
VITALS = "v.js"

EVENTS: tuple[tuple[str, dict[str, str | int]], ...] = (
    ("product_viewed", {"product_id": "A-4711", "name": "Garden chair", "price": 129, "currency": "EUR"}),
    ("added_to_cart", {"product_id": "A-4711", "quantity": 2, "cart_value": 258, "currency": "EUR"}),
    ("newsletter_opened", {"place": "footer", "variant": "b"}),
)


class PeersMissingError(Exception):
    """The peers' packages are not installed."""

    def __init__(self) -> None:
        super().__init__("the peers are not installed: run `npm install` in bench/peers, or `make bench-tag`")


@dataclass(frozen=True, slots=True)
class Script:
    """One inline script: its text and the attributes of its element."""

    text: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """One that is measured. `start` of a fingerprint is an expression for a promise of what it read."""

    name: str
    label: str
    codes: tuple[Script, ...]
    start: str


def _calls(form: str) -> str:
    """Repeat a call for each event; NAME and PROPS stand for its name and properties."""
    return "\n".join(form.replace("NAME", json.dumps(name)).replace("PROPS", json.dumps(p)) for name, p in EVENTS)


def _read_peer(path: str) -> str:
    file = MODULES / path
    if not file.is_file():
        raise PeersMissingError
    return file.read_text(encoding="utf-8")


def _version(package: str) -> str:
    return str(json.loads(_read_peer(f"{package}/package.json"))["version"])


def _peer(name: str, package: str, file: str, start: str) -> Agent:
    return Agent(name, f"{name} {_version(package)}", (Script(_read_peer(f"{package}/{file}")),), start)


def inline_snippet() -> str:
    """Return the text of the snippet's inline script, as `tagstitch snippet` prints it."""
    found = re.search(r"<script[^>]*>(.+?)</script>", make_snippet(Config(), SITE), re.DOTALL)
    if found is None:
        raise LookupError("the snippet has no inline script any more: adapt bench/tag/agents.py")
    return found[1]


def make_tag(text: str | None = None) -> Agent:
    """Return our tag: the built t.js behind its snippet, storage and identity consented to, everything on that is on
    by default. `text` stands in for the built file.

    An inline script has no address, so `init` says where the tag and the beacon are; a page has that from `src`.
    """
    init = 'tagstitch("init", {script: "ORIGIN/x/t.js", endpoint: "ORIGIN/x/b"});'
    built = (STATIC / TAG).read_text(encoding="utf-8") if text is None else text
    attributes = {"data-site": SITE, "data-consent": "implied"}
    # The first page view goes by itself.
    return Agent(
        "tagstitch",
        "tagstitch (ours)",
        (Script(inline_snippet() + "\n" + init), Script(built, attributes)),
        _calls('tagstitch("track", NAME, PROPS);'),
    )


def make_snowplow() -> Agent:
    """Return Snowplow's browser tracker: the small build without plugins, so without clicks, forms and vitals.

    Source: the quick start of docs.snowplow.io, npm part. Events are self-describing, its way to carry properties.
    """
    track = _calls(
        't.trackSelfDescribingEvent({event: {schema: "iglu:com.example/" + NAME + "/jsonschema/1-0-0", data: PROPS}});'
    )
    start = f"""
        const t = snowplowBrowserTracking;
        t.newTracker("sp", "ORIGIN", {{appId: "bench"}});
        t.trackPageView();
        {track}"""
    return _peer("snowplow", "@snowplow/browser-tracker", "dist/index.umd.min.js", start)


def make_posthog() -> Agent:
    """Return PostHog's default bundle with the configuration of its install page; the first page view goes by itself.

    The sink answers its remote configuration as a new project would: autocapture on, replay and surveys off. The
    script for surveys, which it asks for all the same, is not served: that spares it the evaluation.
    """
    start = f"""
        posthog.init("phc_bench", {{
          api_host: "ORIGIN",
          defaults: "2026-08-30",
          person_profiles: "identified_only",
        }});
        {_calls("posthog.capture(NAME, PROPS);")}"""
    return _peer("posthog", "posthog-js", "dist/array.js", start)


def make_plausible() -> Agent:
    """Return Plausible's npm tracker, bundled as a site's bundler would; the first page view goes by itself.

    Its properties are texts, as its types ask. It has no visitor, session, queue or retry: the floor, not a rival.
    """
    _read_peer("@plausible-analytics/tracker/plausible.js")
    bundle = subprocess.run(
        ["node_modules/.bin/esbuild", "--bundle", "--minify", "--format=iife", "--global-name=plausibleTracker"],
        cwd=PEERS,
        input='export * from "@plausible-analytics/tracker"',
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=60,
    ).stdout
    events = "\n".join(
        f"plausibleTracker.track({json.dumps(name)}, "
        f"{{props: {json.dumps({key: str(value) for key, value in props.items()})}}});"
        for name, props in EVENTS
    )
    # logging: as a production page; captureOnLocalhost: the page is on *.localhost.
    start = f"""
        plausibleTracker.init({{domain: "bench.example", endpoint: "ORIGIN/api/event", captureOnLocalhost: true}});
        {events}"""
    label = f"plausible {_version('@plausible-analytics/tracker')}"
    return Agent("plausible", label, (Script(bundle),), start)


EMPTY = Agent("empty", "an empty page", (Script("void 0;"),), "void 0;")


def make_fingerprint(text: str | None = None) -> Agent:
    """Return our fingerprint module alone, as the tag runs it: the script hands `run` over on its own element."""
    built = (STATIC / FINGERPRINT).read_text(encoding="utf-8") if text is None else text
    return Agent("tagstitch", "tagstitch (ours)", (Script(built),), "bench.elements[0].run()")


def make_fingerprintjs() -> Agent:
    """Return FingerprintJS. monitoring: one visit in a thousand would be reported to its maker."""
    return _peer(
        "fingerprintjs",
        "@fingerprintjs/fingerprintjs",
        "dist/fp.umd.min.js",
        "FingerprintJS.load({monitoring: false}).then((agent) => agent.get()).then((result) => result.components)",
    )


def make_thumbmark() -> Agent:
    """Return ThumbmarkJS. logging: a sample of visits would be reported to its maker."""
    return _peer(
        "thumbmark",
        "@thumbmarkjs/thumbmarkjs",
        "dist/thumbmark.umd.js",
        "new ThumbmarkJS.Thumbmark({logging: false}).get().then((result) => result.components)",
    )


TAGS = {
    "tagstitch": make_tag,
    "snowplow": make_snowplow,
    "plausible": make_plausible,
    "posthog": make_posthog,
}
FINGERPRINTS = {
    "tagstitch": make_fingerprint,
    "fingerprintjs": make_fingerprintjs,
    "thumbmark": make_thumbmark,
}
