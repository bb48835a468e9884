"""How the loader behaves in trouble: it says so once, waits longer each time, and says once that it is over."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from collector.errors import SchemaError, StoreError, StoreUnavailable
from collector.logs import get_logger

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0
MAINTENANCE = "maintenance"


class Stopping(Exception):
    """The loader was told to stop while it waited."""


class Paused(Exception):
    """Maintenance began while a batch was on its way: it stays frozen, and goes on when maintenance ends."""


class Patience:
    """The troubles of one loader. `kind` of the trouble decides whether it is a new one, worth a line."""

    def __init__(self, stop: threading.Event, jitter: Callable[[], float] = random.random) -> None:
        """`jitter`: 0 ≤ number < 1, so that many loaders do not come back in step."""
        self._stop = stop
        self._jitter = jitter
        self._wait_s = FIRST_WAIT_S
        self._kind = ""

    @property
    def trouble(self) -> str:
        """What keeps the loader from loading: "", away, schema, disk, rejection, maintenance or `refusal CODE`."""
        return self._kind

    def say(self, kind: str, reason: str) -> None:
        """Log the trouble, if it is not the one that was logged last."""
        if kind != self._kind:
            self._kind = kind
            get_logger().error("loading is paused, events wait in the spool", reason=reason)

    def say_maintenance(self) -> None:
        """Log once that a person wants it so: no error."""
        if self._kind != MAINTENANCE:
            self._kind = MAINTENANCE
            get_logger().warning(
                "loading is paused, events wait in the spool",
                reason="maintenance is on: `tagstitch maintenance off` ends it",
            )

    def say_store(self, error: StoreError) -> None:
        """Log what the store answered; of a refusal the code alone, as the store's words may quote the data."""
        if isinstance(error, StoreUnavailable):
            self.say("away", f"the store does not answer (code {error.code})")
        elif isinstance(error, SchemaError):
            self.say("schema", str(error))
        else:
            self.say(f"refusal {error.code}", f"the store refuses with ClickHouse code {error.code}")

    def wait(self) -> None:
        """Wait before the next attempt. Raises Stopping when told to stop meanwhile."""
        wait_s, self._wait_s = self._wait_s, min(self._wait_s * 2, LONGEST_WAIT_S)
        if self._stop.wait(wait_s * (0.5 + self._jitter() / 2)):
            raise Stopping

    def is_over(self) -> None:
        """Note that it works: the next trouble begins with a short wait and a line of its own."""
        self._wait_s = FIRST_WAIT_S
        if self._kind:
            self._kind = ""
            get_logger().info("loading again")
