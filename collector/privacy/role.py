"""The role `govern`: chains the audit log, carries out what people have asked for, sees that what was erased stays so.

    every govern_interval_s    new entries and looks enter the chain
                               erasures that are open are carried out, one after the other
    at any time                fingerprints are hidden as soon as consent to them is taken back
    every AGAIN_S              fingerprints that are hidden are deleted; backups that are over their time go
                               confirmation links that nobody has opened in time are closed
                               erasures of the last AGAIN_DAYS are looked at once more: what came in since is erased too

One of these is enough. A store that does not answer is waited for, with one line in the log; what an erasure waits for
stands in its request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from collector.backup.keys import find_path
from collector.backup.old import remove_old
from collector.config import Config
from collector.errors import BackupError, PrivacyError, PrivacyReason, StoreError, TagstitchError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.privacy import requests
from collector.privacy.chain import extend_chain
from collector.privacy.confirming import close_old
from collector.privacy.desk import PrivacyDesk
from collector.privacy.erasing import erase_again
from collector.privacy.govern_status import GovernStatus, write_status
from collector.privacy.journal import find_backups
from collector.privacy.materialised import list_materialised
from collector.privacy.requests import DataRequest
from collector.privacy.signals import delete_signals, watch_signals
from collector.store.client import StoreClient, open_client

ACTOR = "role:govern"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
AGAIN_S, AGAIN_DAYS = 900.0, 8
"""A host whose store was away may bring in a week later what it took in before it knew of an erasure."""
RETRY_S = 60.0
"""How long an erasure that could not be carried out waits for its next try."""
BUSY_S = 1.0
COMMAND_MS = 5_000
"""A command that asks for an erasure carries it out itself, and shows it; it gets so long to begin."""


class Governor:
    """The work of one role. Belongs to one thread."""

    def __init__(
        self,
        client: StoreClient,
        config: Config,
        keyring: Keyring,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds that never go back."""
        self.status = GovernStatus(0, 0)
        self._client = client
        self._config = config
        self._keyring = keyring
        self._now_ms = now_ms
        self._clock = clock
        self._again_at = 0.0
        self._retry_at: dict[str, float] = {}

    def turn(self) -> None:
        """Do what is to be done now. Raises StoreError."""
        linked = extend_chain(self._client, self._keyring, self._now_ms())
        self._note(linked=self.status.linked + linked)
        for space_id, request in requests.list_open(self._client):
            waits = self._clock() < self._retry_at.get(request.request_id, 0.0)
            if not waits and not self._is_left_to_command(request):
                self._carry_out(space_id, request)
        if self._clock() >= self._again_at:
            self._remove_old_backups()
            self._delete_signals()
            self._close_links()
            self._again_at = self._clock() + AGAIN_S
            found = erase_again(self._client, self._now_ms() - AGAIN_DAYS * 86_400_000)
            self._note(found_again=self.status.found_again + found)
        waiting, late = requests.count_requests(self._client, self._now_ms())
        unlisted = sum(bool(table.problem) for table in list_materialised(self._client))
        self._note(waiting=waiting, late=late, unlisted=unlisted, trouble="")

    def say(self, trouble: str) -> None:
        """Write down why it does not go on."""
        self._note(trouble=trouble)

    def _is_left_to_command(self, request: DataRequest) -> bool:
        is_new = not request.step and self._now_ms() < request.requested_at_ms + COMMAND_MS
        return request.via == requests.COMMAND and is_new

    def _carry_out(self, space_id: str, request: DataRequest) -> None:
        desk = PrivacyDesk(
            *(self._client, self._config, self._keyring, space_id, ACTOR, "role", self._now_ms), patience_s=BUSY_S
        )
        try:
            desk.erase(request)
        except StoreError:
            raise
        except TagstitchError as error:
            if isinstance(error, PrivacyError) and error.reason is PrivacyReason.BUSY:
                return  # somebody is at it
            self._retry_at[request.request_id] = self._clock() + RETRY_S
            reason = error.reason if isinstance(error, PrivacyError) else type(error).__name__
            get_logger().warning("an erasure waits", request=request.request_id, reason=str(reason))
            return
        self._retry_at.pop(request.request_id, None)
        get_logger().info("an erasure was carried out", request=request.request_id)
        self._note(erased=self.status.erased + 1)

    def _delete_signals(self) -> None:
        try:
            delete_signals(self._client)
        except PrivacyError as error:
            get_logger().warning("fingerprints cannot be deleted", reason=str(error))

    def _close_links(self) -> None:
        """Close requests whose confirmation links nobody has opened in time."""
        for space_id in requests.list_spaces(self._client, requests.LINK):
            desk = PrivacyDesk(self._client, self._config, self._keyring, space_id, ACTOR, "role", self._now_ms)
            if closed := close_old(desk):
                get_logger().info("confirmation links were not opened in time", space=space_id, count=closed)

    def _remove_old_backups(self) -> None:
        """Destroy keys of backups whose time is over, and remove the backups."""
        try:
            removed = remove_old(find_backups(self._config), find_path(self._config), self._now_ms())
        except BackupError as error:
            get_logger().warning("old backups cannot be removed", reason=str(error))
            return
        if removed:
            get_logger().info("removed backups that are over their time", count=len(removed))

    def _note(self, **fields: int | str) -> None:
        self.status = msgspec.structs.replace(self.status, at_ms=self._now_ms(), **fields)
        write_status(self._config.data_path, self.status)


def run_govern(config: Config, keyring: Keyring, stop: threading.Event) -> None:
    """Govern until told to stop."""
    pause_s, trouble = FIRST_PAUSE_S, ""
    threading.Thread(target=watch_signals, args=(config, keyring, stop), name="signals", daemon=True).start()
    with open_client(config, keyring, "writer") as client:
        governor = Governor(client, config, keyring)
        while not stop.is_set():
            try:
                governor.turn()
            except StoreError as error:
                if str(error) != trouble:
                    get_logger().warning("govern waits for the store", reason=str(error))
                trouble = str(error)
                governor.say(trouble)
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            if trouble:
                get_logger().info("govern goes on")
            pause_s, trouble = FIRST_PAUSE_S, ""
            stop.wait(config.govern_interval_s)
