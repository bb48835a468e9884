"""The built tag in the repository is what the source gives, so that nobody who runs tagstitch needs node."""

from __future__ import annotations

import filecmp
import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.tag_builds import STATIC, read_build

TAG_JS = Path(__file__).parent.parent / "tag_js"
SCRIPTS = [file.name for file in read_build().files]
FILES = [f"{name}{suffix}" for name in SCRIPTS for suffix in ("", ".br", ".gz")]
FILES += ["build.json", "index.mjs", "index.d.ts", "package.json"]  # the last three are the package


def run_build(out: Path) -> None:
    """Build into a folder. Fails, and does not skip, where node or its modules are missing."""
    node = shutil.which("node")
    if node is None or not (TAG_JS / "node_modules" / "esbuild").is_dir():
        pytest.fail("node or tag_js/node_modules is missing: install node, then run `npm install` in tag_js")
    subprocess.run([node, "scripts/build.mjs", "--out", str(out)], cwd=TAG_JS, check=True, timeout=60)


def test_committed_build_is_a_fresh_build(tmp_path: Path) -> None:
    """A build from the source gives the committed files byte for byte, and a second one the same again."""
    for name in ("one", "two"):
        run_build(tmp_path / name)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(FILES)
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", FILES, shallow=False)[0] == FILES
    for name in FILES:
        fresh, committed = (tmp_path / "one" / name).read_bytes(), (STATIC / name).read_bytes()
        if name.endswith(".gz"):  # zlib packs differently from processor to processor; what comes out is the same
            fresh, committed = gzip.decompress(fresh), gzip.decompress(committed)
        assert fresh == committed, f"{name} is not what the source gives: run `npm run build` in tag_js and commit"


def test_only_built_files_ship() -> None:
    """Nothing lies beside the built files but the releases."""
    assert {path.name for path in STATIC.iterdir()} - {"releases"} == set(FILES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_build_holds_nothing_that_a_strict_page_refuses(name: str) -> None:
    """No eval, no unload listener (it would keep pages out of the back-forward cache), no inline style, no own path."""
    text = (STATIC / name).read_text(encoding="utf-8")
    for pattern in (
        r"\beval\(",
        r"new Function",
        r"[\"']unload[\"']",
        r"beforeunload",
        r"document\.write",
        r"\.style\b",
    ):
        assert not re.search(pattern, text), pattern
    assert str(TAG_JS.parent) not in text


def test_lock_file_names_no_registry() -> None:
    """The lock file is the same wherever the packages come from."""
    lock = (TAG_JS / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock


def test_core_has_no_runtime_dependencies() -> None:
    """Whatever runs on a page unasked is written here; only the lazy module of the vitals stands on a library."""
    package = json.loads((TAG_JS / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package
    for source in (TAG_JS / "src").rglob("*.ts"):
        for module in re.findall(r'from "([^"]+)"', source.read_text(encoding="utf-8")):
            is_library = source.parent.name == "vitals" and module == "web-vitals"
            assert module.startswith(".") or is_library, f"{source.name} imports {module}"
