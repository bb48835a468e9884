"""The rights of reader and analyst on a ClickHouse server, the same that the embedded engine gives.

A reader selects from the v_* views, and from nothing else of ours: the views run with the rights of who made them.
An analyst may besides make and fill tables in database `analytics`, for dbt and notebooks. Both run under a profile
with caps that they cannot raise. The statements may be repeated; they need a user with access management.
"""

from __future__ import annotations

import re

from collector.config import Config
from collector.keyring import Keyring
from collector.store.dictionaries import DICTIONARIES
from collector.store.dsn import ANALYTICS_DATABASE
from collector.store.rendering import Target, quote_text, read_migrations, render

ROLES = ("reader", "analyst")


def list_reader_views(target: Target) -> list[str]:
    """Return the names of the views for readers, as the migrations make them."""
    names: set[str] = set()
    for migration in read_migrations():
        for statement in render(migration.source, target):
            names.update(re.findall(r"^CREATE OR REPLACE VIEW \w+\.(v_\w+)", statement))
    return sorted(names)


def render_grants(target: Target, keyring: Keyring, config: Config) -> list[str]:
    """Return the statements that make profile, roles and users with their rights. They hold the passwords."""
    on = f" ON CLUSTER `{target.cluster}`" if target.form == "cluster" else ""
    profile, database = f"{target.database}_readers", target.database
    seconds, memory = config.query_timeout_s, config.query_memory_bytes
    statements = [
        f"CREATE SETTINGS PROFILE IF NOT EXISTS `{profile}`{on}",
        f"ALTER SETTINGS PROFILE `{profile}`{on} SETTINGS"
        f" max_execution_time = {seconds} MIN 1 MAX {seconds},"
        f" max_memory_usage = {memory} MIN 1048576 MAX {memory},"
        " max_threads = 4 MIN 1 MAX 8,"
        " allow_ddl = 1 CONST, allow_introspection_functions = 0 CONST",
    ]
    for role in ROLES:
        name = f"{database}_{role}"
        statements.append(f"CREATE ROLE IF NOT EXISTS `{name}`{on}")
        # What an earlier version gave and this one does not is taken back.
        statements.append(f"REVOKE{on} ALL ON *.* FROM `{name}`")
        statements += [f"GRANT{on} SELECT ON {database}.{view} TO `{name}`" for view in list_reader_views(target)]
        statements += [f"GRANT{on} dictGet ON {database}.{one} TO `{name}`" for one in sorted(DICTIONARIES)]
    analyst = f"{database}_analyst"
    statements.append(
        f"GRANT{on} SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE,"
        f" SHOW ON {ANALYTICS_DATABASE}.* TO `{analyst}`"
    )
    statements.append(f"GRANT{on} CREATE TEMPORARY TABLE ON *.* TO `{analyst}`")
    for role, credential in (("reader", keyring.reader), ("analyst", keyring.analyst)):
        name, user = f"{database}_{role}", credential.user
        home = ANALYTICS_DATABASE if role == "analyst" else database
        settings = f"SETTINGS PROFILE `{profile}`" + (", readonly = 2 CONST" if role == "reader" else "")
        password = f"IDENTIFIED WITH sha256_password BY {quote_text(credential.password)}"
        statements += [
            f"CREATE USER IF NOT EXISTS `{user}`{on} {password}",
            f"ALTER USER `{user}`{on} {password} DEFAULT DATABASE {home} {settings}",
            f"GRANT{on} `{name}` TO `{user}`",
            f"SET DEFAULT ROLE `{name}` TO `{user}`",
        ]
    return statements
