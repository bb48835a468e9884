"""dbt builds a model from our views with the analyst's credential, as docs/analysts.md says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running_store import RunningStore, make_event, make_row, running_store

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
DBT = Path(os.environ.get("TAGSTITCH_TEST_DBT", ROOT / ".venv-dbt" / "bin" / "dbt"))
PAGE = ROOT / "docs" / "analysts.md"


def read_block(name: str) -> str:
    """Return the block of docs/analysts.md that begins with `# name`."""
    blocks = PAGE.read_text(encoding="utf-8").split("```")
    return next(
        b.partition("\n")[2] for b in blocks[1::2] if b.partition("\n")[2].startswith((f"# {name}", f"-- {name}"))
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("dbt")) as running:
        yield running


@pytest.mark.long
@pytest.mark.timeout(300)
def test_dbt_builds_the_model_of_the_page(store: RunningStore, tmp_path: Path) -> None:
    """Project, profile and model from the page, word for word: built twice, and it holds the right numbers."""
    store.load(make_row(1, events=[make_event(n, after_s=n) for n in range(3)]))
    store.load(make_row(2, is_bot=1, events=[make_event(9)]))
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text(read_block("dbt_project.yml"))
    (tmp_path / "profiles.yml").write_text(read_block("profiles.yml"))
    (tmp_path / "models" / "daily_people.sql").write_text(read_block("models/daily_people.sql"))
    user, password = store.engine.credentials("analyst")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "TAGSTITCH_HOST": store.engine.host,
        "TAGSTITCH_PORT": str(store.engine.port),
        "TAGSTITCH_USER": user,
        "TAGSTITCH_PASSWORD": password,
    }
    for _ in range(2):
        done = subprocess.run(
            [str(DBT), "run", "--profiles-dir", str(tmp_path), "--project-dir", str(tmp_path)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    rows = store.query("SELECT site_id, people, events FROM analytics.daily_people")
    assert rows == [{"site_id": "shop", "people": 1, "events": 3}]
