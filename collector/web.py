"""The process `web`: spool, sites, application and HTTP server, put together and run on a given socket.

It needs the data folder and the secrets, not the store: sites and keys come from their copy on disk until the store
answers. Its folder of the spool is the first of `web-0`, `web-1`, … that no living process holds, so that any number
of web processes can share a data folder, a successor beside the one that it replaces too. On SIGTERM it stops
listening, ends what is under way, seals the spool and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import Generator

import msgspec
import uvicorn
import uvloop

from collector import disk
from collector.accept.kept_bodies_files import KeptBodies
from collector.accept.recognise import recognise_client
from collector.app import create_app
from collector.config import Config
from collector.country import open_country_lookup
from collector.data_centres import open_data_centres
from collector.endpoints.beacon import Beacons
from collector.endpoints.edge import Edge
from collector.errors import InstanceBusy
from collector.first_sight import FirstSight
from collector.http_whole import make_whole_protocol
from collector.id_tokens.poll import KeyPoller
from collector.instance import open_instance
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.sites.poll import SitePoller
from collector.spool.writer import SpoolWriter

SHUTDOWN_LIMIT_S = 2
MOST_WRITERS = 1024


def serve(config: Config, keyring: Keyring, listener: socket.socket) -> None:
    """Serve on the listening socket until SIGTERM or SIGINT. Prints one JSON line when it is ready."""
    disk.allow_open_files()
    open_instance(config.data_path, lock=False)
    # The first user agent loads the rules for all of them, 170 ms of the processor: before a beacon waits for it.
    recognise_client("Mozilla/5.0")
    # uvicorn chooses its loop only where it runs the process itself; asyncio's own is several times slower.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, keyring, listener))


async def _serve(config: Config, keyring: Keyring, listener: socket.socket) -> None:
    spool = await asyncio.to_thread(open_spool, config)
    key_poller: KeyPoller | None = None
    try:
        poller = SitePoller(config, keyring)
        key_poller = KeyPoller(config.data_path / "web", poller.read_book, pause_s=config.issuer_pause_s)
        edge = Edge(
            config=config,
            keyring=keyring,
            site_book=poller.read_book,
            spool=spool,
            now_ms=lambda: time.time_ns() // 1_000_000,
            find_country=open_country_lookup(config.country_database),
            is_data_centre=open_data_centres(config.data_centre_file),
            find_day_salt=poller.day_salts.find,
            issuer_keys=key_poller.keys,
            claim_visitor=FirstSight(config.data_path, keyring.pseudonym_key).claim,
            kept_bodies=KeptBodies(
                config.data_path,
                spool.writer,
                keyring,
                keep_days=config.rejected_days,
                max_bytes=config.rejected_bytes,
                min_free_bytes=config.min_free_bytes,
            ),
        )
        # The application asks whether the server is about to stop, and the server is made for the application.
        servers: list[uvicorn.Server] = []
        app = create_app(config, keyring, spool, poller, edge, lambda: any(server.should_exit for server in servers))
        server = _Server(
            uvicorn.Config(
                app,
                http=make_whole_protocol(config, config.beacon_path, Beacons(edge).take),
                ws="none",
                access_log=False,
                log_config=None,
                proxy_headers=False,  # the edge reads X-Forwarded-For itself, from trusted proxies only
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_LIMIT_S,
                backlog=2048,
            )
        )
        servers.append(server)
        key_poller.start()
        await server.serve(sockets=[listener])
        await edge.refusals.flush()
    finally:
        if key_poller is not None:
            await asyncio.to_thread(key_poller.stop)
        await asyncio.to_thread(spool.close)


def open_spool(config: Config) -> SpoolWriter:
    """Take the first free folder of the spool. Raises OSError, and InstanceBusy where there is none."""
    number = 0
    while True:
        try:
            return SpoolWriter(
                config.data_path / "spool" / f"web-{number}",
                segment_bytes=config.segment_bytes,
                segment_age_s=config.segment_age_s,
                max_spool_bytes=config.max_spool_bytes,
                min_free_bytes=config.min_free_bytes,
                durability=config.durability,
                lock_patience_s=0.0,
            )
        except InstanceBusy:
            number += 1
            if number == MOST_WRITERS:
                raise


class _Server(uvicorn.Server):
    """uvicorn, which says on standard output that it listens: the supervisor waits for that line."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take signals as the wish to stop. uvicorn would raise them again after it has stopped, and so end the process
        before the last refusals are written and the spool is sealed."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays. A full collection would look at all of it again each time, 40 ms for a beacon.
        gc.collect()
        gc.freeze()
        port = sockets[0].getsockname()[1] if sockets else 0
        get_logger().info("web listens", port=port)
        print(msgspec.json.encode({"ready": True, "port": port, "pid": os.getpid()}).decode(), flush=True)  # noqa: T201
