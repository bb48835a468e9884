"""What pages call the fields of other sources: beside traits, each name once in an identity space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Field
from collector.errors import ConfigError
from collector.profiles.definitions import TraitConfig


def name_for_page(adapter: AdapterConfig, field: Field) -> str:
    """Return what pages call a field: as the configuration says, else ADAPTER_FIELD."""
    return field.page_name or f"{adapter.name}_{field.name}"


def check_page_names(adapters: Mapping[str, AdapterConfig], traits: Mapping[str, TraitConfig], path: Path) -> None:
    """Raise ConfigError where a page would be told two values by one name."""
    taken = {(trait.space, name): f"[traits.{name}]" for name, trait in traits.items()}
    for adapter in adapters.values():
        for field in adapter.fields:
            if not field.page:
                continue
            setting, name = f"adapters.{adapter.name}.fields.{field.name}", name_for_page(adapter, field)
            if other := taken.get((adapter.space, name)):
                reason = f"{other} is called {name} on pages already: give this field another name with `as`"
                raise ConfigError(f"{setting}.as", str(path), reason)
            taken[adapter.space, name] = setting
