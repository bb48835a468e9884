"""Presets: settings of a site that go together, by the law that it stands under. What is given besides counts more.

    eu       asked first; events 14 months, truncated addresses 30 days, refusals 14 days
    us       taken for granted until somebody says no, but for the fingerprint; events two years
    strict   asked first; events half a year, no addresses, refusals a week, signed identifies alone
    none     nobody is asked, events for ever: intranets, tests

Global Privacy Control is obeyed under each of them. A preset is written into the site's settings when it is given; a
later version of it changes no site.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "eu": {"consent": "required", "keep_days": 426, "network_days": 30, "rejected_days": 14},
    "us": {"consent": "implied", "keep_days": 730, "network_days": 30, "rejected_days": 14},
    "strict": {"consent": "required", "keep_days": 183, "network_days": 0, "rejected_days": 7, "identify": "signed"},
    "none": {"consent": "off", "keep_days": 0, "network_days": 30, "rejected_days": 90},
}
DEFAULT = "eu"
"""What a new site has, unless it is told otherwise."""
