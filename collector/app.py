"""The application: routes, middleware, lifespan. No logic.

`create_app` puts the parts together that the process `web` runs: the accept path first, then the tag, the links,
health and, where the settings say so, the demo.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import cache, partial

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from collector.config import Config
from collector.console import links_page
from collector.console.links_page_store import RealStore
from collector.endpoints import (
    api,
    beacon,
    catalogue,
    data_requests,
    exports,
    gpc,
    health,
    identity,
    link_revocations,
    links,
    me,
    mint,
    opt_out,
    pixel,
    privacy_page,
    profiles,
    server_events,
    stream,
    tag,
)
from collector.endpoints.edge import Edge
from collector.endpoints.glances import Glances
from collector.endpoints.guard import OperatorGuard
from collector.endpoints.mint_records import RecordSender
from collector.keyring import Keyring
from collector.offers.page import PageOffers
from collector.profiles.definitions import Definitions
from collector.shared_totals import SharedTotals
from collector.sites.poll import SitePoller
from collector.spool.writer import SpoolWriter, read_spool_totals
from collector.store.client import StoreClient, open_client
from collector.store.threads import StoreThreads
from collector.use.config import read_use
from collector.use.publishing import TraitPublisher
from collector.use.records import list_page_kinds
from collector.use.sources import Sources


def create_app(
    config: Config,
    keyring: Keyring,
    spool: SpoolWriter,
    poller: SitePoller,
    edge: Edge,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the ASGI application of one web process. It starts and stops `poller`; `spool` is the caller's.

    `is_stopping`: whether the process is about to end; answers that would go on for ever end then.
    """
    shared = SharedTotals(
        config.data_path, spool.writer, lambda: read_spool_totals(spool.counts), lambda: edge.site_book().read_at_ms
    )
    records = RecordSender(config, keyring)
    use = read_use(config)
    traits = TraitPublisher(config, keyring, use.traits)
    store = StoreThreads(lambda: open_client(config, keyring, "writer"))
    define = cache(lambda space_id: Definitions(use.traits, space_id))
    sources = Sources(config, keyring, use.adapters)
    offers = PageOffers(keyring, use.audiences, use.offers)
    routes: list[BaseRoute] = [
        *beacon.routes(edge),
        *pixel.routes(edge),
        *opt_out.routes(edge),
        *gpc.routes(),
        *catalogue.routes(edge),
        *privacy_page.routes(edge, use.traits),
        *links.routes(edge),
        *tag.routes(config),
        *api.routes(config, keyring, poller),
        *server_events.routes(edge, poller.uses.note),
        *identity.routes(edge, poller.uses.note),
        *data_requests.routes(edge, poller.uses.note, use.traits),
        *mint.routes(edge, poller.uses.note, records),
        *link_revocations.routes(edge, poller.uses.note),
        *exports.routes(edge, keyring, store, poller.uses.note, use.audiences, use.traits),
        *stream.routes(edge, store, poller.uses.note, is_stopping),
        *profiles.routes(edge, store, poller.uses.note, define, sources),
        *me.routes(
            edge,
            Glances(store, keyring, define, offers.want, partial(list_page_kinds, sources)),
            define,
            offers,
            sources,
        ),
        *links_page.routes(edge, RealStore(config, keyring)),
        *health.routes(OperatorGuard(keyring), config.data_path, spool, edge.site_book, shared),
    ]
    if config.demo:
        from collector.console.demo import demo_routes
        from collector.console.live import live_routes
        from collector.console.live_people import describe_offers

        routes += demo_routes(config, keyring)
        described = describe_offers(use.offers.values())
        reader = make_reader(config, keyring)
        routes += live_routes(config, keyring, reader, is_stopping=is_stopping, offers=described)

    if config.inspect:
        from collector.console.inspect import inspect_routes
        from collector.console.page import static_mount

        routes += inspect_routes(edge, is_stopping)
        routes += [] if config.demo else [static_mount()]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        poller.start()
        shared.start()
        records.start()
        traits.start()
        sources.start()
        if edge.kept_bodies is not None:
            edge.kept_bodies.start()
        try:
            yield
        finally:
            if edge.kept_bodies is not None:
                await edge.kept_bodies.stop()
            await records.stop()
            await traits.stop()
            await shared.stop()
            await sources.stop()
            poller.stop()
            store.close()

    app = Starlette(routes=routes, lifespan=lifespan)
    # A redirect to the path with or without its last slash would name whatever host and scheme the request names.
    app.router.redirect_slashes = False
    return app


def make_reader(config: Config, keyring: Keyring) -> Callable[[], StoreClient]:
    """Return what opens a reader's connection to the store."""

    def open_reader() -> StoreClient:
        return open_client(config, keyring, "reader")

    return open_reader
