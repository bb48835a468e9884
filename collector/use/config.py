"""The file that says what is done with people: `use.toml`. Its sections are read by the parts that own them.

    [adapters.<name>]    a source of customer records: collector.adapters.configuration
    [traits.<name>]      a named value about people: collector.profiles.definitions
    [audiences.<name>]   a group of people: collector.audiences.configuration
    [offers.<name>]      what somebody is shown on a page: collector.offers.configuration
    [webhooks.<name>]    whom to tell of audiences: collector.webhooks.configuration

No secret stands in it: `…_env = "NAME"` names the environment variable that holds one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from collector.adapters.configuration import AdapterConfig, read_adapters
from collector.audiences.configuration import AudienceConfig, read_audiences
from collector.config import Config
from collector.errors import ConfigError
from collector.offers.configuration import OfferConfig, read_offers
from collector.profiles.definitions import NAME, TraitConfig
from collector.use.page_names import check_page_names
from collector.webhooks.configuration import WebhookConfig, read_webhooks

FILE_NAME = "use.toml"
DEMO_FILE = Path(__file__).parent / "demo.toml"
SECTIONS = ("adapters", "traits", "audiences", "offers", "webhooks")


class UseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says, by part and name. `path`: the file; None where there is none."""

    path: Path | None = None
    adapters: dict[str, AdapterConfig] = {}
    traits: dict[str, TraitConfig] = {}
    audiences: dict[str, AudienceConfig] = {}
    offers: dict[str, OfferConfig] = {}
    webhooks: dict[str, WebhookConfig] = {}


def read_use(config: Config) -> UseConfig:
    """Read the file that the setting `use_file` names; without one, `use.toml` in the current folder if it is there,
    else, with the demo shop, the shop's own.

    Raises ConfigError that names file, section and key, the cause and the fix.
    """
    path = Path(config.use_file or FILE_NAME)
    if not config.use_file and not path.is_file():
        if not config.demo:
            return UseConfig()
        path = DEMO_FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("use_file", str(path), f"cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("use_file", str(path), f"is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError("use_file", str(path), "is not TOML: it must be UTF-8") from None
    for name, section in content.items():
        if name not in SECTIONS:
            reason = f"there is no such section; there are [{'.…], ['.join(SECTIONS)}.…]"
            raise ConfigError(name, str(path), reason)
        if not isinstance(section, dict):
            raise ConfigError(name, str(path), f"must be sections with names, such as [{name}.crm]")
    adapters = read_adapters(_section(content, "adapters"), path)
    traits = _read_traits(_section(content, "traits"), path)
    check_page_names(adapters, traits, path)
    return UseConfig(
        path=path,
        adapters=adapters,
        traits=traits,
        audiences=read_audiences(_section(content, "audiences"), path, traits),
        offers=read_offers(_section(content, "offers"), path, _section(content, "audiences")),
        webhooks=read_webhooks(_section(content, "webhooks"), path, _section(content, "audiences")),
    )


def _read_traits(section: dict[str, Any], path: Path) -> dict[str, TraitConfig]:
    found = {}
    for name, table in section.items():
        where = f"traits.{name}"
        if not NAME.fullmatch(name):
            raise ConfigError(where, str(path), "a name begins with a small letter; then small letters, digits and _")
        try:
            found[name] = msgspec.convert(table, TraitConfig)
        except msgspec.ValidationError as error:
            raise ConfigError(where, str(path), str(error)) from None
    return found


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    section: dict[str, Any] = content.get(name, {})
    return section
