"""What a configuration says of a REST source, and what is made of it before the first request: origin, templates,
compiled mappings, secrets. A setting that cannot work is refused here, with its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from collector.adapters.address_guard import Network, Origin, parse_base, parse_networks
from collector.adapters.contract import Wrong
from collector.adapters.rest_body import BodyTemplate, parse_body
from collector.adapters.rest_template import Template, parse_template

Variable = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Pick = Callable[[Any], Any]
"""A compiled JMESPath: a document to what it picks."""

KEY_PLACE = "key"
LIMIT_PLACE = "limit"

# What makes a request a request is ours; what says who we are stands in `auth`.
_OURS = frozenset(
    (
        *("host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect", "cookie", "trailer"),
        *("accept-encoding", "authorization", "proxy-authorization", "keep-alive", "content-type", "range"),
    )
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


class BearerSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="bearer"
):
    """`auth = { kind = "bearer", token_env = "CRM_TOKEN" }`"""

    token_env: Variable


class BasicSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="basic"
):
    """`auth = { kind = "basic", user = "tagstitch", password_env = "CRM_PASSWORD" }`"""

    user: Annotated[str, Meta(pattern="^[^:\\x00-\\x1f]+$")]
    password_env: Variable


class HeaderSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="header"
):
    """`auth = { kind = "header", header = "X-Api-Key", value_env = "CRM_KEY" }`"""

    header: str
    value_env: Variable


class OAuth2Settings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="oauth2"
):
    """Client credentials: `auth = { kind = "oauth2", token_url = "https://login.example/token", client_id = "…",
    client_secret_env = "CRM_SECRET" }`"""

    token_url: str
    client_id: str
    client_secret_env: Variable
    scope: Annotated[str, Meta(pattern="^[\\x21\\x23-\\x5b\\x5d-\\x7e ]*$")] = ""


AuthSettings = BearerSettings | BasicSettings | HeaderSettings | OAuth2Settings


class SearchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the source is searched. The places of `path`, or with POST those of `body`, are the terms; `{limit}` is how
    many are wanted."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    body: dict[str, Any] = {}
    records: str = "@"
    """JMESPath in the answer: the list of records."""


class RestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `[adapters.<name>]` says where its kind is `rest`, beside what all kinds say."""

    base_url: str
    path: str
    """Beneath the base URL, with `{key}` as a segment or as the value of a parameter; with POST without it."""

    method: Literal["GET", "POST"] = "GET"
    """POST: for keys that are personal, which must not stand in an URL. A read that may be done twice all the same."""

    body: dict[str, Any] = {}
    """With POST: what is sent, as JSON, with `{key}` as a whole value."""

    record: str = "@"
    """JMESPath in the answer: the record. Null, or an empty list: there is none."""

    record_key: str = ""
    """JMESPath in a record: its key. An answer with another key than was asked for is no answer; a search needs it."""

    map: dict[str, str] = {}
    """By field: JMESPath in a record. A field that is not named here is what the record has by its name."""

    search: SearchSettings | None = None
    auth: AuthSettings | None = None
    headers: dict[str, str] = {}
    allow_networks: tuple[str, ...] = ()
    ca_file: str = ""
    """Certificates that TLS trusts instead of the system's, PEM."""

    max_bytes: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 262_144


class RestPlan(NamedTuple):
    """The settings, read. `picks`: by field. With a body a request is a POST of it."""

    origin: Origin
    networks: tuple[Network, ...]
    path: Template
    record: Pick
    record_key: Pick | None
    picks: dict[str, Pick]
    search: Template | None
    body: BodyTemplate | None
    search_body: BodyTemplate | None
    records: Pick
    headers: dict[str, str]


class Targets(NamedTuple):
    """Where a source is asked, and with what, as the settings say it."""

    origin: Origin
    networks: tuple[Network, ...]
    path: Template
    search: Template | None
    body: BodyTemplate | None
    search_body: BodyTemplate | None


def read_targets(settings: RestSettings, names: tuple[str, ...]) -> Targets:
    """Read what can be read without a library: so a file with a mistake in it ends the start. Raises Wrong."""
    try:
        networks = parse_networks(settings.allow_networks)
    except ValueError as error:
        raise Wrong("allow_networks", str(error)) from None
    origin, base_path = read_url("base_url", settings.base_url)
    path = _read_template("path", base_path, settings.path)
    body = _read_body("", settings.method, path, settings.body)
    if body is None and path.names != {KEY_PLACE}:
        raise Wrong("path", "it must have the place {key}, and no other")
    if body is not None and body.names != {KEY_PLACE}:
        raise Wrong("body", "it must have the place {key}, and no other")
    if unknown := settings.map.keys() - set(names):
        raise Wrong("map", f"no field is called {min(unknown)}")
    search = search_body = None
    if settings.search is not None:
        search = _read_template("search.path", base_path, settings.search.path)
        search_body = _read_body("search.", settings.search.method, search, settings.search.body)
        if search_body is None and not search.names - {LIMIT_PLACE}:
            raise Wrong("search.path", "it needs a place for a term at least, such as ?name={name}")
        if search_body is not None and not search_body.names - {LIMIT_PLACE}:
            raise Wrong("search.body", 'it needs a place for a term at least, such as name = "{name}"')
        if not settings.record_key:
            raise Wrong("record_key", "a search needs it: what is found is known by its key")
    for name, value in settings.headers.items():
        check_header(f"headers.{name}", name, value)
    return Targets(origin, networks, path, search, body, search_body)


def read_rest_settings(settings: RestSettings, names: tuple[str, ...]) -> RestPlan:
    """Read the settings of a source with fields of these names. Raises Wrong. Needs jmespath."""
    return RestPlan(
        **read_targets(settings, names)._asdict(),
        record=compile_path("record", settings.record),
        record_key=compile_path("record_key", settings.record_key) if settings.record_key else None,
        picks={name: compile_path(f"map.{name}", settings.map.get(name, f'"{name}"')) for name in names},
        records=compile_path("search.records", settings.search.records if settings.search else "@"),
        headers={name.lower(): value for name, value in settings.headers.items()},
    )


def read_url(setting: str, url: str) -> tuple[Origin, str]:
    """Return origin and path. Raises Wrong, without the URL: somebody may have put a password into it."""
    try:
        return parse_base(url)
    except ValueError as error:
        raise Wrong(setting, str(error)) from None


def check_installed() -> None:
    """Raise Wrong where the libraries that this kind needs are not installed."""
    if any(find_spec(name) is None for name in ("httpcore", "anyio", "jmespath")):
        raise Wrong("kind", "what it needs is not installed: pip install 'tagstitch[adapters]'")


def compile_path(setting: str, text: str) -> Pick:
    """Compile a JMESPath, and try it on nothing. Raises Wrong."""
    import jmespath
    from jmespath.exceptions import ArityError, JMESPathError, UnknownFunctionError

    try:
        compiled = jmespath.compile(text)
    except (JMESPathError, RecursionError) as error:
        raise Wrong(setting, f"no JMESPath: {type(error).__name__}") from None
    try:
        compiled.search({})
    except (UnknownFunctionError, ArityError) as error:
        raise Wrong(setting, f"no JMESPath: {error}") from None
    except (JMESPathError, ArithmeticError, LookupError, TypeError, ValueError):
        pass  # for want of a document

    def pick(document: Any) -> Any:
        return compiled.search(document)

    return pick


def read_secret(setting: str, variable: str, environ: Mapping[str, str]) -> str:
    """Return a secret. Raises Wrong, never with its value."""
    value = environ.get(variable, "")
    if not value:
        raise Wrong(setting, f"the environment variable {variable} is not set")
    if not value.isprintable():
        raise Wrong(setting, f"the environment variable {variable} holds a line break or another control character")
    return value


def check_header(setting: str, name: str, value: str) -> None:
    """Raise Wrong for a header that is none, or ours to say. Never with its value."""
    if not _HEADER_NAME.fullmatch(name):
        raise Wrong(setting, "no header can be called so")
    if name.lower() in _OURS:
        raise Wrong(setting, "this header is not to be set here; who we are is said in `auth`")
    check_value(setting, value)


def check_value(setting: str, value: str) -> None:
    """Raise Wrong for what no header can hold. Never with the value."""
    if not _HEADER_VALUE.fullmatch(value):
        raise Wrong(setting, "its value must be printable ASCII, without spaces around")


def _read_body(prefix: str, method: str, path: Template, content: dict[str, Any]) -> BodyTemplate | None:
    """Return what is sent, None with GET. Raises Wrong."""
    if method == "GET":
        if content:
            raise Wrong(f"{prefix}body", 'it goes with method = "POST"')
        return None
    if path.names:
        raise Wrong(f"{prefix}path", "with POST the places are in the body: what stands in an URL is written down")
    try:
        return parse_body(content, (KEY_PLACE, LIMIT_PLACE))
    except ValueError as error:
        raise Wrong(f"{prefix}body", str(error)) from None


def _read_template(setting: str, base_path: str, text: str) -> Template:
    try:
        return parse_template(base_path, text)
    except ValueError as error:
        raise Wrong(setting, str(error)) from None
