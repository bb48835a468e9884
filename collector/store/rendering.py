"""Reads `migrations/*.sql` and renders them for an embedded engine, a single server or a cluster.

One source, a few words that begin with @:

    @name(t)                        database.t, everywhere the same
    @local(t)                       the table that holds a shard's rows: t, on a cluster t_local
    @on_cluster                     ON CLUSTER c, on a cluster only
    @engine(t, E, args)             E(args); on a cluster Replicated, one set of replicas per shard
    @engine_everywhere(t, E, args)  E(args); on a cluster Replicated, the same rows on every node
    @facade(t, key)                 a statement of its own: on a cluster the Distributed table t over t_local
    @deduplication                  table settings: the window in which a repeated token is recognised
    @no_deduplication               table settings: equal blocks are all taken
    @security                       on a server: readers need rights on the view alone
    @dictionary_login               where, and on a server as whom, a dictionary reads its table
    @database, @analytics           the names of the two databases

A statement ends with a semicolon at the end of a line; lines that begin with -- are comments. The checksum is over
the source, not over what is rendered, so that no secret and no name of a cluster is in it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal

from collector.config import Config
from collector.errors import SchemaError
from collector.store.dsn import ANALYTICS_DATABASE, read_dsn

Form = Literal["embedded", "single", "cluster"]
WINDOW = 10_000
WINDOW_S = 7 * 86_400
CLEANUP = "cleanup_delay_period = 1, max_cleanup_delay_period = 2, cleanup_delay_period_random_add = 0"
"""Of every table: files that were replaced leave the disk within seconds, not minutes, because of what may be erased.
Costs 0.3 % of a core. Not on a cluster: there each look asks the keeper, and old files stay for minutes anyway."""
WORD = re.compile(r"@([a-z_]+)(?:\(((?:[^()]|\([^()]*\))*)\))?")
FORBIDDEN_ENGINES = ("Kafka", "RabbitMQ", "NATS", "FileLog", "S3Queue", "AzureQueue", "Replicated")


@dataclass(frozen=True, slots=True)
class Target:
    """What the migrations are rendered for."""

    form: Form
    database: str = "tagstitch"
    cluster: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without number, its source and the source's SHA-256."""

    version: int
    name: str
    source: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the source, hexadecimal."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The file's name without ending."""
        return f"{self.version:04}_{self.name}"


def find_target(config: Config) -> Target:
    """Return what this configuration's store wants."""
    if config.is_embedded:
        return Target(form="embedded", database=config.database)
    address = read_dsn(config.dsn, config.database)
    form: Form = "cluster" if config.cluster else "single"
    return Target(form, address.database, config.cluster, address.user, address.password)


@cache
def read_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this program in their order; numbers run from 1 without a gap."""
    files = sorted(
        (f for f in resources.files("collector.store").joinpath("migrations").iterdir() if f.name.endswith(".sql")),
        key=lambda f: f.name,
    )
    found = []
    for number, file in enumerate(files, start=1):
        version, _, name = file.name.removesuffix(".sql").partition("_")
        if int(version) != number:
            raise SchemaError(f"migration {file.name}: expected number {number:04}, numbers must run without a gap")
        found.append(Migration(number, name, file.read_text(encoding="utf-8")))
    return tuple(found)


def render(source: str, target: Target) -> list[str]:
    """Return the statements of a source for a target, without semicolons.

    Raises SchemaError for an unknown word, and for an engine that would make an embedded store unusable.
    """
    statements = []
    for template in split_statements(source):
        statement = WORD.sub(lambda match: _replace(match[1], match[2], target), template).strip()
        if not statement:
            continue
        if target.form == "embedded":
            _refuse_engine(statement)
        statements.append(statement)
    return statements


def split_statements(source: str) -> list[str]:
    """Split a source into its statements, without comments and semicolons."""
    text = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", text) if part.strip()]


def list_views(target: Target) -> frozenset[str]:
    """Return the names of the materialised views that fill tables: all of them must stand before a batch is loaded."""
    names: set[str] = set()
    for migration in read_migrations():
        for statement in render(migration.source, target):
            if made := re.match(r"CREATE MATERIALIZED VIEW IF NOT EXISTS \w+\.(\w+)", statement):
                names.add(made[1])
            elif gone := re.match(r"DROP (?:VIEW|TABLE) IF EXISTS \w+\.(\w+)", statement):
                names.discard(gone[1])
    return frozenset(names)


def quote_text(text: str) -> str:
    """Return a string literal, for the few statements (DDL) in which ClickHouse binds no parameters."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _replace(word: str, arguments: str | None, target: Target) -> str:
    """Return what a word stands for."""
    parts = [part.strip() for part in (arguments or "").split(",")]
    clustered = target.form == "cluster"
    on_cluster = f"ON CLUSTER `{target.cluster}`" if clustered else ""
    match word:
        case "name":
            return f"{target.database}.{parts[0]}"
        case "local":
            return f"{target.database}.{parts[0]}{'_local' if clustered else ''}"
        case "on_cluster":
            return on_cluster
        case "engine" | "engine_everywhere":
            return _render_engine(parts[0], parts[1], parts[2:], target, everywhere=word == "engine_everywhere")
        case "facade":
            if not clustered:
                return ""
            return (
                f"CREATE TABLE IF NOT EXISTS {target.database}.{parts[0]} {on_cluster}"
                f" AS {target.database}.{parts[0]}_local"
                f" ENGINE = Distributed(`{target.cluster}`, {target.database}, {parts[0]}_local, {parts[1]})"
            )
        case "deduplication":
            if clustered:
                return (
                    f"replicated_deduplication_window = {WINDOW}, replicated_deduplication_window_seconds = {WINDOW_S}"
                )
            return f"non_replicated_deduplication_window = {WINDOW}, {CLEANUP}"
        case "no_deduplication":
            if clustered:
                return "replicated_deduplication_window = 0"
            return f"non_replicated_deduplication_window = 0, {CLEANUP}"
        case "security":
            return "" if target.form == "embedded" else "DEFINER = CURRENT_USER SQL SECURITY DEFINER"
        case "dictionary_login":
            # An address, not a name: the embedded engine sees no /etc/hosts. Local, so no connection is made.
            if target.form == "embedded":
                return "HOST '127.0.0.1'"
            return f"HOST '127.0.0.1' USER {quote_text(target.user)} PASSWORD {quote_text(target.password)}"
        case "database":
            return target.database
        case "analytics":
            return ANALYTICS_DATABASE
    raise SchemaError(f"migration uses @{word}, which collector/store/rendering.py does not know")


def _render_engine(table: str, engine: str, arguments: list[str], target: Target, *, everywhere: bool) -> str:
    if target.form != "cluster":
        return f"{engine}({', '.join(arguments)})"
    shard, replica = ("all", "{shard}-{replica}") if everywhere else ("{shard}", "{replica}")
    path = f"'/clickhouse/tables/{shard}/{target.database}/{table}'"
    return f"Replicated{engine}({', '.join([path, repr(replica), *arguments])})"


def _refuse_engine(statement: str) -> None:
    """Keep engines out that an embedded store cannot run: one such table, and it would not open again."""
    for engine in FORBIDDEN_ENGINES:
        if re.search(rf"\bENGINE\s*=?\s*{engine}", statement, re.IGNORECASE):
            raise SchemaError(f"a migration wants engine {engine}, which the embedded store cannot run")
