"""The beacon that docs/wire-format.md writes by hand really arrives."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from instance_process import running_instance

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "wire-format.md"


def test_the_curl_example_of_the_wire_format_arrives(tmp_path: Path) -> None:
    """Copied from the page, run by a shell, found in v_events."""
    found = re.search(r"<!-- tested: curl -->\s*```\w*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    with running_instance(tmp_path, "--demo") as instance:
        before = instance.sql("SELECT count() AS n FROM v_events")[0]["n"]
        done = subprocess.run(
            ["bash", "-euc", found[1]],
            env={**os.environ, "TAGSTITCH_URL": instance.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "204" in done.stdout + done.stderr
        instance.until("SELECT count() AS n FROM v_events", lambda rows: rows[0]["n"] > before)
