"""The beacons that real tags have written, kept for good: every one is still understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.event import WIRE_VERSION, Context, Envelope, WireEvent, WireIdentifier, WireSession
from collector.reasons import Reason
from tests.edge_examples import SITE, make_context, refuse, take

BEACONS = sorted((Path(__file__).parents[1] / "data" / "beacons").glob("v*.json"))


def _context(body: dict[str, Any], consent: str = "") -> Context:
    """Return the facts of a request half a second after the beacon was sent, by the right clock."""
    site = msgspec.structs.replace(
        SITE, origins=("https://shop.example",), identify_versions=(1, 2), consent=consent or SITE.consent
    )
    return make_context(site=site, day_salt=b"s" * 32, received_at_ms=body["st"] + body.get("o", 0) + 500)


def test_there_are_beacons() -> None:
    """The current version has some."""
    assert any(path.name.startswith(f"v{WIRE_VERSION}_") for path in BEACONS)


@pytest.mark.parametrize("path", BEACONS, ids=lambda path: path.stem)
def test_a_golden_beacon_is_understood(path: Path) -> None:
    """Every event of it is kept, but where consent is withdrawn, or for signatures and tokens that are examples."""
    raw = path.read_bytes()
    body = json.loads(raw)
    if "cookieless" in path.stem:
        kept, row = take(raw, _context(body, consent="cookieless"))
        assert (kept.reasons, row.visitor_proof) == ((), "cookieless")
        return
    if body.get("c") is not None and "a" not in body["c"]:
        answer, _ = refuse(raw, _context(body))
        assert answer.rejected.reason is Reason.CONSENT
        return
    kept, row = take(raw, _context(body))
    assert set(kept.reasons) <= {Reason.SIGNATURE, Reason.EXPIRED, Reason.HANDOVER}
    expected = [event["n"] for event in body["e"] if not any(k.keys() & {"g", "j"} for k in event.get("k", []))]
    assert [event.name for event in row.events if event.name in expected] == expected


@pytest.mark.parametrize("path", BEACONS, ids=lambda path: path.stem)
def test_the_tag_writes_no_field_that_nobody_reads(path: Path) -> None:
    """Unknown fields are ignored on the wire, so a misspelt one would be lost in silence."""
    body = json.loads(path.read_bytes())
    assert set(body) <= _names(Envelope)
    assert set(body.get("x", {})) <= _names(WireSession)
    for event in body["e"]:
        assert set(event) <= _names(WireEvent)
        for identifier in event.get("k", []):
            assert set(identifier) <= _names(WireIdentifier)


def _names(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}
