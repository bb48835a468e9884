"""Judges what was seen of a page, in the order in which an event comes about.

Page, tag, content policy, path, cookies, site and origin, consent, and whether the event stands in the store. A
finding says its own cause; what only follows from an earlier one is `unknown` and points there.
"""

from __future__ import annotations

from collections.abc import Iterator

from collector.config import Config
from collector.doctor.arrival import find_arrival, say_last_event
from collector.doctor.browser_look import find_browser, look_with_browser
from collector.doctor.finding import Finding, bad, good, unknown, warn
from collector.doctor.look import PageAway, PageLook, SeenCookie, cut_query, find_origin
from collector.doctor.refusals import find_remedy
from collector.doctor.text_look import look_at_text
from collector.keyring import Keyring
from collector.purposes import spell_out
from collector.reasons import Reason
from collector.sites.book import Site

FULL_COOKIE_DAYS = 390
PROXY = "proxy the paths below /x/ to the collector: deploy/nginx, deploy/caddy, docs/deploy.md"
OWN_ORIGIN = "put the collector under a path of the site's own origin: docs/deploy.md"
PROXY_PORT = "does web run? Does the proxy name its port? tagstitch status"
NO_BROWSER = "cannot be told without a browser"


def check_page(url: str, config: Config, keyring: Keyring | None, sites: dict[str, Site] | None) -> Iterator[Finding]:
    """Look at the page and yield what was found. `sites`: what the store knows, None where it does not answer."""
    browser = find_browser()
    if browser is None:
        fix = "apt-get install chromium, and `pip install playwright` where tagstitch is installed"
        yield unknown("browser", "no Chromium that can be driven: only the page's text is read", fix)
    try:
        look = look_with_browser(url, config, browser) if browser else look_at_text(url, config)
    except PageAway as error:
        yield bad("page", f"cannot be opened: {error}", "open it in your own browser, from this machine")
        return
    yield from judge(look, url, config, keyring, sites)


def judge(
    look: PageLook, url: str, config: Config, keyring: Keyring | None, sites: dict[str, Site] | None
) -> Iterator[Finding]:
    """Yield what follows from a look. `url`: as it was asked for; the rest as for `check_page`."""
    page = judge_page(look, url)
    yield page
    if look.certificate_problem:
        text = f"is not trusted here ({look.certificate_problem}); looked on all the same"
        yield warn("certificate", text, "visitors see a warning instead of the page, unless they trust your own CA")
    if page.verdict == "bad":
        return
    yield from judge_tag(look)
    if look.snippet is None:
        return
    yield judge_policy(look)
    yield from judge_path(look)
    yield from judge_cookies(look)
    yield from judge_origin(look, sites)
    yield from judge_consent(look, sites)
    yield from judge_arrival(look, config, keyring)


def judge_page(look: PageLook, url: str) -> Finding:
    """Say whether there is a page at all."""
    led = f", from {look.url}" if look.url.rstrip("/") != cut_query(url).rstrip("/") else ""
    if look.status in (401, 403, 429):
        return bad("page", f"answers {look.status}{led}", "it may keep robots out: let this machine through")
    if look.status >= 400:
        return bad("page", f"answers {look.status}{led}", "check the address")
    return good("page", f"answers {look.status or 'from a cache'}{led}")


def judge_tag(look: PageLook) -> Iterator[Finding]:
    """Say whether the snippet stands on the page."""
    if look.snippet is None:
        fix = "put what `tagstitch snippet --site …` prints into its head"
        if not look.by_browser:
            yield unknown("tag", "no snippet in the page's text; a tag manager may put it in", fix)
        else:
            yield bad("tag", "no snippet on the page", f"{fix}; it waits for consent by itself, so let it always load")
        return
    site = f" for site {look.site_id}" if look.site_id else ""
    yield good("tag", f"the snippet{site} loads {cut_query(look.snippet.src)}")
    if look.snippet.copies > 1:
        yield warn("tag", f"it stands on the page {look.snippet.copies} times; only the first works", "leave one")


def judge_policy(look: PageLook) -> Finding:
    """Say whether the page's content security policy lets the tag through, and its beacons."""
    subject = "content policy"
    if look.snippet is None or not look.by_browser:
        text = "there is one, and only a browser can tell what it stops" if look.has_policy else "the page has none"
        return unknown(subject, text) if look.has_policy else good(subject, text)
    stopped = []
    for item in look.violations:
        blocked = cut_query(item.blocked)
        if blocked == cut_query(look.snippet.src):
            stopped.append((item, "the tag", "allow the tag's address there, or give the snippet the page's nonce"))
        elif item in look.stopped_beacons:
            collector = find_origin(look.snippet.endpoint)
            where = "'self'" if collector == look.origin else collector
            stopped.append((item, "the beacons", f"add {where} to connect-src"))
        elif blocked == "inline" and not look.had_stub:
            text = "the snippet's first script, so calls before the tag has loaded fail"
            stopped.append((item, text, "give it the page's nonce: tagstitch snippet --nonce"))
    for item, what, fix in sorted(stopped, key=lambda one: not one[0].is_enforced):
        if item.is_enforced:
            return bad(subject, f"{item.directive} stops {what}", f"{fix}; docs/tag.md has a whole policy")
        return warn(subject, f"{item.directive} would stop {what}; it only reports so far", fix)
    return good(subject, "lets the tag through" if look.has_policy else "the page has none")


def judge_path(look: PageLook) -> Iterator[Finding]:
    """Say whether tag and beacons go to a collector, and whether that is on the page's own origin."""
    if look.snippet is None:
        return
    tag, src = look.tag, cut_query(look.snippet.src)
    if "csp" in tag.failure.lower() or "BLOCKED_BY_CSP" in tag.failure:
        yield unknown("path", "the content policy stopped the tag, see above")
        return
    if tag.status in (502, 503, 504):
        yield bad(
            "path", f"{src} answers {tag.status}: the proxy is there, and does not reach the collector", PROXY_PORT
        )
        return
    if tag.status == 0:
        yield bad("path", f"{src} cannot be loaded: {tag.failure}", f"does that host answer? Else {PROXY}")
        return
    if tag.status >= 400:
        yield bad("path", f"{src} answers {tag.status}: the path does not lead to the collector", PROXY)
        return
    if tag.kind and "javascript" not in tag.kind:
        kind = tag.kind.partition(";")[0]
        yield bad("path", f"{src} answers with {kind}, a page instead of the tag", PROXY)
        return
    if not look.is_running:
        reason = next((error for error in look.errors if "integrity" in error or src in error), "")
        fix = "print the snippet anew: tagstitch snippet" if "integrity" in reason else "look into the page's console"
        yield bad("path", f"{src} was loaded and does not run{': ' if reason else ''}{reason}", fix)
        return
    lost = next((beacon for beacon in look.beacons if beacon.status and not beacon.is_ours), None)
    if lost is not None:
        yield bad("path", f"the tag is there, but {lost.address} answers {lost.status}, and not as a collector", PROXY)
    elif tag.relation in ("same-origin", "none", ""):
        yield good("path", f"{'tag and beacons are' if look.beacons else 'the tag is'} on the site's own origin")
    elif tag.relation == "same-site":
        text = (
            f"the collector is on another host of the site, {find_origin(src)}: Safari may keep its cookie for 7 days"
        )
        yield warn("path", text, OWN_ORIGIN)
    else:
        text = f"the collector is on another site, {find_origin(src)}: its cookie is a third party's, mostly blocked"
        yield warn("path", text, OWN_ORIGIN)


def judge_cookies(look: PageLook) -> Iterator[Finding]:
    """Say which cookies there are now, by whom and for how long."""
    if look.accepted is None:
        yield unknown("cookie", "none yet: no beacon was accepted, see below" if look.by_browser else NO_BROWSER)
        return
    by_server = next((cookie for cookie in look.cookies if cookie.is_server_set), None)
    by_tag = next((cookie for cookie in look.cookies if not cookie.is_server_set), None)
    yield _judge_server_cookie(look, by_server)
    if by_tag is None:
        yield warn(
            "cookie", "none by the tag: every page of this visitor is a first one", "is document.cookie blocked?"
        )
    else:
        yield good("cookie", f"{by_tag.name}, by the tag, for {by_tag.days:.0f} days (in Safari 7)")


def _judge_server_cookie(look: PageLook, cookie: SeenCookie | None) -> Finding:
    is_https = look.url.startswith("https:")
    if cookie is None:
        if look.tag.relation == "cross-site":
            return warn("cookie", "none by the collector: the browser drops a third party's", OWN_ORIGIN)
        if look.accepted is not None and look.accepted.sets_cookie:
            return warn("cookie", "the collector set one and the browser did not take it", "does a proxy change it?")
        if Reason.EXCLUDED in (look.accepted.rejected if look.accepted else ""):
            return unknown("cookie", "none by the collector: this network is excluded by the site")
        return warn("cookie", "none by the collector", "does a proxy take Set-Cookie away?")
    secure = "Secure" if cookie.is_secure else "not Secure"
    text = (
        f"{cookie.name}, by the collector, for {cookie.days:.0f} days; HttpOnly, {secure}, SameSite={cookie.same_site}"
    )
    if is_https and not cookie.is_secure:
        fix = "set trusted_proxies, or public_url: the collector does not know that the site is HTTPS"
        return warn("cookie", text, fix)
    if cookie.days < FULL_COOKIE_DAYS:
        return warn("cookie", text, "something between collector and browser shortens it")
    return good("cookie", text)


def judge_origin(look: PageLook, sites: dict[str, Site] | None) -> Iterator[Finding]:
    """Say whether the site exists and takes beacons from this origin."""
    site_id, origin = look.site_id, look.origin
    refused = {beacon.rejected for beacon in look.beacons}
    if not site_id:
        yield unknown("site", "the page names none in its snippet, and sent nothing", "tagstitch('init', {site: '…'})")
        return
    if sites is None:
        if look.accepted is not None:
            yield good("origin", f"the collector takes beacons of site {site_id} from {origin}")
        else:
            yield unknown("origin", "the store does not say which origins are allowed")
        return
    site = sites.get(site_id)
    if site is None:
        fix = f"mend data-site, or: tagstitch site add {site_id} --origin {origin}"
        if look.accepted is not None:
            fix = "the page's collector knows it: name that instance with --data"
        yield bad("site", f"there is no site {site_id} here", fix)
        return
    if origin not in site.origins:
        listed = " ".join(f"--origin {known}" for known in (*site.origins, origin))
        fix = f"tagstitch site add {site_id} --replace {listed}"
        yield bad("origin", f"{origin} is not on the list of site {site_id}: its beacons are refused", fix)
    elif refused & {Reason.ORIGIN, Reason.SITE}:
        fix = "wait 5 s and look again; does the path lead to another instance?"
        yield bad("origin", f"{origin} is on the list of site {site_id}, but the collector refuses it", fix)
    else:
        yield good("origin", f"{origin} is on the list of site {site_id}")


def judge_consent(look: PageLook, sites: dict[str, Site] | None) -> Iterator[Finding]:
    """Say what the tag waits for, and whether snippet and site agree."""
    snippet, site = look.snippet, (sites or {}).get(look.site_id)
    if snippet is None:
        return
    if site is not None and site.consent != snippet.consent:
        text = f"the snippet says {snippet.consent}, the site {site.consent}: the site decides what is kept"
        yield warn("consent", text, f"print the snippet with --consent {site.consent}, or change the site")
    early = [beacon for beacon in look.beacons if not beacon.was_asked_for]
    if not look.by_browser:
        yield unknown("consent", f"preset {snippet.consent}; what the page answers {NO_BROWSER}")
    elif snippet.consent != "required":
        yield good("consent", f"preset {snippet.consent}: the tag sends before the visitor has answered")
    elif early:
        granted = early[0].envelope.get("c", "")
        text = f"the page answers for a visitor whom nobody asked, with {spell_out(granted) or 'no purpose'}"
        yield warn("consent", text, "call tagstitch('consent', …) with the visitor's own answer only")
    elif look.cookies_before:
        names = ", ".join(cookie.name for cookie in look.cookies_before)
        yield bad("consent", f"{names} stood there before an answer", "does the page set it itself?")
    elif look.is_running:
        yield good("consent", "pending: nothing is sent or kept before an answer (given now, analytics only)")
    else:
        yield unknown("consent", "the tag does not run, see above")


def judge_arrival(look: PageLook, config: Config, keyring: Keyring | None) -> Iterator[Finding]:
    """Say whether the collector took the beacon, and whether the event stands in the store."""
    accepted = look.accepted
    if look.is_running and look.by_browser:
        yield from _judge_answers(look)
    if keyring is None:
        yield unknown("stored", "the store cannot be asked: see the instance's findings")
    elif accepted is None:
        yield say_last_event(look.site_id, config, keyring)
    else:
        yield find_arrival(accepted, config, keyring)


def _judge_answers(look: PageLook) -> Iterator[Finding]:
    if any(item.is_enforced for item in look.stopped_beacons):
        yield unknown("beacon", "stopped by the content policy, see above")
    elif not look.beacons:
        fix = "put data-debug on the snippet and look into the console: it says what was held, and why"
        yield bad("beacon", "the tag runs and sends nothing, though analytics is allowed", fix)
    for beacon in look.beacons[:1]:
        if beacon.failure:
            text = f"{beacon.address} gave no answer that the page may read: {beacon.failure}"
            yield bad("beacon", text, "the site's list of origins, or the network")
        for reason in filter(None, beacon.rejected.split(",")):
            if beacon.is_accepted:
                text = f"answered {beacon.status}, and not all of it was kept: {reason.strip()}"
                yield warn("beacon", text, find_remedy(reason.strip()))
            else:
                yield bad("beacon", f"answered {beacon.status}, refused: {reason}", find_remedy(reason))
