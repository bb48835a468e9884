"""How a file is followed: changes, files that are written to or gone, and the index that is made of it."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from collector.adapters import file_index, files
from collector.adapters.contract import Record
from collector.adapters.files import FilesAdapter, remove_orphans
from collector.errors import AdapterError, AdapterReason
from tests.adapters.files_source import (
    ADA,
    ALL,
    BOB,
    EXPECTED,
    FORMATS,
    LONG_S,
    Clock,
    ask,
    make_adapter,
    refuse,
    settle,
    use,
    write,
)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_changed_file_is_noticed(tmp_path: Path, ending: str) -> None:
    """Within a second; one that was cut off leaves the last state in force, until it is whole."""
    path, clock = tmp_path / f"customers.{ending}", Clock()
    write(path, ADA)

    async def story(adapter: FilesAdapter) -> None:
        assert (await adapter.retrieve("4711", ALL, LONG_S)) == Record("4711", EXPECTED)
        write(path, {**ADA, "points": 8}, BOB)
        whole = path.read_bytes()
        path.write_bytes(whole[:-3])
        await settle(adapter, clock)
        assert (await adapter.retrieve("4711", ALL, LONG_S)) == Record("4711", EXPECTED)
        assert await adapter.retrieve("4712", ALL, LONG_S) is None
        assert "older state" in (await adapter.look())[-1]
        with pytest.raises(AdapterError):
            [batch async for batch in adapter.scan()]
        path.write_bytes(whole)
        await settle(adapter, clock)
        assert (await adapter.retrieve("4711", ALL, LONG_S)) == Record("4711", {**EXPECTED, "points": 8})
        assert await adapter.retrieve("4712", ALL, LONG_S) is not None
        assert await adapter.look() == ["2 rows"]

    use(make_adapter(path, clock=clock), story)


def test_a_file_that_is_written_to_is_waited_for(tmp_path: Path) -> None:
    """Who asks meanwhile waits, or gets what was there before."""
    path = tmp_path / "customers.csv"
    write(path, ADA)

    async def story(adapter: FilesAdapter) -> None:
        asking = asyncio.ensure_future(adapter.retrieve("4712", ALL, LONG_S))
        await asyncio.wait({asking}, timeout=0.2)
        assert not asking.done()
        write(path, ADA, BOB)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert await asking is not None

    use(make_adapter(path, settle_s=3_600), story)


def test_closing_gives_up_what_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    write(path, ADA)

    async def story(adapter: FilesAdapter) -> None:
        asking = asyncio.ensure_future(adapter.retrieve("4712", ALL, LONG_S))
        await asyncio.wait({asking}, timeout=0.1)
        await adapter.close()
        with pytest.raises(AdapterError) as caught:
            await asking
        assert caught.value.reason is AdapterReason.UNREACHABLE

    use(make_adapter(path, settle_s=3_600), story)


def test_a_file_that_has_gone_is_served_for_a_while(tmp_path: Path) -> None:
    """It may be on its way; after that its index goes as well."""
    path, clock = tmp_path / "customers.csv", Clock()
    data = tmp_path / "data"
    data.mkdir()
    write(path, ADA)

    async def story(adapter: FilesAdapter) -> None:
        await adapter.retrieve("4711", ALL, LONG_S)
        path.unlink()
        await settle(adapter, clock)
        assert await adapter.retrieve("4711", ALL, LONG_S) is not None
        clock.now_s += files.GONE_S
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("4711", ALL, LONG_S)
        assert caught.value.reason is AdapterReason.UNREACHABLE
        assert not list(data.glob("adapters/*.sqlite"))
        write(path, ADA)
        assert await adapter.retrieve("4711", ALL, LONG_S) is not None

    use(make_adapter(path, data, clock), story)


def test_the_index_is_shared_and_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once for a state of the file; nobody else may read it; the last one goes, and those of no adapter."""
    path, data = tmp_path / "customers.csv", tmp_path / "data"
    data.mkdir()
    write(path, ADA)
    assert ask(make_adapter(path, data)) is not None
    (index,) = data.glob("adapters/*.sqlite")
    assert stat.S_IMODE(index.stat().st_mode) == 0o600 and stat.S_IMODE(index.parent.stat().st_mode) == 0o700
    with monkeypatch.context() as patch:
        patch.setattr(files, "build_index", lambda _: pytest.fail("made again"))
        assert ask(make_adapter(path, data)) is not None
    write(path, ADA, BOB)
    assert ask(make_adapter(path, data), "4712") is not None
    (successor,) = data.glob("adapters/*.sqlite")
    assert successor != index
    remove_orphans(data, {"crm"})
    assert successor.exists()
    remove_orphans(data, {"erp"})
    assert not successor.exists()


def test_without_an_instance_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    write(path, ADA)
    adapter = make_adapter(path, tmp_path / "no-instance")

    async def story(adapter: FilesAdapter) -> Path:
        await adapter.retrieve("4711", ALL, LONG_S)
        assert adapter._index is not None
        return adapter._index.path

    assert not use(adapter, story).parent.exists()
    assert not (tmp_path / "no-instance").exists()


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    path, data = tmp_path / "customers.csv", tmp_path / "data"
    data.mkdir()
    write(path, ADA)
    assert ask(make_adapter(path, data)) is not None
    (index,) = data.glob("adapters/*.sqlite")
    for damaged in (b"", b"no database at all" * 100):
        index.write_bytes(damaged)
        assert ask(make_adapter(path, data)) is not None


def test_a_file_is_indexed_before_anybody_asks(tmp_path: Path) -> None:
    """And one that cannot be is told to who asks."""
    path, data = tmp_path / "customers.csv", tmp_path / "data"
    data.mkdir()

    async def story(adapter: FilesAdapter) -> None:
        adapter.begin()
        assert adapter._beginning is not None
        await adapter._beginning

    write(path, ADA)
    use(make_adapter(path, data), story)
    assert len(list(data.glob("adapters/*.sqlite"))) == 1
    path.unlink()
    use(make_adapter(path, data), story)
    assert refuse(make_adapter(path, data)).reason is AdapterReason.UNREACHABLE


def test_a_large_file_is_indexed_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, whose errors are told as if it were this one."""
    monkeypatch.setattr(files, "HERE_BYTES", 0)
    monkeypatch.setattr(files, "build_index", lambda _: pytest.fail("made here"))
    path = tmp_path / "customers.csv"
    write(path, ADA)
    assert ask(make_adapter(path)) == Record("4711", EXPECTED)
    error = refuse(make_adapter(path, map={"name": "nick"}))
    assert error.reason is AdapterReason.CONFIG and "no column nick" in str(error)
    monkeypatch.setattr(file_index, "_START", "import os; os._exit(9)")
    error = refuse(make_adapter(path))
    assert error.reason is AdapterReason.UNREACHABLE and "status 9" in str(error)
