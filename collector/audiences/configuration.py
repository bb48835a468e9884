"""What the file of configuration says of audiences, read: `[audiences.<name>]` becomes an AudienceConfig.

    [audiences.lamp_lovers]
    sentence = "Looked at two lamps or more in the last 30 days"
    all = [{ event = "view_item", category = "lamps", within_days = 30, at_least = 2 }]
    none = [{ orders = true, within_days = 30 }]

Somebody is in it for whom all rules of `all` hold, one at least of `any` where there are some, and none of `none`; who
has granted its purpose; and who is neither erased nor restricted. An audience by `sql` is who its statement gives, of
these the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from collector.audiences.rules import Rule, RuleError, TraitRule, read_rule
from collector.errors import ConfigError
from collector.profiles.definitions import NAME, Definitions, TraitConfig, TraitRefused, TraitType
from collector.purposes import ASKED, Purpose
from collector.sites.book import DEFAULT_SPACE

MAX_AUDIENCES = 500
MAX_RULES = 50
MAX_SQL_CHARS = 20_000
LISTS = ("all", "any", "none")


class AudienceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One audience. `purpose`: of consent that must have been granted; "" for none. `page`: whether a page may be told
    that somebody is in it. Either rules or `sql`, which is then asked every `every_s` seconds."""

    name: str
    sentence: str = ""
    purpose: str = Purpose.MARKETING.value
    space: str = DEFAULT_SPACE
    page: bool = False
    all: tuple[Rule, ...] = ()
    any: tuple[Rule, ...] = ()
    none: tuple[Rule, ...] = ()
    sql: str = ""
    every_s: float = 300.0

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules of all three lists."""
        return self.all + self.any + self.none


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section as it is written; its rules are read one by one."""

    sentence: Annotated[str, Meta(max_length=1_000)] = ""
    purpose: str = Purpose.MARKETING.value
    space: Annotated[str, Meta(min_length=1)] = DEFAULT_SPACE
    page: bool = False
    all: list[Any] = []
    any: list[Any] = []
    none: list[Any] = []
    sql: Annotated[str, Meta(max_length=MAX_SQL_CHARS)] = ""
    every_s: Annotated[float, Meta(ge=30, le=86_400)] | None = None


def read_audiences(
    sections: Mapping[str, Any], file: Path, traits: Mapping[str, TraitConfig]
) -> dict[str, AudienceConfig]:
    """Read what stands below `audiences`. `traits`: those declared, by name.

    Raises ConfigError that names file, audience and rule, cause and fix.
    """
    if len(sections) > MAX_AUDIENCES:
        raise ConfigError("audiences", str(file), f"there are more than {MAX_AUDIENCES}")
    return {name: _read_audience(name, section, file, traits) for name, section in sections.items()}


def digest(audience: AudienceConfig) -> str:
    """Return a text that is another one where an audience means other people: rules or statement, purpose, space."""
    meant = {name: getattr(audience, name) for name in ("name", "space", "purpose", *LISTS, "sql")}
    return hashlib.sha256(msgspec.json.encode(meant, order="sorted")).hexdigest()[:32]


def _read_audience(name: str, section: Any, file: Path, traits: Mapping[str, TraitConfig]) -> AudienceConfig:
    where = f"audiences.{name}"
    if not NAME.fullmatch(name):
        reason = "an audience's name begins with a small letter; then small letters, digits and _; 63 at most"
        raise ConfigError(where, str(file), reason)
    if not isinstance(section, dict):
        raise ConfigError(where, str(file), f"must be a section: write [{where}] above its settings")
    if unknown := section.keys() - set(_Said.__struct_fields__):
        known = ", ".join(_Said.__struct_fields__)
        raise ConfigError(f"{where}.{min(unknown)}", str(file), f"an audience has no such setting; it has {known}")
    try:
        said = msgspec.convert(section, _Said)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(where + path.rstrip("`"), str(file), reason) from None
    if said.purpose and said.purpose not in ASKED:
        reason = f"must be one of {', '.join(ASKED)}, or empty where no consent is needed"
        raise ConfigError(f"{where}.purpose", str(file), reason)
    sql = said.sql.strip().rstrip(";").strip()
    count = len(said.all) + len(said.any) + len(said.none)
    if sql and count:
        raise ConfigError(where, str(file), "has rules and sql: make two audiences of it")
    if not sql and not count:
        reason = "says nobody: write rules as all = […], any = […] or none = […], or a statement as sql"
        raise ConfigError(where, str(file), reason)
    if count > MAX_RULES:
        raise ConfigError(where, str(file), f"has more than {MAX_RULES} rules")
    if said.every_s is not None and not sql:
        reason = "goes with sql: rules are judged as soon as something happens"
        raise ConfigError(f"{where}.every_s", str(file), reason)
    definitions = Definitions(traits, said.space)
    rules = {kind: _read_rules(getattr(said, kind), f"{where}.{kind}", file, definitions) for kind in LISTS}
    return AudienceConfig(
        name=name,
        sentence=said.sentence,
        purpose=said.purpose,
        space=said.space,
        page=said.page,
        sql=sql,
        every_s=300.0 if said.every_s is None else said.every_s,
        **rules,
    )


def _read_rules(tables: list[Any], where: str, file: Path, definitions: Definitions) -> tuple[Rule, ...]:
    rules = []
    for number, table in enumerate(tables, 1):
        try:
            rule = read_rule(table)
            if isinstance(rule, TraitRule):
                _check_trait(rule, definitions)
        except RuleError as error:
            raise ConfigError(where, str(file), f"rule {number} {_continue(str(error))}") from None
        rules.append(rule)
    return tuple(rules)


def _check_trait(rule: TraitRule, definitions: Definitions) -> None:
    """Raise RuleError where no value of the trait could ever be what the rule asks for."""
    if not definitions.is_declared(rule.name):
        known = ", ".join(sorted(definitions.traits)) or "none yet"
        raise RuleError(
            f"is about a trait that space {definitions.space_id} does not declare ({known}): write"
            f" [traits.{rule.name}] as well"
        )
    kind = definitions.find(rule.name).type
    limits = [limit for limit in (rule.at_least, rule.at_most) if limit is not None]
    if limits and kind is TraitType.BOOLEAN:
        raise RuleError(f"asks for more or less of {rule.name}, which is true or false: write is = true")
    try:
        for value in rule.values:
            definitions.check(rule.name, value)
        for limit in limits:
            if kind is TraitType.INTEGER and isinstance(limit, float):
                continue  # between two whole numbers lies a bound as good as any
            definitions.check(rule.name, limit)
    except TraitRefused as error:
        raise RuleError(f"asks for what cannot be: {error}") from None


def _continue(reason: str) -> str:
    """Return a reason as it follows after `rule 2`."""
    is_sentence = reason.startswith(("must", "is ", "does", "says", "asks", "has "))
    return reason if is_sentence else f"cannot be used: {reason}"
