"""Where a tag's main-thread time goes: the sampling profiler of V8 over one page, by function.

Our tag is profiled from a readable build of `tag_js/src`, made for this only, so that functions have their names.
Calls into the browser stand under their own names where V8 sees them (`fetch`), and else within the function that makes
them (the cookie, the time zone). Times are means of all runs, and the profiler itself slows what it watches: read
shares.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from bench.tag.agents import PEERS, TAGS, Agent, PeersMissingError, make_tag
from bench.tag.browser import WINDOW_S, evaluate, load_scripts, open_page
from bench.tag.figures import OURS
from bench.tag.sink import Sink
from collector.tag_builds import STATIC, TAG, read_build

SOURCE = Path(__file__).parent.parent.parent / "tag_js" / "src"
INTERVAL_US = 100
READABLE = "readable/t.js"
NOT_OF_THE_PAGE = {"(idle)", "(root)"}


@dataclass(frozen=True, slots=True)
class Line:
    """One function: milliseconds in itself, and with all that it called, mean of a page. `when`: where it was called
    from: `sync` while the page waited, `later` from a timer, an answer or an idle moment."""

    function: str
    when: str
    self_ms: float
    total_ms: float


def build_readable() -> str:
    """Bundle the tag from its source without minifying it, with the addresses of the modules as built."""
    build = read_build()
    modules = {}
    for file in build.files:
        if file.name != TAG:
            digest = hashlib.sha256((STATIC / file.name).read_bytes()).digest()
            modules[file.name.removesuffix(".js")] = [file.hash, f"sha256-{base64.b64encode(digest).decode()}"]
    esbuild = PEERS / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        raise PeersMissingError
    return (
        subprocess.run(
            [
                str(esbuild),
                str(SOURCE / "entry.ts"),
                "--bundle",
                "--format=iife",
                "--target=es2018",
                "--log-level=error",
                f"--define:__VERSION__={json.dumps(build.version)}",
                f"--define:__MODULES__={json.dumps(modules)}",
            ],
            capture_output=True,
            check=True,
            encoding="utf-8",
            timeout=60,
        ).stdout
        + f"//# sourceURL={READABLE}\n"
    )


def find_modules(bundle: str) -> list[tuple[int, str]]:
    """Return where each module begins in a bundle: line, from 0, and file name. esbuild writes that as a comment."""
    found = []
    for number, line in enumerate(bundle.splitlines()):
        if match := re.fullmatch(r"\s*// (?:\S*/)?src/(\S+\.ts)", line):
            found.append((number, match[1]))
    return found


def profile_tag(browser: Browser, sink: Sink, name: str, throttle: int, runs: int) -> list[Line]:
    """Profile a tag over `runs` pages; returns its functions, the costliest first."""
    if name == OURS:
        bundle = build_readable()
        agent, modules = make_tag(bundle), find_modules(bundle)
    else:
        agent, modules = TAGS[name](), []
    return add_up([_profile_once(browser, sink, agent, throttle) for _ in range(runs)], modules)


def _profile_once(browser: Browser, sink: Sink, agent: Agent, throttle: int) -> dict[str, Any]:
    _, origin = sink.begin()
    with open_page(browser, origin, throttle) as (_, _, session):
        start = load_scripts(session, agent, origin)
        session.send("Profiler.enable")
        session.send("Profiler.setSamplingInterval", {"interval": INTERVAL_US})
        session.send("Profiler.start")
        evaluate(session, f"bench.runTag(() => {{ {start} }})")
        time.sleep(WINDOW_S)
        profile: dict[str, Any] = session.send("Profiler.stop")["profile"]
    return profile


def add_up(profiles: Iterable[dict[str, Any]], modules: Sequence[tuple[int, str]] = ()) -> list[Line]:
    """Add up CDP profiles by function; the mean of a profile, the largest self time first. `modules`: see
    `find_modules`; functions of the readable build get their module's name."""
    own: dict[tuple[str, str], float] = defaultdict(float)
    whole: dict[tuple[str, str], float] = defaultdict(float)
    count = 0
    for profile in profiles:
        count += 1
        nodes = {node["id"]: node for node in profile["nodes"]}
        parents = {child: node["id"] for node in profile["nodes"] for child in node.get("children", ())}
        paths = {key: _path(key, nodes, parents, modules) for key in nodes}
        for sample, delta in zip(profile["samples"], profile["timeDeltas"], strict=True):
            path = paths[sample]
            if path[0] in NOT_OF_THE_PAGE:
                continue
            when = "sync" if "runTag" in path else "later"
            own[path[0], when] += delta / 1000
            for function in set(path):
                whole[function, when] += delta / 1000
    lines = [
        Line(function, when, own.get((function, when), 0.0) / count, total / count)
        for (function, when), total in whole.items()
        if function not in NOT_OF_THE_PAGE
    ]
    return sorted(lines, key=lambda line: (-line.self_ms, -line.total_ms, line.function))


def _path(key: int, nodes: dict[int, Any], parents: dict[int, int], modules: Sequence[tuple[int, str]]) -> list[str]:
    """Names of the functions from this node up to the root."""
    path = []
    at: int | None = key
    while at is not None:
        frame = nodes[at]["callFrame"]
        number = frame["lineNumber"]
        name = frame["functionName"] or (f"(anonymous):{number + 1}" if number >= 0 else "(anonymous)")
        if frame["url"] == READABLE:
            module = next((name for first, name in reversed(modules) if first <= number), "")
            name = f"{name} · {module}"
        path.append(name)
        at = parents.get(at)
    return path
