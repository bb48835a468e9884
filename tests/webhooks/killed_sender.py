"""A sender in a process of its own that kills itself, as SIGKILL does, at the n-th time that it comes to a step.

Reads one JSON object from standard input: `config`, `keyring`, `url`, `step` and `times`. Run by test_webhook_kills.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import msgspec

from collector.config import Config
from collector.keyring import Keyring
from collector.webhooks import feeding
from collector.webhooks.sending import Sender
from tests.webhooks.receiver import ENVIRON, make_webhook


def main() -> None:
    told = json.loads(sys.stdin.readline())
    left = told["times"]

    def kill_at(step: str) -> None:
        nonlocal left
        if step == told["step"]:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    feeding.NOTE_S = 0.0
    config, keyring = msgspec.convert(told["config"], Config), msgspec.convert(told["keyring"], Keyring)
    Sender(config, keyring, make_webhook(told["url"]), environ=ENVIRON, say=kill_at).start()
    threading.Event().wait(60)  # the thread ends all of us before


if __name__ == "__main__":
    main()
