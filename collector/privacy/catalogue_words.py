"""What the catalogue says of each category of data and each cookie, in the languages that officers and people speak.

The sentences stand in `languages/catalogue.CODE.toml`. To add a language, add a file: whoever reads it checks that
nothing is missing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from collector.errors import ConfigError
from collector.privacy.catalogue import Category, list_cookies
from collector.purposes import Purpose
from collector.sites.book import Site

FOLDER = Path(__file__).parent / "languages"


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one category: what it is, what for, on which ground, from where, for whom, for how long."""

    title: str
    what: str
    why: str
    basis: str
    source: str
    recipients: str
    retention: str


class Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sentences. `labels`: of headings, tables and lists; `cookies`: what each is for, by its role."""

    labels: dict[str, str]
    purposes: dict[Purpose, str]
    cookies: dict[str, str]
    categories: dict[Category, Said]


@cache
def list_languages() -> tuple[str, ...]:
    """Return the codes of the languages there are, English first."""
    codes = sorted(path.name.split(".")[1] for path in FOLDER.glob("catalogue.*.toml"))
    return tuple(sorted(codes, key=lambda code: code != "en"))


@cache
def read_language(code: str) -> Language:
    """Return a language. Raises ConfigError where there is none of this code, or something is missing in it."""
    if code not in list_languages():
        raise ConfigError("language", code, f"there is no such language: it is one of {', '.join(list_languages())}")
    try:
        language = msgspec.toml.decode((FOLDER / f"catalogue.{code}.toml").read_bytes(), type=Language)
    except msgspec.MsgspecError as error:
        raise ConfigError("language", f"catalogue.{code}.toml", str(error)) from error
    wanted: dict[str, Any] = {
        "categories": frozenset(Category),
        "purposes": frozenset(Purpose),
        "cookies": {cookie.role for cookie in list_cookies(Site(""))},
    }
    if code != "en":
        wanted["labels"] = read_language("en").labels.keys()
    for name, keys in wanted.items():
        if missing := sorted(set(keys) ^ set(getattr(language, name))):
            reason = f"{name}: {', '.join(missing)} is missing, or unknown"
            raise ConfigError("language", f"catalogue.{code}.toml", reason)
    return language
