"""The ClickHouse configuration, read by ClickHouse's own parser in the embedded engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY

SNIPPETS = sorted((DEPLOY / "clickhouse").rglob("*.xml"))

READ = """
import json, sys
import chdb
connection = chdb.connect(f"{sys.argv[1]}?config-file={sys.argv[2]}")
def ask(sql):
    return json.loads(str(connection.query(sql, "JSON")))["data"]
print(json.dumps({
    "clusters": ask("SELECT cluster, shard_num, replica_num, host_name, port FROM system.clusters ORDER BY ALL"),
    "macros": ask("SELECT macro, substitution FROM system.macros ORDER BY macro"),
}))
"""


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda path: path.name)
def test_snippets_are_clickhouse_configuration(snippet: Path) -> None:
    """Each is well-formed and has the root that the server merges."""
    assert ElementTree.parse(snippet).getroot().tag == "clickhouse"


def test_the_server_keeps_a_week_of_statements_and_no_other_diary() -> None:
    """Of the server's own logs query_log stays, for seven days; addresses are masked in it."""
    root = ElementTree.parse(DEPLOY / "clickhouse" / "config.d" / "tagstitch.xml").getroot()
    kept = {child.tag for child in root if child.tag.endswith("_log") and child.get("remove") is None}
    assert kept == {"query_log"}
    assert root.findtext("query_log/ttl") == "event_date + INTERVAL 7 DAY DELETE"
    assert root.findtext("query_masking_rules/rule/replace") == "***@***"


@pytest.mark.engine
def test_the_engine_reads_the_cluster(tmp_path: Path) -> None:
    """The engine merges the snippets as a server would, and knows two shards of two replicas and its own name."""
    for name in ("config.d/tagstitch.xml", "cluster/tagstitch_cluster.xml", "cluster/tagstitch_macros.xml"):
        target = tmp_path / "config.d" / Path(name).name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(DEPLOY / "clickhouse" / name, target)
    (tmp_path / "config.xml").write_text("<clickhouse></clickhouse>\n")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "store"), str(tmp_path / "config.xml")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PATH": os.environ["PATH"], "TAGSTITCH_CLUSTER_SECRET": "made-up"},
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    ours = [row for row in read["clusters"] if row["cluster"] == "tagstitch"]
    assert [(row["shard_num"], row["replica_num"], row["host_name"], row["port"]) for row in ours] == [
        (1, 1, "ch-1a.inner.example", 9440),
        (1, 2, "ch-1b.inner.example", 9440),
        (2, 1, "ch-2a.inner.example", 9440),
        (2, 2, "ch-2b.inner.example", 9440),
    ]
    assert {row["macro"]: row["substitution"] for row in read["macros"]} == {
        "cluster": "tagstitch",
        "shard": "01",
        "replica": "ch-1a",
    }
