"""What one source may cost: time, requests and memory of one process. Part of an adapter's configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class SourceBounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bounds of one source in one process. All times are seconds."""

    deadline_s: Annotated[float, Meta(gt=0, le=30)] = 0.3
    """How long who asks waits; what has not come by then is unavailable, and comes into the cache when it does."""

    page_deadline_s: Annotated[float, Meta(gt=0, le=30)] = 0.05
    """How long a page waits that asks who sits in front of it."""

    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 5.0
    """How long a request goes on when nobody waits for it any more."""

    stale_s: Annotated[float, Meta(ge=0, le=604_800)] = 3_600.0
    """For how long after its time to live a value may be given while the source errs."""

    none_ttl_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """How long "there is no such record", or "it has no such field", holds."""

    cache_entries: Annotated[int, Meta(ge=0, le=10_000_000)] = 10_000
    cache_bytes: Annotated[int, Meta(ge=0, le=4_294_967_296)] = 33_554_432

    rate_per_s: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    """Requests a second; 0: any number."""

    max_fetches: Annotated[int, Meta(ge=1, le=1_024)] = 16
    """Requests at once, those included that nobody waits for and that cannot be stopped."""

    max_waiters: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """How many may wait for the source at once; one more gets what is known already."""

    failures: Annotated[int, Meta(ge=1, le=1_000)] = 5
    """Failures in a row that open the circuit breaker."""

    open_s: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    """How long the breaker is open the first time; each probe that fails doubles it, up to `most_open_s`."""

    most_open_s: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
