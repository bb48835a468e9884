"""Imports go down only: the layers of docs/architecture.md, read from the code itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom to the top. A module belongs to the longest prefix that fits; it may import its own layer and those
# below. Modules of one layer that import each other in a circle would not start at all.
LAYERS = (
    (
        "collector.config",
        "collector.errors",
        "collector.disk",
        "collector.sealing",
        "collector.logs",
        "collector.metrics",
        "collector.engine",
    ),
    (
        "collector.keyring",
        "collector.key_changes",
        "collector.first_sight",
        "collector.instance",
        "collector.listener",
        "collector.role_board",
        "collector.shared_totals",
        "collector.purposes",
    ),
    ("collector.links.revocations", "collector.links.rules", "collector.privacy.tombstones"),
    ("collector.reasons", "collector.sites.book", "collector.event"),
    (
        "fingerprint",
        "collector.adapters",
        "collector.handover",
        "collector.id_tokens",
        "collector.identity",
        "collector.links",
        "collector.signing",
        "collector.sites",
        "collector.snippet",
        "collector.tag_builds",
        "collector.spool",
        "collector.store",
    ),
    (
        *("collector.accept", "collector.identity.stitching", "collector.sites.poll"),
        *("collector.load", "collector.country", "collector.data_centres"),
    ),
    (
        "collector.accept.pipeline",
        "collector.accept.kept_bodies",
        "collector.accept.dry_run",
        "collector.accept.server_events",
        "collector.load.loader",
        "collector.audiences",
        "collector.offers",
        "collector.profiles",
        "collector.reports",
        "collector.use",
        "collector.webhooks",
    ),
    ("collector.copying", "collector.exporting", "collector.importing", "collector.syncing"),
    ("collector.condition", "collector.replaying", "collector.privacy", "collector.backup"),
    ("collector.console", "collector.endpoints"),
    ("collector.app", "collector.http", "collector.supervisor"),
    ("collector.web", "collector.role_process"),
    ("collector.whole", "collector.workers", "collector.doctor", "collector.commands"),
    ("collector.cli",),
    ("collector.document", "collector.__main__"),
)
NOT_OURS_ALONE = {"collector"}
MOST_LINES = 400
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "core", "manager", "service", "common", "misc"}


def _modules() -> dict[str, Path]:
    found = {}
    for package in ("collector", "fingerprint"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _layer(name: str) -> int:
    fits = [
        (len(prefix), level)
        for level, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if name == prefix or name.startswith((prefix + ".", prefix + "_"))
    ]
    assert fits, f"{name} is in no layer: give it one in this test"
    return max(fits)[1]


def _imports(path: Path) -> set[str]:
    """What a module needs to run; what only its types need does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names if name in MODULES and name not in NOT_OURS_ALONE}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in NOT_OURS_ALONE])
def test_imports_go_down(name: str) -> None:
    """A module imports its own layer and those below it, nothing above."""
    for imported in _imports(MODULES[name]):
        assert _layer(imported) <= _layer(name), f"{name} must not import {imported}"


def test_fingerprint_imports_nothing_of_ours() -> None:
    """The fingerprint package can be taken out and used alone."""
    for name, path in MODULES.items():
        if name.startswith("fingerprint"):
            assert all(imported.startswith("fingerprint") for imported in _imports(path))


def test_the_engine_process_needs_little() -> None:
    """The process that holds the data and runs analysts' SQL imports nothing but its own modules."""
    for name, path in MODULES.items():
        if name.startswith("collector.engine"):
            for imported in _imports(path):
                assert imported.startswith("collector.engine"), f"{name} must not import {imported}"


@pytest.mark.parametrize("name", list(MODULES))
def test_a_module_holds_one_idea(name: str) -> None:
    """Modules have a head that says what they own, a name that says something, and an end."""
    path = MODULES[name]
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= MOST_LINES, f"{name} is long: split it by idea"
    assert not EMPTY_NAMES & set(name.split("."))
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), f"{name} has no head"
