"""kill -9 of each role in the middle of a stream of beacons: what got its 2xx is there, exactly once."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from instance_process import RunningInstance

from tests.chaos.ledger import Ledger
from tests.chaos.outcome import SEED, chaos_case, count_rounds
from tests.chaos.running_chaos import compare, list_pids, running_chaos
from tests.chaos.senders import Senders

pytestmark = pytest.mark.chaos

ROLES = ("web", "load", "stitch", "engine")
ROUNDS = count_rounds(2, 200)
# A role that dies so often would end the whole, as it should. Here it is killed by us: the supervisor goes on.
PATIENT_SUPERVISOR = (
    sys.executable,
    "-c",
    "from collector import cli, supervisor; supervisor.DEATHS_ALLOWED = 10**6; supervisor.LONGEST_PAUSE_S = 0.2;"
    " cli.main()",
)


@pytest.mark.timeout(180 + 20 * ROUNDS)
def test_every_acknowledged_beacon_is_there_once(tmp_path: Path) -> None:
    """Each role dies again and again under load, then the whole is stopped and started: nothing lost or doubled."""
    chance = random.Random(SEED)
    ledger = Ledger()
    with chaos_case("kill -9 of each role under load", "SIGKILL at a random moment, roles in turn") as outcome:
        with running_chaos(tmp_path, "--workers", "2", program=PATIENT_SUPERVISOR) as instance:
            with Senders(ledger, [instance.config.port], connections=4, pause_s=0.002, seed=SEED) as senders:
                senders.wait_for(1)
                for kill in range(ROUNDS * len(ROLES)):
                    time.sleep(chance.uniform(0.05, 0.6))
                    os.kill(_wait_for_role(instance, ROLES[kill % len(ROLES)], chance), signal.SIGKILL)
                    outcome.rounds = kill + 1
                senders.wait_for(len(ledger.acknowledged) + 20)
            assert instance.log.count("killed by SIGKILL") >= ROUNDS * len(ROLES)
            assert senders.answers["cut"]
            compare(instance, ledger)
        with running_chaos(tmp_path) as instance:
            outcome.found = compare(instance, ledger)


@pytest.mark.long
def test_the_supervisor_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """kill -9 of the supervisor ends every role; the next start finds all that was acknowledged."""
    ledger = Ledger()
    with chaos_case("kill -9 of the supervisor under load", "SIGKILL of `tagstitch run`") as outcome:
        with pytest.raises(AssertionError), running_chaos(tmp_path) as instance:
            with Senders(ledger, [instance.config.port], connections=4, pause_s=0.002) as senders:
                senders.wait_for(300)
                pids = instance.role_pids()
                assert set(pids) == set(ROLES)
                instance.process.kill()
                instance.process.wait()
            deadline = time.monotonic() + 30
            while any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with running_chaos(tmp_path) as instance:
            outcome.found = compare(instance, ledger)


def _wait_for_role(instance: RunningInstance, role: str, chance: random.Random) -> int:
    deadline = time.monotonic() + 30
    while not (pids := list_pids(instance, role)):
        assert time.monotonic() < deadline, instance.log[-2000:]
        time.sleep(0.02)
    return chance.choice(pids)
