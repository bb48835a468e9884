"""Adapters of installed packages, by the entry point group `tagstitch.adapters`.

    [project.entry-points."tagstitch.adapters"]
    erp = "our_package.erp:ErpAdapter"

The entry is called with the options of the configuration and the environment, and returns an adapter. What a plugin
does wrong costs its own fields and no more: it is told by kind, since its words may hold anything.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import msgspec

from collector.adapters.configuration import NAME, AdapterConfig, PythonSettings
from collector.adapters.contract import Adapter, Described, Field, FieldType, Record, Wrong
from collector.adapters.own_thread import OwnThread
from collector.adapters.plain_values import read_value
from collector.adapters.values import fit_record
from collector.errors import AdapterError, AdapterReason

GROUP = "tagstitch.adapters"
TYPES = frozenset(get_args(FieldType))
PASSED_ON = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


def open_plugin(
    config: AdapterConfig, settings: PythonSettings, environ: Mapping[str, str], *, is_scanned: bool = False
) -> Adapter:
    """Load and make a plugin. `is_scanned`: it stays in the loop of who asks, so that it may be read as a whole; else
    it has a thread of its own, where it may block. Raises Wrong that names the plugin's package and what it did."""
    entry = _find_entry(settings.plugin)
    where = f"{entry.value}{f' of {entry.dist.name}' if entry.dist is not None else ''}"
    try:
        make = entry.load()
    except PASSED_ON:
        raise
    except BaseException as error:
        missing = f", which needs {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
        raise Wrong("plugin", f"{where}{missing} cannot be loaded ({type(error).__name__})") from None
    try:
        adapter = make(dict(settings.options), environ)
        said = adapter.describe()
    except PASSED_ON:
        raise
    except Wrong as wrong:
        raise Wrong(f"options.{wrong.setting}", str(wrong)) from None
    except BaseException as error:
        raise Wrong("options", f"{where} cannot be made of them ({type(error).__name__})") from None
    guarded = GuardedPlugin(adapter, _read_described(said, adapter, config, where))
    return guarded if is_scanned else OwnThread(guarded)


class GuardedPlugin:
    """A plugin whose errors are AdapterErrors, and whose values have the form of their fields."""

    def __init__(self, adapter: Any, described: Described) -> None:
        self._adapter = adapter
        self._described = described
        self._types = {field.name: field.type for field in described.fields}

    def describe(self) -> Described:
        return self._described

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the plugin's record. Raises AdapterError: `bad_answer` for what is no record, or that
        of another key."""
        try:
            record = await self._adapter.retrieve(key, fields & self._types.keys(), deadline_s)
        except PASSED_ON:
            raise
        except BaseException as error:
            raise _explain(error) from None
        if record is None:
            return None
        fitted = self._fit(record, fields)
        if fitted.key != key:
            raise AdapterError(AdapterReason.BAD_ANSWER, "the plugin gave the record of another key")
        return fitted

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return what the plugin finds, `limit` at most. Raises AdapterError."""
        if not self._described.can_search:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, "the plugin cannot search")
        try:
            found = list(await self._adapter.search(dict(terms), limit))
        except PASSED_ON:
            raise
        except BaseException as error:
            raise _explain(error) from None
        return [self._fit(record, self._types) for record in found[:limit]]

    async def scan(self) -> AsyncIterator[list[Record]]:
        """Yield what the plugin yields. Raises AdapterError."""
        if not self._described.can_scan:
            raise AdapterError(AdapterReason.NOT_SUPPORTED, "the plugin cannot be scanned")
        try:
            async for batch in self._adapter.scan():
                yield [self._fit(record, self._types) for record in batch]
        except PASSED_ON:
            raise
        except BaseException as error:
            raise _explain(error) from None

    async def close(self) -> None:
        """Close the plugin; what it does then is nobody's any more."""
        try:
            await self._adapter.close()
        except PASSED_ON:
            raise
        except BaseException:  # noqa: S110
            pass

    def _fit(self, record: Any, fields: Iterable[str]) -> Record:
        if not isinstance(record, Record) or not isinstance(record.values, Mapping) or not isinstance(record.key, str):
            raise AdapterError(AdapterReason.BAD_ANSWER, f"the plugin gave no record, but a {type(record).__name__}")
        names = [name for name in fields if name in record.values and name in self._types]
        pairs = ((name, read_value(record.values[name], self._types[name])) for name in names)
        fitted = fit_record(record.key, self._types, pairs)
        unfit = frozenset(record.unfit) & self._types.keys()
        return Record(fitted.key, fitted.values, fitted.unfit | unfit) if unfit else fitted


def list_plugins() -> list[str]:
    """Return the names of all adapters of installed packages."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def _find_entry(name: str) -> EntryPoint:
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(list_plugins()) or "none"
        raise Wrong(
            "plugin", f"no installed package has an adapter of this name in the group {GROUP}; there is {known}"
        )
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(entry.dist.name if entry.dist else "?" for entry in found))
        raise Wrong("plugin", f"several packages have an adapter of this name: {packages}; uninstall all but one")
    return found[0]


def _read_described(said: Any, adapter: Any, config: AdapterConfig, where: str) -> Described:
    """Return what the plugin says of itself, with what the configuration says of its fields."""
    fields = getattr(said, "fields", None)
    is_sound = isinstance(said, Described) and isinstance(fields, tuple) and bool(fields)
    if not is_sound or not all(_is_sound(field) for field in fields or ()):
        reason = f"describe() of {where} must return a Described with Fields, each with a name and one of the types"
        raise Wrong("plugin", f"{reason} {', '.join(sorted(TYPES))}")
    by_name: dict[str, Field] = {
        field.name: msgspec.structs.replace(field, page=False, page_name="") for field in fields or ()
    }
    for field in config.fields:
        if field.name not in by_name:
            raise Wrong(f"fields.{field.name}", f"the plugin has no such field; it has {', '.join(by_name)}")
        if field.type != by_name[field.name].type:
            raise Wrong(f"fields.{field.name}.type", f"the plugin says that it is {by_name[field.name].type}")
        by_name[field.name] = field
    if not callable(getattr(adapter, "retrieve", None)) or not callable(getattr(adapter, "close", None)):
        raise Wrong("plugin", f"{where} must have retrieve() and close()")
    return Described(
        config.name,
        config.key_kind,
        tuple(by_name.values()),
        can_search=said.can_search and callable(getattr(adapter, "search", None)),
        can_scan=said.can_scan and callable(getattr(adapter, "scan", None)),
    )


def _is_sound(field: Any) -> bool:
    if not isinstance(field, Field) or not isinstance(field.name, str) or not re.fullmatch(NAME, field.name):
        return False
    return field.type in TYPES and field.min_assurance in range(5) and field.ttl_s >= 0


def _explain(error: BaseException) -> AdapterError:
    if isinstance(error, AdapterError):
        return error
    if isinstance(error, TimeoutError):
        return AdapterError(AdapterReason.TIMEOUT, "the plugin had no answer in time")
    if isinstance(error, OSError):
        return AdapterError(AdapterReason.UNREACHABLE, f"the plugin does not reach its source ({type(error).__name__})")
    return AdapterError(AdapterReason.BAD_ANSWER, f"the plugin failed ({type(error).__name__})")
