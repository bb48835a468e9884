"""The sources of a web process: opened beside its start, whatever one of them does, and closed at its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from collector.adapters import opening
from collector.adapters.source import Source
from collector.config import Config
from collector.errors import AdapterReason, ConfigError
from collector.use.config import read_use
from collector.use.sources import Sources
from tests.edge_examples import KEYRING

USE = """
[adapters.crm]
kind = "files"
path = "customers.csv"
key = "id"
fields.name = "text"

[adapters.erp]
kind = "rest"
base_url = "https://erp.example"
path = "/{key}"
auth = { kind = "bearer", token_env = "ERP_TOKEN_THAT_IS_NOT_SET" }
fields.name = "text"

[adapters.other]
kind = "files"
space = "other"
path = "customers.csv"
key = "id"
fields.name = "text"
"""
SOON_S = 20.0


def make_sources(folder: Path, use: str = USE) -> Sources:
    (folder / "use.toml").write_text(use)
    (folder / "customers.csv").write_text("id,name\n7,Ada\n")
    config = Config(data=str(folder), use_file=str(folder / "use.toml"))
    return Sources(config, KEYRING, read_use(config).adapters)


def test_one_that_cannot_be_opened_costs_no_other(tmp_path: Path) -> None:
    """It is told in the log, by its setting; what was kept of sources that are no more goes."""
    (tmp_path / "adapters").mkdir()
    for name in ("crm-0123.sqlite", "gone-0123.sqlite"):
        (tmp_path / "adapters" / name).touch()

    async def story() -> tuple[Any, list[str]]:
        sources = make_sources(tmp_path)
        sources.start()
        crm = await sources.find("crm", SOON_S)
        assert isinstance(crm, Source)
        fetched = await crm.retrieve("7", ["name"], SOON_S)
        reason = await sources.find("erp", SOON_S)
        names = [adapter.name for adapter in sources.list_adapters("main")]
        await sources.stop()
        return (fetched.values["name"].value, reason), names

    with structlog.testing.capture_logs() as lines:
        told, names = asyncio.run(story())
    assert (told, names) == (("Ada", AdapterReason.CONFIG), ["crm", "erp"])
    (line,) = (line for line in lines if line["log_level"] == "error")
    assert (line["adapter"], "ERP_TOKEN_THAT_IS_NOT_SET" in line["reason"]) == ("erp", True)
    assert not list((tmp_path / "adapters").glob("gone-*"))


def test_what_hangs_as_it_is_opened_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the start, nor who asks, nor the end; the others are there."""
    may_end, open_adapter = threading.Event(), opening.open_adapter

    def open_slowly(config: Any, place: Any) -> Any:
        if config.name == "erp":
            may_end.wait(60)
        return open_adapter(config, place)

    monkeypatch.setattr(opening, "open_adapter", open_slowly)

    async def story() -> None:
        sources = make_sources(tmp_path)
        assert await sources.find("crm", 0.0) is AdapterReason.TIMEOUT
        sources.start()
        assert await sources.find("erp", 0.01) is AdapterReason.TIMEOUT
        assert isinstance(await sources.find("crm", SOON_S), Source)
        async with asyncio.timeout(SOON_S):
            await sources.stop()
        assert await sources.find("erp", SOON_S) is AdapterReason.TIMEOUT

    try:
        asyncio.run(story())
    finally:
        may_end.set()


def test_a_fault_while_opening_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words may hold anything."""

    def fail(*_: Any) -> None:
        raise RuntimeError("ada@example.org")

    monkeypatch.setattr(opening, "open_adapter", fail)

    async def story() -> None:
        sources = make_sources(tmp_path)
        sources.start()
        assert await sources.find("crm", SOON_S) is AdapterReason.CONFIG
        await sources.stop()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(story())
    assert "RuntimeError" in str(lines)
    assert "ada@" not in str(lines)


def test_nothing_is_loaded_that_no_configuration_names() -> None:
    """The libraries of adapters take a third of a second of each web process that starts."""
    program = (
        "import sys, asyncio; import collector.app; from collector.use.sources import Sources\n"
        "async def story():\n    sources = Sources(None, None, {}); sources.start(); await sources.stop()\n"
        "asyncio.run(story())\n"
        "print(*(name for name in sys.modules if name in ('sqlalchemy', 'jmespath') or name.startswith("
        "('collector.adapters.files', 'collector.adapters.source', 'collector.adapters.opening'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_mistake_in_the_file_ends_the_start(tmp_path: Path) -> None:
    """Though no library of its kind is loaded yet."""
    path = tmp_path / "use.toml"
    path.write_text(USE.replace('path = "/{key}"', 'path = "/"'))
    with pytest.raises(ConfigError, match=r"adapters\.erp\.path .*use\.toml\): it must have the place"):
        read_use(Config(use_file=str(path)))


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ('first = { page = true, as = "plan" }', "adapters.crm.fields.first.as"),
        ('first = { page = true, as = "b" }\nlast = { page = true, as = "b" }', "adapters.crm.fields.last.as"),
        ('first = { page = true, as = "crm_last" }\nlast = { page = true }', "adapters.crm.fields.last.as"),
        ('first = { as = "b" }', "adapters.crm.fields.first.as"),
        ('first = { page = true, as = "First Name" }', "adapters.crm.fields.first.as"),
    ],
)
def test_a_page_has_one_value_by_a_name(tmp_path: Path, fields: str, setting: str) -> None:
    """Else the start ends with file, setting, cause and fix; in another space the name is free."""
    head = '[adapters.crm]\nkind = "files"\npath = "a.csv"\nkey = "id"\nspace = "{space}"\n[adapters.crm.fields]\n'
    path = tmp_path / "use.toml"
    path.write_text("[traits.plan]\n" + head.format(space="main") + fields)
    with pytest.raises(ConfigError) as caught:
        read_use(Config(use_file=str(path)))
    assert setting in str(caught.value)
    assert str(path) in str(caught.value)
    path.write_text("[traits.plan]\n" + head.format(space="other") + 'first = { page = true, as = "plan" }')
    assert read_use(Config(use_file=str(path))).adapters["crm"].fields[0].page_name == "plan"
