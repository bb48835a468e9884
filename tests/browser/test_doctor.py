"""`tagstitch doctor URL` on real pages in real Chromium: what is right, what is not, and that it names the cause.

Pages of a small shop behind the real nginx with a certificate of our own, beside a whole instance.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from deploy.proxied import find_nginx, running_nginx
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site
from page_server import PageServer, running_page_server
from playwright.sync_api import Browser
from starlette.responses import HTMLResponse, Response

from collector.config import Config
from collector.doctor import arrival
from collector.doctor.browser_look import look_at_page
from collector.doctor.finding import Finding
from collector.doctor.look import PageAway
from collector.doctor.page import judge
from collector.doctor.store import read_known_sites
from collector.sites.book import Site
from collector.sites.rows import add_site
from collector.snippet import make_snippet
from collector.store.client import open_client

pytestmark = pytest.mark.browser

STRANGER = "stranger.localhost"
GOOD_PAGE = ["page", "certificate", "tag", "content policy", "path", "cookie", "cookie", "origin", "consent", "stored"]


@dataclass(frozen=True)
class Patients:
    """Pages to look at, and the instance beside them."""

    instance: RunningInstance
    pages: PageServer
    url: str
    chromium: Browser

    def put(self, path: str, head: str, **headers: str) -> str:
        """Serve a page with this head; underscores in header names are dashes. Returns its address."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.pages.pages[path] = lambda _: HTMLResponse(f"<!doctype html><title>x</title>{head}", headers=named)
        return self.url + path

    def look(self, url: str) -> list[Finding]:
        """Let the doctor look at a page."""
        sites = read_known_sites(self.instance.config, self.instance.keyring)
        assert sites
        look = look_at_page(self.chromium, url, self.instance.config)
        return list(judge(look, url, self.instance.config, self.instance.keyring, sites))

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `tagstitch doctor …`."""
        command = [sys.executable, "-m", "collector", "doctor", *arguments, "--data", str(self.instance.data)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=90, env={**os.environ, **environ}
        )


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Patients]:
    """An instance behind nginx; sites `shop` (its own pages), `stern` (another origin), `office` (our own network),
    `family` (a cookie of its own name that a whole domain shares)."""
    if find_nginx() is None:
        pytest.fail("no nginx here; `make test` installs it, or: apt-get install nginx")
    folder = tmp_path_factory.mktemp("doctor")
    settings = ("--set", "trusted_proxies=127.0.0.1/32", "--set", "settings_interval_s=0.2")
    with (
        running_page_server() as pages,
        running_instance(folder, *settings) as instance,
        running_nginx(
            instance.config.port,
            folder=folder / "nginx",
            site_port=int(pages.origin.rpartition(":")[2]),
            names=("localhost", STRANGER, "127.0.0.1"),
            tls=True,
        ) as proxy,
    ):
        origins = (proxy.url, f"https://{STRANGER}:{proxy.port}")
        with open_client(instance.config, instance.keyring, "writer") as client:
            add_site(client, Site("shop", origins=origins, identify_versions=(1,)))
            add_site(client, Site("open", origins=origins, consent="implied"))
            add_site(
                client, Site("family", origins=origins, consent="implied", cookie="lamp_id", cookie_domain=STRANGER)
            )
            add_site(client, Site("stern", origins=("https://stern.example",)))
            add_site(client, Site("office", origins=origins, excluded_networks=("127.0.0.0/24",)))
        wait_for_site(instance, "office")
        yield Patients(instance, pages, proxy.url, chromium)


def _verdicts(findings: list[Finding], *subjects: str) -> list[tuple[str, str]]:
    return [(finding.subject, finding.verdict) for finding in findings if finding.subject in subjects]


def _find(findings: list[Finding], subject: str, verdict: str) -> Finding:
    """Return the one finding of this subject and verdict; fails with all of them."""
    [found] = [item for item in findings if (item.subject, item.verdict) == (subject, verdict)] or [None]
    assert found is not None, findings
    return found


def _bad(findings: list[Finding]) -> list[str]:
    return [finding.subject for finding in findings if finding.verdict == "bad"]


def _lines(done: subprocess.CompletedProcess[str], part: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line for line in lines if line["part"] == part]


def test_a_good_page_is_good_in_every_respect(patients: Patients) -> None:
    """Behind nginx with HTTPS and a strict policy: every line in its order, the cookies named, the event stored."""
    snippet = make_snippet(Config(), "shop", versioned=True, nonce=True).replace("{{ nonce }}", "abc123")
    policy = "default-src 'none'; script-src 'nonce-abc123'; connect-src 'self'"
    url = patients.put("/good", snippet, Content_Security_Policy=policy)
    done = patients.command(f"{url}?utm_campaign=secret-campaign", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    page = _lines(done, "page")
    assert [line["subject"] for line in page] == GOOD_PAGE
    assert [line["verdict"] for line in page] == ["good", "warning", *["good"] * 8]
    assert all(set(line) == {"part", "subject", "verdict", "text", "fix"} for line in page)
    text = {line["subject"] + str(index): line["text"] for index, line in enumerate(page)}
    assert "ERR_CERT_AUTHORITY_INVALID" in text["certificate1"]
    assert "for site shop" in text["tag2"]
    assert text["cookie5"].startswith("__Host-ts_shop, by the collector, for 400 days; HttpOnly, Secure, SameSite=Lax")
    assert text["cookie6"].startswith("_ts_v, by the tag, for 400 days")
    assert text["consent8"].startswith("pending")
    assert "page_view stands in v_events" in text["stored9"]
    assert "marked as a robot's" in text["stored9"]
    assert "secret-campaign" not in done.stdout + done.stderr
    instance = {line["subject"]: line["verdict"] for line in _lines(done, "instance")}
    assert instance.pop("last beacon") in ("good", "unknown")
    assert {instance[name] for name in ("data folder", "secrets", "web", "spool", "store", "schema")} == {"good"}


@pytest.mark.long
def test_for_people_each_finding_is_a_line_with_its_fix(patients: Patients) -> None:
    """Without --json the report has a title for each part, a mark for each finding, a sum, and status 1 when wrong."""
    done = patients.command(patients.put("/bare", "<meta name=x>"))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert f"The page {patients.url}/bare" in lines
    [tag] = [line for line in lines if line.startswith("  ✗ tag ")]
    assert "no snippet on the page → put what `tagstitch snippet" in tag
    assert lines[-1].startswith("1 wrong, ")
    assert "\x1b" not in done.stdout, "no colours in a pipe"


@pytest.mark.long
def test_no_snippet(patients: Patients) -> None:
    """A page without the snippet has one thing wrong, and nothing is guessed about the rest."""
    findings = patients.look(patients.put("/none", "<script src='/other.js'></script>"))
    assert _bad(findings) == ["tag"]
    assert findings[-1].subject == "tag"


def test_an_unknown_site(patients: Patients) -> None:
    """A snippet that names a site which is not here: said by name, with the command that adds it."""
    findings = patients.look(patients.put("/unknown", make_snippet(Config(), "shpo")))
    assert _find(findings, "site", "bad").text == "there is no site shpo here"
    assert f"tagstitch site add shpo --origin {patients.url}" in _find(findings, "site", "bad").fix
    assert _find(findings, "beacon", "bad").text == "answered 404, refused: site"
    assert _verdicts(findings, "cookie", "path") == [("path", "good"), ("cookie", "unknown")]


def test_an_origin_that_is_not_on_the_list(patients: Patients) -> None:
    """A site that does not list the page's origin: the fix names all origins that it must have."""
    findings = patients.look(patients.put("/stern", make_snippet(Config(), "stern")))
    wrong = _find(findings, "origin", "bad")
    assert wrong.text == f"{patients.url} is not on the list of site stern: its beacons are refused"
    assert f"--origin https://stern.example --origin {patients.url}" in wrong.fix
    assert _bad(findings) == ["origin", "beacon"]
    assert _find(findings, "stored", "unknown").text.startswith("nothing of this look")


def test_a_policy_that_stops_the_tag(patients: Patients) -> None:
    """A policy without the tag's address: the directive is named, and the path is not blamed for it."""
    url = patients.put("/csp-tag", make_snippet(Config(), "shop"), Content_Security_Policy="script-src 'unsafe-inline'")
    findings = patients.look(url)
    assert _find(findings, "content policy", "bad").text == "script-src-elem stops the tag"
    assert _bad(findings) == ["content policy"]
    assert _verdicts(findings, "path", "consent", "cookie") == [
        ("path", "unknown"),
        ("cookie", "unknown"),
        ("consent", "unknown"),
    ]


def test_a_policy_that_stops_the_beacons(patients: Patients) -> None:
    """A policy that lets the tag run and nothing out: connect-src is named with what to add."""
    url = patients.put("/csp-beacon", make_snippet(Config(), "shop"), Content_Security_Policy="connect-src 'none'")
    findings = patients.look(url)
    assert _find(findings, "content policy", "bad").text == "connect-src stops the beacons"
    assert "add 'self' to connect-src" in _find(findings, "content policy", "bad").fix
    assert _bad(findings) == ["content policy"]
    assert _verdicts(findings, "path", "beacon") == [("path", "good"), ("beacon", "unknown")]


@pytest.mark.long
def test_a_policy_that_stops_half_of_the_snippet(patients: Patients) -> None:
    """`script-src 'self'` lets the tag through and not the script before it: said, because calls would fail."""
    url = patients.put("/csp-inline", make_snippet(Config(), "shop"), Content_Security_Policy="script-src 'self'")
    findings = patients.look(url)
    assert "the snippet's first script" in _find(findings, "content policy", "bad").text
    assert "--nonce" in _find(findings, "content policy", "bad").fix


@pytest.mark.long
def test_a_policy_that_only_reports(patients: Patients) -> None:
    """A policy on trial stops nothing yet: a warning, and the page works."""
    policy = "script-src 'unsafe-inline'; connect-src 'none'"
    url = patients.put("/csp-trial", make_snippet(Config(), "shop"), Content_Security_Policy_Report_Only=policy)
    findings = patients.look(url)
    assert "only reports so far" in _find(findings, "content policy", "warning").text
    assert _bad(findings) == []
    assert _verdicts(findings, "stored") == [("stored", "good")]


@pytest.mark.long
def test_a_path_that_is_not_proxied(patients: Patients) -> None:
    """The tag's path leads to the shop, which knows no such page (404) or answers with its own (200): both are told."""
    snippet = make_snippet(Config(tag_path="/y/t.js"), "shop")
    findings = patients.look(patients.put("/lost", snippet))
    assert "/y/t.js answers 404: the path does not lead to the collector" in _find(findings, "path", "bad").text
    assert "deploy/nginx" in _find(findings, "path", "bad").fix
    assert _bad(findings) == ["path"]

    patients.put("/z/t.js", "a page for every path")
    findings = patients.look(patients.put("/lost-too", make_snippet(Config(tag_path="/z/t.js"), "shop")))
    assert "answers with text/html, a page instead of the tag" in _find(findings, "path", "bad").text


@pytest.mark.long
def test_a_path_that_is_proxied_by_half(patients: Patients) -> None:
    """The tag comes from the collector, its beacons go to the shop: found, and not taken for a refusal."""
    snippet = make_snippet(Config(beacon_path="/y/b"), "shop")
    findings = patients.look(patients.put("/half", snippet))
    assert "/y/b answers 405, and not as a collector" in _find(findings, "path", "bad").text
    assert _bad(findings) == ["path"]


@pytest.mark.long
def test_a_tag_that_is_not_the_one_that_was_pinned(patients: Patients) -> None:
    """A snippet whose integrity hash fits no more: loaded, not run, and why."""
    snippet = make_snippet(Config(), "shop", versioned=True)
    start = snippet.index("sha384-") + 7
    findings = patients.look(patients.put("/changed", snippet[:start] + "A" * 64 + snippet[start + 64 :]))
    assert _bad(findings) == ["path"]
    assert "integrity" in _find(findings, "path", "bad").text
    assert "tagstitch snippet" in _find(findings, "path", "bad").fix


@pytest.mark.long
def test_a_collector_on_another_site(patients: Patients) -> None:
    """A collector on a foreign host works, and the doctor says what its cookie is then."""
    patients.put("/foreign", make_snippet(Config(), "shop", base_url=patients.url))
    findings = patients.look(patients.url.replace("localhost", STRANGER) + "/foreign")
    assert _bad(findings) == []
    assert "third party's" in _find(findings, "path", "warning").text
    assert "own origin" in _find(findings, "path", "warning").fix
    assert _find(findings, "cookie", "warning").text == "none by the collector: the browser drops a third party's"
    assert _verdicts(findings, "stored") == [("stored", "good")]


@pytest.mark.long
def test_a_page_that_answers_for_the_visitor(patients: Patients) -> None:
    """A page that grants consent in a fresh profile is told so; one that says no by itself is still looked at."""
    head = make_snippet(Config(), "shop")
    findings = patients.look(patients.put("/grants", head + "<script>tagstitch('consent', 'all')</script>"))
    warning = _find(findings, "consent", "warning")
    assert warning.text == (
        "the page answers for a visitor whom nobody asked, with storage, identity, fingerprint, marketing"
    )
    findings = patients.look(patients.put("/denies", head + "<script>tagstitch('consent', 'none')</script>"))
    assert _verdicts(findings, "consent", "stored") == [("consent", "good"), ("stored", "good")]


@pytest.mark.long
def test_presets_that_differ(patients: Patients) -> None:
    """Snippet and site with different presets: the site decides, and the snippet must be printed anew."""
    findings = patients.look(patients.put("/differ", make_snippet(Config(), "open")))
    assert _find(findings, "consent", "warning").text.startswith("the snippet says required, the site implied")
    assert "--consent implied" in _find(findings, "consent", "warning").fix
    findings = patients.look(patients.put("/agree", make_snippet(Config(), "open", consent="implied")))
    assert [item.text for item in findings if item.subject == "consent"] == [
        "preset implied: the tag sends before the visitor has answered"
    ]
    assert _bad(findings) == []


def test_a_network_that_the_site_excludes(patients: Patients) -> None:
    """From the office nothing is stored, and the doctor knows that this is meant."""
    findings = patients.look(patients.put("/office", make_snippet(Config(), "office")))
    assert _bad(findings) == []
    assert _find(findings, "stored", "unknown").text == "not looked for: this network is excluded by the site"
    assert "excluded" in _find(findings, "beacon", "warning").text


@pytest.mark.long
def test_a_late_snippet_and_a_site_named_by_init(patients: Patients) -> None:
    """What a tag manager puts in later, without data attributes, is found by its path and its beacon."""
    head = """<script>
      setTimeout(() => {
        window.tagstitch = window.tagstitch || function () { (tagstitch.q = tagstitch.q || []).push(arguments) };
        tagstitch('init', {site: 'shop', consent: 'required'});
        document.head.append(Object.assign(document.createElement('script'), {src: '/x/t.js'}));
      }, 700)
    </script>"""
    findings = patients.look(patients.put("/managed", head))
    assert _bad(findings) == []
    assert _find(findings, "origin", "good").text.endswith("is on the list of site shop")
    assert _verdicts(findings, "stored") == [("stored", "good")]


def _put_start(patients: Patients, target: str, after_ms: int) -> str:
    """Serve a page with a policy of its own that leads elsewhere by itself."""
    head = f"<script>setTimeout(() => {{ location = '{target}' }}, {after_ms})</script>"
    return patients.put("/start", head, Content_Security_Policy="script-src 'unsafe-inline'")


@pytest.mark.parametrize("after_ms", [20, *(pytest.param(ms, marks=pytest.mark.long) for ms in (100, 300))])
@pytest.mark.long
def test_a_page_that_leads_elsewhere_by_itself(patients: Patients, after_ms: int) -> None:
    """A page that sends its visitors on by script, whenever it does: the one they end on is looked at, and named, and
    what the first page allowed does not count."""
    target = patients.put("/target", make_snippet(Config(), "shop"))
    findings = patients.look(_put_start(patients, target, after_ms))
    assert _bad(findings) == []
    assert _find(findings, "page", "good").text == f"answers 200, from {target}"
    assert _find(findings, "content policy", "good").text == "the page has none"
    assert _verdicts(findings, "stored") == [("stored", "good")]


@pytest.mark.long
def test_a_page_that_leads_to_none(patients: Patients) -> None:
    """A page that sends its visitors on to an address with nothing behind it: that one's status counts."""
    patients.pages.pages["/gone"] = lambda _: Response("gone", 404)
    findings = patients.look(_put_start(patients, f"{patients.url}/gone", 100))
    assert [item.text for item in findings if item.verdict == "bad"] == [f"answers 404, from {patients.url}/gone"]


@pytest.mark.long
def test_a_site_with_a_cookie_of_its_own_name(patients: Patients) -> None:
    """A cookie that the site has named and given to a whole domain is found by that name."""
    sites = read_known_sites(patients.instance.config, patients.instance.keyring)
    assert sites
    patients.put("/family", make_snippet(Config(), sites["family"]))
    findings = patients.look(patients.url.replace("localhost", STRANGER) + "/family")
    assert _bad(findings) == []
    [by_collector, by_tag] = [item for item in findings if item.subject == "cookie"]
    assert by_collector.text.startswith("lamp_id, by the collector, for 400 days; HttpOnly, Secure, SameSite=Lax")
    assert by_tag.text.startswith("lamp_id_v, by the tag, for 400 days")
    assert _verdicts(findings, "path", "cookie", "stored") == [
        ("path", "good"),
        ("cookie", "good"),
        ("cookie", "good"),
        ("stored", "good"),
    ]


def test_an_event_that_does_not_get_to_the_store(patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the loader standing still the beacon is accepted and not stored: only that line is bad."""
    monkeypatch.setattr(arrival, "ARRIVAL_S", 1.5)
    pid = patients.instance.role_pids()["load"]
    os.kill(pid, signal.SIGSTOP)
    try:
        findings = patients.look(patients.put("/stuck", make_snippet(Config(), "shop")))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert _bad(findings) == ["stored"]
    assert "does load run?" in _find(findings, "stored", "bad").fix


@pytest.mark.long
def test_a_page_that_is_not_there(patients: Patients) -> None:
    """No such page, with or without a text, and a page that keeps robots out: the status, and no more."""
    assert [item.text for item in patients.look(f"{patients.url}/no-such-page") if item.verdict == "bad"] == [
        "answers 404"
    ]
    patients.pages.pages["/keeps-out"] = lambda _: Response("robots go away", 403)
    findings = patients.look(f"{patients.url}/keeps-out")
    assert _bad(findings) == ["page"]
    assert "robots" in _find(findings, "page", "bad").fix


def test_a_host_that_is_not_there(patients: Patients) -> None:
    """No such host: the browser's own word for it."""
    with pytest.raises(PageAway, match=r"^net::ERR_NAME_NOT_RESOLVED$"):
        patients.look("http://nowhere.invalid/")


def test_without_a_browser_the_text_is_read(patients: Patients) -> None:
    """With nothing on the PATH the page's text is read: what it shows is judged, what it cannot show is not."""
    url = patients.put("/text", make_snippet(Config(), "shop"), Content_Security_Policy="default-src 'self'")
    done = patients.command(url, "--json", PATH="")
    assert done.returncode == 0, done.stdout + done.stderr
    page = {line["subject"]: (line["verdict"], line["text"]) for line in _lines(done, "page")}
    assert page["browser"][0] == "unknown"
    assert page["certificate"][0] == "warning"
    assert page["tag"] == ("good", f"the snippet for site shop loads {patients.url}/x/t.js")
    assert page["path"] == ("good", "the tag is on the site's own origin")
    assert page["origin"][0] == "good"
    for subject in ("content policy", "cookie", "consent", "stored"):
        assert page[subject][0] == "unknown", page[subject]

    lost = patients.put("/text-lost", make_snippet(Config(tag_path="/y/t.js"), "shpo"))
    done = patients.command(lost, "--json", PATH="")
    assert done.returncode == 1
    wrong = {line["subject"]: line["text"] for line in _lines(done, "page") if line["verdict"] == "bad"}
    assert wrong["site"] == "there is no site shpo here"
    assert "/y/t.js answers 404" in wrong["path"]
