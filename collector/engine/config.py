"""What the engine process is told on its standard input: one line of JSON, decoded into `EngineConfig`.

It holds no clear secret: the passwords come as salted digests.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from collector.engine.credentials import Credential, Role


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One credential as the supervisor writes it."""

    user: str
    digest: str


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What readers and analysts see. A name is `database.table`; a `*` at its end stands for any ending."""

    views: tuple[str, ...] = ("tagstitch.v_*",)
    dictionaries: tuple[str, ...] = ()
    analyst_database: str = "analytics"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what the engine does at once. A client may ask for less, never for more. 0: no bound."""

    writer_threads: int = 4
    writer_queue: int = 64
    reader_threads: int = 3
    reader_queue: int = 32
    reader_cores: int = 1
    reader_time_s: int = 60
    reader_memory_bytes: int = 1_500_000_000
    reader_result_rows: int = 0
    reader_result_bytes: int = 0
    analyst_time_s: int = 600
    analyst_memory_bytes: int = 3_000_000_000
    max_body_bytes: int = 256 * 1024 * 1024
    max_statement_bytes: int = 1024 * 1024
    session_timeout_s: int = 600
    sessions: int = 256
    drain_s: float = 5.0


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration of one engine process."""

    path: str
    tmp: str
    credentials: dict[Role, Access]
    host: str = "127.0.0.1"
    port: int = 8123
    policy: Policy = msgspec.field(default_factory=Policy)
    settings: Limits = msgspec.field(default_factory=Limits)
    log_level: str = "info"

    def by_user(self) -> dict[str, Credential]:
        """Return the credentials by their user name."""
        return {a.user: Credential(a.user, a.digest, role) for role, a in self.credentials.items()}

    @property
    def data_folder(self) -> Path:
        """The folder that chdb owns."""
        return Path(self.path)

    @property
    def temporary_folder(self) -> Path:
        """The folder for bodies that do not fit into memory."""
        return Path(self.tmp)


def read_config(line: bytes) -> EngineConfig:
    """Decode one line. Raise `msgspec.ValidationError` that names the wrong field."""
    return msgspec.json.decode(line, type=EngineConfig)
