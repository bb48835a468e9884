"""The benchmark of links: it measures what it says, and its figures are judged. No time is asserted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.links import FIGURES, TYPICAL, URL, VERIFY_RATIO, app, find_all, measure, tag_list, verify_all, write_list
from collector.keyring import make_keyring
from collector.links.token import LinkToken, read_link


def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    """Every figure has a value in every round, and tokens are as short as was promised."""
    series = measure(tmp_path, runs=2, rows=300)
    findings = {finding.figure.name: finding for finding in find_all(series)}
    assert set(findings) == {figure.name for figure in FIGURES}
    assert all(finding.value for finding in findings.values())
    assert len(series["mint_per_s"]) == len(series["plain_hmac_us"]) == 2
    for name in ("token_chars", "sealed_chars", "recipient_chars", "pseudonym_chars"):
        assert findings[name].verdict in ("aim", "bound"), name


def test_what_is_measured_is_a_tagged_list(tmp_path: Path) -> None:
    """Each row has a link that is verified, and the ratio is of the medians."""
    keyring = make_keyring()
    write_list(tmp_path / "list.csv", 50)
    tag_list(keyring, tmp_path / "list.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    for row in rows:
        assert row["link"].startswith(f"{URL}&lt=")
        token = read_link(keyring, row["link"].partition("lt=")[2], 1_800_000_000)
        assert isinstance(token, LinkToken)
        assert (token.reference, token.campaign) == (row["customer_id"], TYPICAL.campaign)
    (ratio,) = (
        finding
        for finding in find_all({"verify_us": [20, 30, 40], "plain_hmac_us": [2, 3, 4]})
        if finding.figure is VERIFY_RATIO
    )
    assert ratio.value == pytest.approx(10)


def test_refused_tokens_are_no_measurement() -> None:
    """A run whose tokens are refused would measure nothing."""
    with pytest.raises(ValueError, match="refused"):
        verify_all(make_keyring(), ["m0000.AAAA.1.x"])


def test_report(tmp_path: Path) -> None:
    """As a table, and as JSON."""
    result = CliRunner().invoke(app, ["--runs", "1", "--rows", "200", "--json", str(tmp_path / "links.json")])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "links.json").read_text(encoding="utf-8"))
    assert {figure["figure"] for figure in report["figures"]} == {figure.name for figure in FIGURES}
    assert "mint_per_s" in result.output
