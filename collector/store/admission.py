"""placeholder"""
from __future__ import annotations
from collections.abc import Mapping
from dataclasses import dataclass
from collector.store.engine_config import Policy
from collector.store.engine_credentials import Role
from collector.store.engine_handles import Chdb
from collector.store.engine_errors import ACCESS_DENIED, QueryFailed
@dataclass
class Verdict:
    sql: str
    writes: bool = False
    settings: dict[str, str] | None = None
    database: str | None = None
def admit_settings(wanted: Mapping[str, str], role_settings: Mapping[str, str]) -> dict[str, str]:
    return {**role_settings, **wanted}
def admit(engine: Chdb, sql: str, role: Role, policy: Policy, database: str, parameters: Mapping[str, str], is_insert: bool) -> Verdict:
    if is_insert and role is not Role.ANALYST:
        raise QueryFailed(ACCESS_DENIED, "A reader may not insert.")
    return Verdict(sql, role is Role.ANALYST)
