"""docs/offers.md: its example is taken as it stands, every setting is on it; so is what the demo shop uses."""

from __future__ import annotations

import re
from pathlib import Path

from collector.config import Config
from collector.offers.configuration import Cap, OfferConfig
from collector.use.config import DEMO_FILE, read_use

PAGE = (Path(__file__).parents[2] / "docs" / "offers.md").read_text(encoding="utf-8")


def test_the_example_is_taken(tmp_path: Path) -> None:
    """As it stands on the page."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "use.toml"
    path.write_text(example, encoding="utf-8")
    offer = read_use(Config(use_file=str(path))).offers["reading_lamp"]
    assert (offer.audience, offer.hold_out, offer.cap) == ("lamp_lovers", 0.1, Cap(shown=3, within_days=7))


def test_every_setting_is_explained() -> None:
    """In the table of settings; `zone` with the times that it is for."""
    names = {name.removesuffix("_ms") for name in OfferConfig.__struct_fields__} - {"name"} | {"zone"}
    for name in names:
        assert f"`{name}`" in PAGE, name


def test_the_demo_has_its_own(tmp_path: Path) -> None:
    """With the demo shop, unless there is a file of one's own."""
    assert read_use(Config()).offers == {}
    demo = read_use(Config(demo=True))
    assert (demo.path, sorted(demo.offers)) == (DEMO_FILE, ["reading_lamp", "welcome"])
    own = tmp_path / "use.toml"
    own.write_text("")
    assert read_use(Config(demo=True, use_file=str(own))).offers == {}
