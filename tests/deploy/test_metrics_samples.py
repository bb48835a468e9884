"""The dashboard and the alert rules ask for metrics that exist, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector.audiences.activate_status import ActivateStatusFile
from collector.condition import read_condition
from collector.endpoints.exposition import expose
from collector.load.counts import LoaderCounts
from collector.load.status import LoadStatusFile, Position
from collector.metrics import COUNTERS, SEPARATOR, Totals
from collector.privacy.govern_status import GovernStatus, write_status
from collector.role_board import RoleBoard
from collector.shared_totals import SharedTotals
from collector.spool.writer import SpoolCounts, read_spool_totals
from tests.deploy.tools import DEPLOY, REPOSITORY

NOON_MS = 1_790_000_000_000
DASHBOARD = DEPLOY / "grafana" / "tagstitch.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
OF_PROMETHEUS = {"instance", "job", "le"}


@pytest.fixture(scope="module")
def labels_by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every sample that an instance can expose, with its labels."""
    data = tmp_path_factory.mktemp("exposed")
    (data / "load").mkdir()
    LoadStatusFile(data, Position, str, LoaderCounts(), lambda: NOON_MS).write()
    RoleBoard(data).note_start("web-0", 1)
    ActivateStatusFile(data, lambda: NOON_MS).write()
    write_status(data, GovernStatus(NOON_MS, 1))
    counters = {name: {SEPARATOR.join("x" for _ in form.labels): 1} for name, form in COUNTERS.items()}
    spool = read_spool_totals(SpoolCounts())
    totals = Totals(counters, spool.histograms)
    SharedTotals(data, "web-0", lambda: totals, lambda: NOON_MS, lambda: NOON_MS).write()
    families = text_string_to_metric_families(expose(read_condition(data, NOON_MS)).decode())
    found: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def list_expressions() -> dict[str, str]:
    """Every expression of both files, by where it stands."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    found |= {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    return found


@pytest.mark.parametrize("where", list_expressions())
def test_it_asks_for_what_there_is(where: str, labels_by_name: dict[str, set[str]]) -> None:
    """Names are exposed, and the labels that an expression selects or groups by are theirs."""
    expression = list_expressions()[where]
    names = set(re.findall(r"\b(?:tagstitch_\w+|up)\b", expression))
    assert names - {"up"} <= labels_by_name.keys()
    assert names
    known = OF_PROMETHEUS.union(*(labels_by_name.get(name, set()) for name in names))
    groups = re.findall(r"\b(?:by|ignoring) \(([^)]*)\)", expression)
    grouped = {label.strip() for group in groups for label in group.split(",")}
    selected = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    assert grouped | selected <= known


def test_every_metric_is_explained(labels_by_name: dict[str, set[str]]) -> None:
    """docs/operations.md names each metric."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in labels_by_name:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{base}`" in text, base


def test_every_alert_says_what_to_do() -> None:
    """A sentence that says what is wrong, one that says what to do, and how urgent it is."""
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_scrape_sample_sends_the_key_from_a_file() -> None:
    """The operator key is not in the sample; the path is the one that is served."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert Path(job["http_headers"]["X-Tagstitch-Key"]["files"][0]).is_absolute()
