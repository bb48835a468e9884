"""What the step `minimise` has taken out of a beacon, by place and kind: found by comparing before and after.

For the dry run alone. A removal names the field, and of a parameter its name where that is a plain word; what stood
there is not repeated.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from collector.accept.minimise import REMOVED
from collector.event import Envelope

MAX_REMOVALS = 100
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


class Removal(msgspec.Struct, frozen=True):
    """One thing that is not kept. `field`: its path, such as `e[0].u`."""

    field: str
    what: str


def list_removals(before: Envelope, after: Envelope) -> list[Removal]:
    """Return what is gone; both have the same events in the same order. At most MAX_REMOVALS."""
    found: list[Removal] = []
    _compare_page(before, after, "", found)
    for index, (old, new) in enumerate(zip(before.events, after.events, strict=True)):
        path = f"e[{index}]"
        _compare_text(old.name, new.name, f"{path}.n", found)
        _compare_page(old, new, f"{path}.", found)
        _compare_values(old.props, new.props, f"{path}.p", found)
    return found[:MAX_REMOVALS]


def _compare_page(old: Any, new: Any, path: str, found: list[Removal]) -> None:
    _compare_address(old.url, new.url, f"{path}u", found)
    _compare_address(old.referrer, new.referrer, f"{path}r", found)
    _compare_text(old.title, new.title, f"{path}h", found)


def _compare_text(old: str, new: str, path: str, found: list[Removal]) -> None:
    if new.count(REMOVED) > old.count(REMOVED):
        found.append(Removal(path, "what looks like an e-mail address, a token or the client's address"))


def _compare_address(old: str, new: str, path: str, found: list[Removal]) -> None:
    if old == new:
        return
    if not new:
        found.append(Removal(path, "all of it: it is no absolute address"))
        return
    plain, _, fragment = old.partition("#")
    if fragment:
        found.append(Removal(path, "the fragment"))
    start, _, query = plain.partition("?")
    if "@" in start.partition("://")[2].partition("/")[0]:
        found.append(Removal(path, "user name and password"))
    kept = {pair.partition("=")[0] for pair in new.partition("?")[2].split("&")}
    for pair in query.replace(";", "&").split("&"):
        name = pair.partition("=")[0]
        if name and name not in kept:
            shown = f"the parameter {name}" if _PLAIN_NAME.fullmatch(name) else "a parameter"
            found.append(Removal(path, f"{shown}, which is on no list"))
    _compare_text(plain, new, path, found)


def _compare_values(old: Any, new: Any, path: str, found: list[Removal]) -> None:
    if isinstance(old, str):
        _compare_text(old, new, path, found)
    elif isinstance(old, dict):
        # Keys may be cleaned and renamed; their order stays.
        for (old_key, old_value), (new_key, new_value) in zip(old.items(), new.items(), strict=True):
            shown = new_key if _PLAIN_NAME.fullmatch(new_key) else "…"
            _compare_text(old_key, new_key, f"{path}.{shown}", found)
            _compare_values(old_value, new_value, f"{path}.{shown}", found)
    elif isinstance(old, list):
        for index, (old_value, new_value) in enumerate(zip(old, new, strict=True)):
            _compare_values(old_value, new_value, f"{path}[{index}]", found)
