"""The exceptions of tagstitch: what a broken machine looks like. A bad event is no exception, see `event.Rejected`.

    TagstitchError
    ├── ConfigError          a setting is wrong; `setting`, `source`
    ├── InstanceError        the data folder is not ours, too new, or in use; `path`
    │   └── InstanceBusy     another process holds it
    ├── PortTaken            something else listens there; `host`, `port`, `setting`
    ├── StoreError           ClickHouse refused or did not answer; `code` is ClickHouse's own, 0 where it has none
    │   ├── StoreUnavailable no answer: try again with the same bytes
    │   └── SchemaError      tables or views are missing, older or newer than this program
    ├── SpoolError           the disk said no
    │   └── SpoolFull        the bound on the spool's size or the free disk is reached; `retry_after_s`
    ├── ImportFileError      a file cannot be imported; `path`
    ├── BackupError          a backup cannot be made or brought back; `path`
    ├── ListFileError        a list of recipients cannot be read or written; `path`
    ├── WorkersFailed        a process that shares a command's work has died
    ├── KeyringError         secrets are missing or unreadable
    ├── RepairError          a change to who is who cannot be made as it was asked for; `reason`
    ├── PrivacyError         what was asked about somebody's data cannot be carried out, or not yet; `reason`
    ├── IssuerUnavailable    an issuer of ID tokens does not give its keys; `issuer`
    ├── AdapterError         a data adapter has no answer; `reason`
    └── RoleFailed           a role keeps dying; `role`, `reason`

Every message is one line: what failed, and how to mend it. `cli` prints it and ends with status 1.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class TagstitchError(Exception):
    """The root. `str(error)` is one line that names the cause and the fix."""


class ConfigError(TagstitchError):
    """A setting cannot be used."""

    def __init__(self, setting: str, source: str, reason: str) -> None:
        super().__init__(f"setting {setting} ({source}): {reason}")
        self.setting = setting
        self.source = source


class InstanceError(TagstitchError):
    """The data folder cannot be used as an instance of tagstitch."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"data folder {path}: {reason}")
        self.path = path


class InstanceBusy(InstanceError):
    """Another process owns the data folder."""


class PortTaken(TagstitchError):
    """Something else listens where we should."""

    def __init__(self, host: str, port: int, setting: str) -> None:
        super().__init__(
            f"port {port} on {host} is taken by another program: stop it, or choose another port with {setting}"
        )
        self.host = host
        self.port = port
        self.setting = setting


class StoreError(TagstitchError):
    """ClickHouse refused: a definite answer, the statement did not happen."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(StoreError):
    """ClickHouse did not answer: whether the statement happened is not known."""


class SchemaError(StoreError):
    """The store's schema does not fit this program."""


class SpoolError(TagstitchError):
    """The spool's disk failed: nothing may be acknowledged."""


class SpoolFull(SpoolError):
    """A bound is reached: the client keeps its events and comes again."""

    def __init__(self, message: str, retry_after_s: int = 30) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ImportFileError(TagstitchError):
    """A file cannot be imported, as a whole. A row that cannot is no exception: it is refused, and the rest goes on."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class BackupError(TagstitchError):
    """A backup cannot be made or brought back."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class ListFileError(TagstitchError):
    """A list of recipients cannot be read, or the tagged one not written. One row that cannot be tagged is none."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{'the list' if str(path) == '-' else path}: {reason}")
        self.path = path


class WorkersFailed(TagstitchError):
    """A process that shares a command's work has died."""


class KeyringError(TagstitchError):
    """The secrets cannot be read or made."""


class RepairReason(StrEnum):
    """Why a question about identity has no answer, or a change to it is not made. Closed: the API uses these words."""

    ARGUMENT = "argument"  # it cannot be understood: no such kind, no such form
    UNKNOWN = "unknown"  # nobody, or nothing, of that name is known
    AMBIGUOUS = "ambiguous"  # the name stands for several
    NOTHING = "nothing"  # there is nothing to be changed
    TOO_MANY = "too_many"  # more would change than was allowed
    CONFLICT = "conflict"  # what is known speaks against it: one person already, undone already
    PENDING = "pending"  # it is on disk, and the map does not have it yet


class RepairError(TagstitchError):
    """A question about who is who, or a change to it, that cannot be carried out."""

    def __init__(self, reason: RepairReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PrivacyReason(StrEnum):
    """Why a request about somebody's data is not carried out. Closed: the API uses these words."""

    ARGUMENT = "argument"  # it cannot be understood
    UNKNOWN = "unknown"  # nobody of that name is known, or no such request
    CONFLICT = "conflict"  # it was carried out already, or waits for somebody else
    PENDING = "pending"  # something has to be finished first: run it again
    BUSY = "busy"  # another request is being carried out on this host
    STORE = "store"  # the store cannot do what is asked of it
    LEFT = "left"  # something is left: run it again


class PrivacyError(TagstitchError):
    """A request about somebody's data that cannot be carried out, or not yet."""

    def __init__(self, reason: PrivacyReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LinkRefusal(StrEnum):
    """Why a link cannot be made. Closed: the API and the refused rows of a list use these words."""

    EMPTY = "empty"  # no reference at all
    NOBODY = "nobody"  # a value that names nobody: null, guest, 0
    EMAIL = "email"  # it looks like an e-mail address
    LENGTH = "length"  # too long
    VALUE = "value"  # not of the form that its kind has
    LABEL = "label"  # a campaign, message or link that cannot be called so
    TARGET = "target"  # an address to which no link may lead


class LinkError(TagstitchError):
    """A link cannot be made of this."""

    def __init__(self, refusal: LinkRefusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class IssuerUnavailable(TagstitchError):
    """An issuer's keys cannot be had now: the last ones stay in force."""

    def __init__(self, issuer: str, reason: str) -> None:
        super().__init__(f"issuer {issuer}: {reason}")
        self.issuer = issuer


class AdapterReason(StrEnum):
    """Why a data adapter has no answer. Closed: the API uses these words."""

    TIMEOUT = "timeout"  # the source did not answer in time
    REFUSED = "refused"  # it does not accept who we are
    UNREACHABLE = "unreachable"  # it cannot be connected to, or the connection broke
    BAD_ANSWER = "bad_answer"  # what it said is no record
    RATE = "rate"  # it is asked too often, by its word or by the configuration
    OPEN = "open"  # it failed often, and is left alone for a while
    CONFIG = "config"  # the configuration does not let us ask it, or asks what it does not have
    NOT_SUPPORTED = "not_supported"  # it has no such field, or cannot be asked this


class AdapterError(TagstitchError):
    """A data adapter has no answer. The message holds no value of a record, no key and no secret.

    `retry_after_s`: where the reason is `rate`, for how long the source wants to be left alone; 0: it did not say."""

    def __init__(self, reason: AdapterReason, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class SyncError(TagstitchError):
    """Records of a source are not copied, or not taken back. Names the adapter, cause and fix."""


class RoleFailed(TagstitchError):
    """A role died too often to be started again."""

    def __init__(self, role: str, reason: str) -> None:
        super().__init__(f"{role} keeps dying, last reason: {reason}")
        self.role = role
        self.reason = reason
