"""Presets: each can be used as it is, and none lets a site keep more, or ask less, than it says."""

from __future__ import annotations

import msgspec
import pytest

from collector.purposes import ASKED, Purpose, find_purposes
from collector.sites.book import Site
from collector.sites.presets import DEFAULT, PRESETS
from collector.sites.validate import validate_site


@pytest.mark.parametrize("name", PRESETS)
def test_each_can_be_used(name: str) -> None:
    """Its settings are settings of a site, and valid ones."""
    site = msgspec.structs.replace(Site("shop"), **PRESETS[name])
    validate_site(site)
    assert {"consent", "keep_days", "network_days", "rejected_days"} <= PRESETS[name].keys()


def test_what_counts_before_an_answer() -> None:
    """Under eu and strict nothing; under us everything but the fingerprint; none takes all for granted."""
    granted = {name: find_purposes(None, values["consent"], gpc=False) for name, values in PRESETS.items()}
    assert granted == {
        "eu": set(),
        "us": set(ASKED) - {Purpose.FINGERPRINT},
        "strict": set(),
        "none": set(ASKED),
    }
    for values in PRESETS.values():
        under_gpc = find_purposes("aifpm", values["consent"], gpc=True)
        assert not under_gpc & {Purpose.FINGERPRINT, Purpose.MARKETING}


def test_a_new_site_is_european() -> None:
    """Fourteen months of events, 30 days of addresses, 14 of refusals."""
    assert DEFAULT == "eu"
    assert PRESETS["eu"] == {"consent": "required", "keep_days": 426, "network_days": 30, "rejected_days": 14}
