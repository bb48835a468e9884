"""The notebook of docs/analysts.md runs with the reader's address, as it was printed."""

from __future__ import annotations

import contextlib
import io
import os
from datetime import date
from pathlib import Path

import pytest

from collector.reports.questions import run_question
from collector.store.client import open_client
from collector.store.dsn import find_address
from tests.running_store import make_event, make_id, make_row, running_store

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "analysts.md"


def test_the_notebook_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DSN, parameters and columns: word for word from the page, against a real engine."""
    blocks = PAGE.read_text(encoding="utf-8").split("```")
    code = next(b.partition("\n")[2] for b in blocks[1::2] if b.startswith("python\n# notebook"))
    with running_store(tmp_path) as store:
        store.load(make_row(1, events=[make_event(1, url="https://shop.example/lamp")]))
        tie = {
            "space_id": "main",
            "person_id": make_id(4711, 0xC),
            "customer_id": "4711",
            "customer_key": make_id(4711, 0xC),
            "valid_from": "1970-01-01T00:00:00",
            "level": 3,
            "version": 1,
        }
        known = {**tie, "key": make_id(4711, 0xC), "key_kind": "customer", "key_customer_id": "4711"}
        store.put("identity_map", {**tie, "key": make_id(1, 0xB), "key_kind": "visitor"}, known)
        monkeypatch.setitem(os.environ, "TAGSTITCH_READER", find_address(store.config, store.keyring, "reader").dsn)
        printed = io.StringIO()
        names: dict[str, object] = {}
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(PAGE), "exec"), names)
        names["client"].close()  # type: ignore[attr-defined]
        with open_client(store.config, store.keyring, "reader") as client:
            days = run_question(
                client, "daily_visitors", {"site": "shop", "last": "2090-12-31"}, today=date(2090, 6, 2)
            )
    assert "page_view direct /lamp" in printed.getvalue()
    assert [day["customers"] for day in days] == [1]
