"""Counters of the process, in Prometheus' format. Labels are closed sets or site ids, never anything of an event."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter

_STEPS = Counter("tagstitch_step_beacons", "Beacons that a step has judged.", ["step"])
_ACCEPTED = Counter("tagstitch_accepted_beacons", "Beacons kept.", ["site"])
_EVENTS = Counter("tagstitch_accepted_events", "Events kept.", ["site"])
_REJECTED = Counter("tagstitch_rejected", "Refusals of beacons, events and fields.", ["step", "reason"])
_REQUESTS = Counter("tagstitch_edge_requests", "What became of requests and connections.", ["outcome"])


def count_step(step: str) -> None:
    """Count a beacon that a step has judged."""
    _step(step).inc()


def count_accepted(site_id: str, events: int) -> None:
    """Count a beacon that is kept, and its events."""
    beacons, kept = _accepted(site_id)
    beacons.inc()
    kept.inc(events)


def count_rejected(step: str, reason: str) -> None:
    """Count a refusal."""
    _rejected(step, reason).inc()


def count_request(outcome: str) -> None:
    """Count what became of a request: `disconnected`, `slow`, `too large`, `malformed`, `too many`, `unrecorded` …"""
    _request(outcome).inc()


# `labels` takes a lock and builds a tuple each time; what is counted on every beacon is looked up once.
@lru_cache(maxsize=64)
def _step(step: str) -> Counter:
    return _STEPS.labels(step)


@lru_cache(maxsize=4096)
def _accepted(site_id: str) -> tuple[Counter, Counter]:
    return _ACCEPTED.labels(site_id), _EVENTS.labels(site_id)


@lru_cache(maxsize=256)
def _rejected(step: str, reason: str) -> Counter:
    return _REJECTED.labels(step, reason)


@lru_cache(maxsize=64)
def _request(outcome: str) -> Counter:
    return _REQUESTS.labels(outcome)
