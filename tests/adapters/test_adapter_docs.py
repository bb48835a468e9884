"""docs/adapters.md: its examples are configurations that are taken, and its class is an adapter that works."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from collector.adapters.bounds import SourceBounds
from collector.adapters.configuration import SETTINGS, AdapterConfig
from collector.adapters.contract import FieldType, Record
from collector.adapters.opening import Place, open_adapter, open_scanned
from collector.config import Config
from collector.errors import AdapterReason
from collector.use.config import read_use

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
ENVIRON = {
    "SHOP_DB_PASSWORD": "x",
    "MAIL_DB_PASSWORD": "x",
    "ERP_TOKEN": "x",
    "WAREHOUSE_DSN": "https://user:password@host:8443/database",
}


def read(folder: Path, text: str) -> dict[str, AdapterConfig]:
    (folder / "use.toml").write_text(text, encoding="utf-8")
    return read_use(Config(use_file=str(folder / "use.toml"))).adapters


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the page, with its class."""
    about = tmp_path / "site" / "our_package-1.0.dist-info"
    about.mkdir(parents=True)
    (entries,) = re.findall(r'```\n\[project.entry-points."tagstitch.adapters"\]\n(.*?)```', PAGE, re.DOTALL)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: our-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tagstitch.adapters]\n" + entries.replace('"', ""))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "site" / "our_package").mkdir()
    (tmp_path / "site" / "our_package" / "__init__.py").touch()
    (tmp_path / "site" / "our_package" / "ledger.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "site")


def write_certificates(folder: Path) -> None:
    import certifi

    (folder / "db-ca.pem").write_text(Path(certifi.where()).read_text())


@pytest.mark.usefixtures("package")
def test_every_example_is_taken(tmp_path: Path) -> None:
    """Read, and opened, with the variables that it names; there is one of each kind."""
    write_certificates(tmp_path)
    kinds = set()
    for text in EXAMPLES:
        for config in read(tmp_path, text).values():
            adapter = open_adapter(config, Place(environ=ENVIRON))
            assert adapter.describe().fields
            asyncio.run(adapter.close())
            kinds.add(config.kind)
    assert kinds == set(SETTINGS)


@pytest.mark.usefixtures("package")
def test_the_class_works(tmp_path: Path) -> None:
    """As it stands on the page: asked, scanned, and refused without its option."""
    (text,) = (text for text in EXAMPLES if 'kind = "python"' in text)
    config = read(tmp_path, text)["ledger"]

    async def story() -> Any:
        adapter = open_scanned(config, Place())
        names = frozenset({"balance"})
        found = [await adapter.retrieve(key, names, 1.0) for key in ("4711", "4712")]
        batches = [batch async for batch in adapter.scan()]
        await adapter.close()
        return found, batches, adapter.describe().fields[0].min_assurance

    record = Record("4711", {"balance": 12.5})
    assert asyncio.run(story()) == ([record, None], [[record]], 4)


def test_every_setting_is_on_the_page() -> None:
    """Of each kind, of fields, of bounds; and every type and reason."""
    for name in {name for kind in SETTINGS.values() for name in kind.__struct_fields__}:
        assert re.search(rf"\b{name}\b", PAGE), name
    for name in (*SourceBounds.__struct_fields__, *get_args(FieldType), *AdapterReason):
        assert f"`{name}`" in PAGE, name
