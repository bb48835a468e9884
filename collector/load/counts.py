"""What a loader has done since it was started: plain numbers, written by its thread, read by anyone."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BATCH_EVENTS_BOUNDS = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000)
BATCH_BYTES_BOUNDS = (1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000, 4_000_000, 8_388_608)


@dataclass(slots=True)
class LoaderCounts:
    """Counts of one life of a loader. Buckets: batches at most the bound with the same place, one more for above."""

    batches: int = 0
    lines: int = 0
    events: int = 0
    bytes: int = 0
    retries: int = 0  # attempts after the first
    refused: int = 0  # lines that the store would not take
    damaged: int = 0  # stretches of the spool that are no frames
    damaged_bytes: int = 0
    adopted: int = 0  # segments of dead writers
    last_events: int = 0  # of the last batch
    last_bytes: int = 0
    last_at_ms: int = 0
    events_buckets: list[int] = field(default_factory=lambda: [0] * (len(BATCH_EVENTS_BOUNDS) + 1))
    bytes_buckets: list[int] = field(default_factory=lambda: [0] * (len(BATCH_BYTES_BOUNDS) + 1))

    def count_batch(self, lines: int, events: int, size: int, at_ms: int) -> None:
        """Count a batch that has landed. `size`: bytes of its body."""
        self.batches += 1
        self.lines += lines
        self.events += events
        self.bytes += size
        self.last_events, self.last_bytes, self.last_at_ms = events, size, at_ms
        self.events_buckets[bisect_left(BATCH_EVENTS_BOUNDS, events)] += 1
        self.bytes_buckets[bisect_left(BATCH_BYTES_BOUNDS, size)] += 1
