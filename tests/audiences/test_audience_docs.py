"""docs/audiences.md: its examples are taken as they stand; every setting, rule and reason is on it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from collector.audiences.changes import Reason
from collector.audiences.configuration import AudienceConfig
from collector.audiences.rules import CLASSES, WORDS, read_rule
from collector.config import Config
from collector.use.config import read_use

PAGE = (Path(__file__).parents[2] / "docs" / "audiences.md").read_text(encoding="utf-8")
RULES = re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE)


def test_the_example_is_taken(tmp_path: Path) -> None:
    """As it stands on the page."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "use.toml"
    path.write_text(example, encoding="utf-8")
    audiences = read_use(Config(use_file=str(path))).audiences
    assert list(audiences) == ["lamp_lovers", "gold", "big_spenders"]
    assert audiences["big_spenders"].every_s == 600


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_the_table_is_one(rule: str) -> None:
    """Taken as it stands."""
    assert read_rule(tomllib.loads(f"rule = {rule}")["rule"])


def test_everything_is_explained() -> None:
    """Settings, words, classes and reasons."""
    words = {word for words in WORDS.values() for word in words}
    for word in {*AudienceConfig.__struct_fields__, *words, *Reason} - {"name"}:
        assert re.search(rf"[`{{ ]{word}\b", PAGE), word
    for name in CLASSES:
        assert name in PAGE
