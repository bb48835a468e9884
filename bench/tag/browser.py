"""One run of one agent: a fresh profile of a real Chromium, one page, and what the agent did to it.

The page has loaded, has been collected of garbage and is at rest when the agent comes; its script is inserted inline,
so no network and no code cache is in the figures. Milliseconds are of two kinds:

    sync, eval, wall   `performance.now()` in the page
    task, cpu          of the whole main thread over a window of fixed length, by CDP `Performance.getMetrics`: what
                       ran (TaskDuration) and what the processor spent on it (ThreadTime). The report takes off what an
                       empty page needs in the same window.

`cpu` does not see that other programs load the machine, so it is the quietest of them. Under throttling Chromium
makes the thread spin, which counts as its time in all of them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from bench.tag.agents import Agent
from bench.tag.sink import Sink

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Agents shall take the browser for a person's, and reach nobody but the sink.
    "--disable-blink-features=AutomationControlled",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost",
]
WINDOW_S = 2.0
TRAFFIC_S = 5.0  # the slowest to send, PostHog, waits 3 s
REST_S = 0.25
PATIENCE_MS = 60_000

Sample = dict[str, float]


class ChromiumMissingError(Exception):
    """There is no Chromium to measure in."""

    def __init__(self) -> None:
        super().__init__("no Chromium here: `make bench-tag` installs it, or: apt-get install chromium")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise ChromiumMissingError
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=FLAGS, ignore_default_args=["--disable-back-forward-cache"]
        )
        yield browser
        browser.close()


@cache
def _user_agent(browser: Browser) -> str:
    """What this browser calls itself when a person uses it."""
    page = browser.new_page()
    text = str(page.evaluate("navigator.userAgent"))
    page.context.close()
    return text.replace("HeadlessChrome", "Chrome")


@contextmanager
def open_page(browser: Browser, origin: str, throttle: int) -> Iterator[tuple[BrowserContext, Page, CDPSession]]:
    """Open the bench's page in a fresh profile, with the processor slowed `throttle` times, and let it come to rest."""
    context = browser.new_context(user_agent=_user_agent(browser), viewport={"width": 1280, "height": 720})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    session = context.new_cdp_session(page)
    page.goto(origin + "/", wait_until="load")
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    time.sleep(REST_S)
    try:
        yield context, page, session
    finally:
        context.close()


def load_scripts(session: CDPSession, agent: Agent, origin: str) -> str:
    """Hand the agent's scripts to the page, not run yet; returns what starts it, as an expression."""
    scripts = [{"text": code.text.replace("ORIGIN", origin), "attributes": code.attributes} for code in agent.codes]
    evaluate(session, f"bench.scripts = {json.dumps(scripts)}; 0")
    return agent.start.replace("ORIGIN", origin)


def evaluate(session: CDPSession, expression: str) -> Any:
    """Evaluate in the page, wait for a promise, return the value. Raises RuntimeError with what the page threw."""
    answer = session.send("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
    if thrown := answer.get("exceptionDetails"):
        raise RuntimeError(thrown.get("exception", {}).get("description") or thrown.get("text"))
    return answer["result"].get("value")


def _read_metrics(session: CDPSession) -> Mapping[str, float]:
    found = {one["name"]: one["value"] * 1000 for one in session.send("Performance.getMetrics")["metrics"]}
    return {
        "task": found["TaskDuration"],
        "cpu": found["ThreadTime"],
        "script": found["ScriptDuration"],
        "layout": found["LayoutDuration"] + found["RecalcStyleDuration"],
    }


def _long_tasks(session: CDPSession, begun: float) -> tuple[float, float]:
    """Sum and longest of the tasks over 50 ms that ended after `begun`."""
    tasks = evaluate(
        session, f"bench.longTasks.filter((t) => t.startTime + t.duration > {begun}).map((t) => t.duration)"
    )
    return sum(tasks), max(tasks, default=0.0)


def run_tag(browser: Browser, sink: Sink, agent: Agent, throttle: int) -> Sample:
    """Run a tag once: its evaluation, a page view, three events, and the window after it."""
    _, origin = sink.begin()
    with open_page(browser, origin, throttle) as (_, _, session):
        start = load_scripts(session, agent, origin)
        before = _read_metrics(session)
        begun = time.monotonic()
        begun_in_page = evaluate(session, "performance.now()")
        sample: Sample = evaluate(session, f"bench.runTag(() => {{ {start} }})")
        time.sleep(max(0.0, WINDOW_S - (time.monotonic() - begun)))
        after = _read_metrics(session)
        sample |= {name: after[name] - before[name] for name in before}
        sample["long"], sample["longest"] = _long_tasks(session, begun_in_page)
    return sample


def watch_traffic(browser: Browser, sink: Sink, agent: Agent) -> Sample:
    """See what a tag sends and loads while the page stays open, how often it touches the device, and what it leaves."""
    host, origin = sink.begin()
    with open_page(browser, origin, 1) as (context, _, session):
        start = load_scripts(session, agent, origin)
        evaluate(session, "bench.countTouches(); 0")
        evaluate(session, f"bench.runTag(() => {{ {start} }})")
        time.sleep(TRAFFIC_S)
        touches = evaluate(session, "bench.touches")
        sent = [one for one in list(sink.seen[host]) if one.is_sent]
        loaded = "performance.getEntriesByType('resource').filter((r) => r.initiatorType === 'script').length"
        cookies = sum(len(one.get("name", "")) + len(one.get("value", "")) for one in context.cookies(origin))
        return {
            "requests": len(sent),
            "body": sum(one.size for one in sent),
            "touches": touches,
            "scripts": evaluate(session, loaded),
            "stored": evaluate(session, "bench.storedBytes()") + cookies,
        }


def run_fingerprint(browser: Browser, sink: Sink, agent: Agent, throttle: int) -> Sample:
    """Run a fingerprint once, from its evaluation until its result."""
    _, origin = sink.begin()
    with open_page(browser, origin, throttle) as (_, _, session):
        start = load_scripts(session, agent, origin)
        before = _read_metrics(session)
        sample: Sample = evaluate(session, f"bench.runFingerprint(() => {start})")
        time.sleep(REST_S)  # long tasks are told of late
        after = _read_metrics(session)
        sample |= {name: after[name] - before[name] for name in before}
        sample["long"], sample["longest"] = _long_tasks(session, sample.pop("begun"))
    return sample
