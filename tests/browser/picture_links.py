"""Makes the pictures of docs/marketers.md: the links page in the hands of a marketer, photographed in a real browser.

Run as `make picture`. It is no test. It starts a real instance with the demo shop, tags a list on the page, and writes
twelve days of made-up clicks into the store, so that the results show what a mailing looks like.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engines import CHROMIUM_FLAGS
from instance_process import RunningInstance, running_instance
from playwright.sync_api import Page, expect, sync_playwright

from collector.event import NIL_ID, EventRow, LandingRow
from collector.store.client import open_client
from collector.store.writer import insert_batch, insert_rows
from tests.running_store import encode_batch, make_evidence, make_id, make_row

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "marketers"
SIZE = {"width": 1000, "height": 760}
DAY_MS = 86_400_000
MESSAGES = (("spring-sale", "first-letter", 340), ("spring-sale", "reminder", 150), ("autumn-news", "", 90))
MACHINES = (
    ("scanner", "agent"),
    ("scanner", "soon,many"),
    ("preview", "preview_agent"),
    ("prefetch", "prefetch_header"),
)
RECIPIENTS = 1180


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_instance(Path(folder), "--demo") as instance,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        page.goto(instance.command("links", "page", "--name", "anna").stdout.strip())
        _tag(page, instance, "spring-sale", "reminder")
        _tag(page, instance, "autumn-news", "")
        _tag(page, instance, "spring-sale", "first-letter", is_shown=True)
        _fill_store(instance)
        page.locator("#tab-results").click()
        page.locator("button[data-days='7']").focus()
        page.locator("#first").fill(time.strftime("%Y-%m-%d", time.gmtime(time.time() - 13 * 86_400)))
        page.locator("#level").select_option("message")
        expect(page.locator("#campaigns .name")).to_have_count(3)
        page.locator("#campaigns .name").first.click()
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.wait_for_timeout(400)
        page.screenshot(path=FOLDER / "results.png", full_page=True)
        browser.close()


def _tag(page: Page, instance: RunningInstance, campaign: str, message: str, *, is_shown: bool = False) -> None:
    names = ("Ada", "Grace", "Mary", "Annie", "Hedy", "Joan", "Edith", "Radia")
    rows = [f"{4711 + number},{names[number % 8]},{'no' if number % 9 == 4 else 'yes'}" for number in range(RECIPIENTS)]
    rows[3] = "guest,Nobody,yes"
    text = "customer_id,first_name,newsletter\n" + "\n".join(rows) + "\n"
    page.locator("#file").set_input_files(
        files=[{"name": "recipients.csv", "mimeType": "text/csv", "buffer": text.encode()}]
    )
    page.locator("#campaign").fill(campaign)
    page.locator("#message").fill(message)
    page.locator("#target").fill(f"{instance.url}/demo/product/dusk-lamp?utm_campaign={campaign}")
    expect(page.locator("#start")).to_be_enabled()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    if is_shown:
        page.wait_for_timeout(400)
        page.screenshot(path=FOLDER / "list.png", clip={"x": 0, "y": 0, "width": SIZE["width"], "height": 480})
        _photograph(page, "#step-2", "links.png", 980)
    page.locator("#start").click()
    expect(page.locator("#done")).to_be_visible()
    if is_shown:
        _photograph(page, "#step-3", "tagged.png")


def _photograph(page: Page, place: str, name: str, height: int = 10_000) -> None:
    """Photograph a part of the page, its upper part where it is higher than so many pixels."""
    box = page.locator(place).bounding_box()
    assert box is not None
    page.screenshot(path=FOLDER / name, full_page=True, clip={**box, "height": min(height, box["height"])})


def _fill_store(instance: RunningInstance) -> None:
    """Write what people and machines did with the links, as the loader would."""
    chance = random.Random(4711)
    now_ms = time.time_ns() // 1_000_000
    rows: list[LandingRow] = []
    guards: list[dict[str, Any]] = []
    number = 0
    for campaign, message, clicks in MESSAGES:
        began_ms = now_ms - chance.choice((9, 11)) * DAY_MS
        said = {"site_id": "demo", "link_campaign": campaign, "link_message": message, "link_kind": "message"}
        for _ in range(clicks):
            number += 10
            at_ms = min(began_ms + int(chance.expovariate(1 / (2.2 * DAY_MS))), now_ms - 60_000)
            page_said = said | {"link_way": "page", "link_token_id": f"t{chance.randrange(RECIPIENTS)}"}
            if chance.random() < 0.3:
                class_, reasons = chance.choice(MACHINES)
                machine = said | {"link_way": "redirect", "link_class": class_, "link_reasons": reasons, "is_bot": 1}
                rows.append(_make_own(number, "link_click", at_ms, **machine))
                continue
            seen = page_said | {"link_class": "human", "received_at_ms": at_ms}
            view = _make_event(number, "page_view", at_ms, sequence=1)
            rows.append(make_row(number, events=[view], link_status="unconfirmed", **seen))
            if chance.random() < 0.82:
                confirm = _make_event(number + 1, "link_confirm", at_ms + 4000, sequence=2)
                tie = make_evidence(
                    number, number, str(4711 + number), kind="link", level=2, source="link", campaign=campaign,
                    event_id=confirm.event_id, time_ms=confirm.time_ms,
                )  # fmt: skip
                rows.append(make_row(number, events=[confirm], evidence=[tie], link_status="confirmed", **seen))
                if chance.random() < 0.03:
                    noted = {"evidence_id": tie.evidence_id, "a_key": tie.a_key, "b_key": tie.b_key, "version": 1}
                    guards.append(noted | {"space_id": "main", "at": at_ms / 1000, "reason": "forwarded"})
                if chance.random() < 0.17:
                    price = json.dumps({"value": chance.choice((49, 129, 189)), "currency": "EUR"})
                    bought = _make_event(number + 2, "purchase", at_ms + 600_000, sequence=3, props=price)
                    rows.append(make_row(number, events=[bought], site_id="demo", received_at_ms=at_ms))
        for place in range(clicks // 45):
            gone = said | {"link_kind": "unsubscribe", "link_way": "redirect", "link_class": "human"}
            rows.append(_make_own(900_000 + number + place, "unsubscribe", began_ms + DAY_MS, **gone))
    with open_client(instance.config, instance.keyring, "writer") as client:
        insert_batch(client, encode_batch(rows, "picture", 1), "picture")
        insert_rows(client, "guard_log", guards)


def _make_event(number: int, name: str, at_ms: int, **more: Any) -> EventRow:
    return EventRow(event_id=make_id(number, 0xE), name=name, time_ms=at_ms, url="https://demo.example/", **more)


def _make_own(number: int, name: str, at_ms: int, **said: Any) -> LandingRow:
    """Return a row of the collector's own, which is nobody's."""
    row = make_row(
        0, events=[_make_event(number, name, at_ms)], received_at_ms=at_ms, link_status="unconfirmed", **said
    )
    row.visitor_id = row.own_person_id = row.session_id = NIL_ID
    row.visitor_proof = "none"
    return row


if __name__ == "__main__":
    main()
