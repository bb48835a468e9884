"""One question to a source, told field by field: what works, what does not, why, and how to mend it. No values.

For those who set an adapter up; nothing of what stands around it (cache, breaker) is in between.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any, cast

import msgspec

from collector.adapters.configuration import AdapterConfig, ClickHouseSettings, FilesSettings, SqlSettings
from collector.adapters.contract import Adapter, Field, Record
from collector.adapters.opening import Place, open_adapter, open_scanned
from collector.errors import AdapterError, AdapterReason

FIXES = {
    AdapterReason.TIMEOUT: "make the source answer by its key quickly, or raise bounds.timeout_s",
    AdapterReason.REFUSED: "check who we are there: user, password or token in the environment, and its rights",
    AdapterReason.UNREACHABLE: "check that the source runs, and where it is said to be",
    AdapterReason.BAD_ANSWER: "check what is read against what the source has",
    AdapterReason.RATE: "ask less often: bounds.rate_per_s",
    AdapterReason.OPEN: "wait until the source answers again",
    AdapterReason.CONFIG: "correct the setting",
    AdapterReason.NOT_SUPPORTED: "ask with a key that the source can have",
}
SCAN_S = 60.0


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one thing is. `what`: `answer`, `scan`, `search by …`, `source`, or a field's name. `state`: a few words."""

    what: str
    state: str
    is_bad: bool = False
    cause: str = ""
    fix: str = ""
    reason: str = ""


async def try_adapter(config: AdapterConfig, place: Place, key: str) -> list[Finding]:
    """Ask a source for the record of a key, and for what else it can. Raises ConfigError for settings that cannot be
    used; what the source does wrong is a finding."""
    adapter = open_adapter(config, place)
    try:
        findings = await _try_record(adapter, config, key)
    finally:
        await adapter.close()
    if adapter.describe().can_scan and not any(finding.is_bad for finding in findings[:1]):
        findings.append(await _try_scan(config, place))
    return findings


async def _try_record(adapter: Adapter, config: AdapterConfig, key: str) -> list[Finding]:
    fields = adapter.describe().fields
    try:
        said = await look_at(adapter)
        began_s = time.monotonic()
        async with asyncio.timeout(config.bounds.timeout_s):
            record = await adapter.retrieve(key, frozenset(field.name for field in fields), config.bounds.timeout_s)
    except TimeoutError:
        cause = f"no answer within {config.bounds.timeout_s:g} s (bounds.timeout_s)"
        return [_fail("answer", AdapterReason.TIMEOUT, cause)]
    except AdapterError as error:
        return [_fail("answer", error.reason, str(error))]
    took_s = time.monotonic() - began_s
    findings = [_judge_time(took_s, config)]
    if record is None:
        cause = f"the source has no record with this {config.key_kind}"
        findings.append(Finding("record", "none", True, cause, "try a key that is there, spelled as the source has it"))
    else:
        findings += [_judge_field(field, record) for field in fields]
        findings += await _try_searches(adapter, config, key, record)
    return findings + [Finding("source", sentence) for sentence in said]


async def look_at(adapter: Adapter) -> list[str]:
    """Return what an adapter has to say of its source, if it has. A file is indexed by this, however long that takes.
    Raises AdapterError."""
    look = getattr(adapter, "look", None)
    return list(await look()) if look is not None else []


def _judge_time(took_s: float, config: AdapterConfig) -> Finding:
    """Say how long it took; the first answer of a file or a connection takes longer than those that follow."""
    said = f"after {took_s * 1_000:.0f} ms"
    deadline_s = config.bounds.deadline_s
    if took_s <= deadline_s:
        return Finding("answer", said)
    cause = f"longer than pages wait (bounds.deadline_s, {deadline_s * 1_000:g} ms)"
    return Finding(
        "answer", said, cause=cause, fix="the first answer is the slowest: try again, then look for an index"
    )


def _judge_field(field: Field, record: Record) -> Finding:
    if field.name in record.unfit:
        fix = f"give fields.{field.name} the type that it has there, or name another place with map.{field.name}"
        cause = f"what the source has is not of type {field.type}"
        return Finding(field.name, "unavailable", True, cause, fix, str(AdapterReason.BAD_ANSWER))
    if field.name in record.values:
        return Finding(field.name, "ok")
    fix = f"if it should have one: name its place with map.{field.name}"
    return Finding(field.name, "no value", cause="the record has none", fix=fix)


async def _try_searches(adapter: Adapter, config: AdapterConfig, key: str, record: Record) -> list[Finding]:
    """Search for what was found, by each field that can be searched by."""
    settings = config.settings
    if not isinstance(settings, FilesSettings | SqlSettings | ClickHouseSettings):
        return []
    findings = []
    for name in settings.search:
        value = record.values.get(name)
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            continue
        what = f"search by {name}"
        try:
            async with asyncio.timeout(config.bounds.timeout_s):
                found = await adapter.search({name: str(value)}, 100)
        except TimeoutError:
            findings.append(_fail(what, AdapterReason.TIMEOUT, "no answer in time"))
        except AdapterError as error:
            findings.append(_fail(what, error.reason, str(error)))
        else:
            state = "ok" if any(one.key.casefold() == key.casefold() for one in found) else "finds others"
            findings.append(Finding(what, state if found else "finds nothing", is_bad=not found))
    return findings


async def _try_scan(config: AdapterConfig, place: Place) -> Finding:
    try:
        adapter = open_scanned(config, place)
        try:
            async with asyncio.timeout(SCAN_S), aclosing(cast(Any, adapter.scan())) as batches:
                first: list[Record] = await anext(batches, [])
        finally:
            await adapter.close()
    except TimeoutError:
        return _fail("scan", AdapterReason.TIMEOUT, f"no records within {SCAN_S:g} s")
    except AdapterError as error:
        return _fail("scan", error.reason, str(error))
    if not first:
        return Finding("scan", "gives nothing", True, "the source has no records", "see that it is the right one")
    return Finding("scan", f"ok, {len(first):,} records in the first batch")


def _fail(what: str, reason: AdapterReason, cause: str) -> Finding:
    return Finding(what, "unavailable", True, cause, FIXES[reason], str(reason))
