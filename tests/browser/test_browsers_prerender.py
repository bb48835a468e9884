"""A page that Chromium renders in advance, for real: no driver is attached, because with one Chromium does not do it.

Pages steer themselves and tell the server what happens; the test reads there. The first page asks by speculation
rules for the second to be rendered ahead, waits for the server's word, and goes there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from engines import CHROMIUM_FLAGS
from page_server import PageServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

LIMIT_S = 30.0

FIRST = """<!doctype html><title>first</title>
<script type="speculationrules">{"prerender": [{"urls": ["%s"], "eagerness": "immediate"}]}</script>
<script>
  const ask = () => fetch("/may-go").then(r => r.text())
    .then(word => word === "go" ? location.assign("%s") : setTimeout(ask, 50));
  ask();
</script>"""

# A fetch is allowed while prerendering: so the page can say what it is. 1.5 s are five times what the tag waits for.
SECOND = """<script>
  const tell = text => fetch("/said", {method: "POST", body: text, keepalive: true});
  if (document.prerendering) {
    tell("prerendering");
    setTimeout(() => document.prerendering && tell("still prerendering"), 1500);
    document.addEventListener("prerenderingchange", () => {
      tell("activated " + (performance.getEntriesByType("navigation")[0].activationStart > 0));
    });
  } else tell("not prerendered");
</script>"""


@contextlib.contextmanager
def bare_chromium(path: str, profile: Path, url: str) -> Iterator[None]:
    """Run Chromium on this address, with nobody attached, until the block ends."""
    flags = ["--headless=new", *CHROMIUM_FLAGS, f"--user-data-dir={profile}"]
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen([path, *flags, url], stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_prerendered_page_speaks_once_it_is_shown(
    chromium_path: str, page_server: PageServer, site: str, tmp_path: Path
) -> None:
    """While Chromium renders the page ahead, the tag sends nothing, and nothing of it is on the wire; when the person
    goes there one page view arrives, with the time at which the page was shown."""
    said: list[str] = []
    may_go = threading.Event()

    async def hear(request: Request) -> Response:
        said.append((await request.body()).decode())
        return Response(status_code=204)

    page_server.posts["/said"] = hear
    page_server.pages["/may-go"] = lambda _: PlainTextResponse("go" if may_go.is_set() else "wait")
    second = page_server.add_tagged_page("/ahead", site, head=SECOND)
    first = page_server.add_page("/first", FIRST % (second, second))

    def wait_for(text: str) -> None:
        end = time.monotonic() + LIMIT_S
        while text not in said:
            assert "not prerendered" not in said, "Chromium did not render ahead: the test shows nothing"
            log = (tmp_path / "log").read_text(errors="replace")[-1000:]
            assert time.monotonic() < end, f"waited for {text}, heard {said}: {log}"
            time.sleep(0.03)

    with bare_chromium(chromium_path, tmp_path, first):
        wait_for("still prerendering")
        assert said == ["prerendering", "still prerendering"]
        assert page_server.beacons(site) == []
        shown_ms = time.time_ns() // 1_000_000
        may_go.set()
        wait_for("activated true")
        [beacon] = page_server.beacon_count_is(site, 1)
    assert beacon.names == ["page_view"]
    assert "sec-purpose" not in beacon.headers
    assert beacon.envelope["e"][0]["t"] >= shown_ms, json.dumps(beacon.envelope)
    page_server.beacon_count_is(site, 1)
