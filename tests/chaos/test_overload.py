"""More than it can bear: it sheds with 429 or 503, loses nothing that it acknowledged, and recovers by itself."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.outcome import SEED, chaos_case, is_long
from tests.chaos.running_chaos import compare, list_pids, running_chaos
from tests.chaos.senders import Connection, Senders, make_beacon

# With `make chaos`: its shortest form takes a minute of both processors.
pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(600)]

STORM_S = 60 if is_long() else 3
MEASURE_S = 10 if is_long() else 1
MOST_CONNECTIONS = 64
ROLES = ("web", "load", "stitch", "engine")


def measure(ledger: Ledger, port: int) -> float:
    """Send for MEASURE_S as fast as answers come, and return beacons a second."""
    with Senders(ledger, [port], connections=16, seed=SEED) as senders:
        senders.wait_for(len(ledger.acknowledged) + 100)
        before, began = senders.answers["204"], time.monotonic()
        time.sleep(MEASURE_S)
        return (senders.answers["204"] - before) / (time.monotonic() - began)


def test_sheds_and_recovers(tmp_path: Path) -> None:
    """Twice as much as it took before: on three times the connections that it may hold, then over an address's rate."""
    ledger = Ledger()
    settings = {
        "TAGSTITCH_MAX_CONNECTIONS": str(MOST_CONNECTIONS),
        "TAGSTITCH_ADDRESS_RATE": "100",
        "TAGSTITCH_ADDRESS_BURST": "100",
        "TAGSTITCH_TRUSTED_PROXIES": "127.0.0.0/8",  # this machine itself is not held to a rate
    }
    storms = (("503", 3 * MOST_CONNECTIONS, ""), ("429", MOST_CONNECTIONS - 4, "203.0.113.7"))
    bounds = f"{STORM_S} s: {MOST_CONNECTIONS} connections; address_rate"
    injected = f"senders that aim at twice the measured maximum, {bounds}"
    with (
        chaos_case("overload", injected, len(storms)) as outcome,
        running_chaos(tmp_path, environ=settings) as instance,
    ):
        pids = {role: list_pids(instance, role) for role in ROLES}
        port = instance.config.port
        most = measure(ledger, port)
        said = []
        for status, connections, address in storms:
            with Senders(
                ledger,
                [port],
                connections=connections,
                beacons_per_s=2 * most,
                address=address,
                seed=SEED + connections,
            ) as storm:
                time.sleep(STORM_S)
            assert storm.answers[status] > 0, storm.answers
            assert storm.answers["204"] > 0, storm.answers
            assert set(storm.answers) <= {"200", "204", "429", "503", "cut"}, storm.answers
            assert _send_until_taken(port) == 204
            offered = storm.answers.total() / STORM_S
            said.append(f"{offered:,.0f} requests/s offered, {storm.answers[status]:,} answered {status}")
        found = compare(instance, ledger)
        assert {role: list_pids(instance, role) for role in pids} == pids, "a role was started again"
        assert "Traceback" not in instance.log
        outcome.found = f"{most:,.0f}/s was the most; {'; '.join(said)}; {found}"


def _send_until_taken(port: int) -> int:
    """Send one beacon as somebody who comes after the storm, politely; return the status of the last answer."""

    async def send() -> int:
        event = {"i": str(uuid.uuid4()), "n": "page_view"}
        body = make_beacon(str(uuid.uuid4()), str(uuid.uuid4()), [event])
        connection = Connection(port)
        try:
            for _ in range(20):
                status, headers = await connection.post(body)
                if status not in (429, 503):
                    break
                await asyncio.sleep(float(headers.get("retry-after", "1")))
            return status
        finally:
            await connection.close()

    return asyncio.run(send())
