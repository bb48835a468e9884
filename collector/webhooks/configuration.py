"""What the file of configuration says of webhooks, read: `[webhooks.<name>]` becomes a WebhookConfig.

    [webhooks.mailing]
    url = "https://mail.example/hooks/tagstitch"
    audiences = ["lamp_lovers"]
    secret_env = "MAILING_WEBHOOK_SECRET"

Whatever cannot be meant is a ConfigError that names file, webhook and setting, cause and fix. It quotes no address:
some carry a secret in their path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collector.adapters.address_guard import Network, Origin, Standing, judge_address, parse_base, parse_networks
from collector.errors import ConfigError
from collector.sites.book import DEFAULT_SPACE

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
Variable = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Change = Literal["enter", "leave"]
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
"""Networks that `allow_private` lets through. Link-local addresses and metadata services never are."""


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook. `target`: path and query of the address. `audiences`: empty for all of the space.

    `timeout_s`: of one try, from connecting to the end of the answer. `customer_ids`: whether the customer id is told
    beside the person's. `ca_file`: certificates that TLS trusts instead of the system's; None: the system's.
    """

    name: str
    origin: Origin
    target: str
    audiences: tuple[str, ...]
    changes: tuple[Change, ...]
    secret_env: str
    previous_secret_env: str
    timeout_s: float
    space: str
    customer_ids: bool
    allow_private: bool
    ca_file: Path | None
    sentence: str

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The variables of the environment that hold the secrets, the newer one first."""
        return tuple(name for name in (self.secret_env, self.previous_secret_env) if name)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Which networks may be reached beside the public ones."""
        return parse_networks(PRIVATE) if self.allow_private else ()

    @property
    def address_digest(self) -> str:
        """Tells whether it is still the same address."""
        said = f"{self.origin.scheme}://{self.origin.authority}{self.target}"
        return blake2b(said.encode(), digest_size=12).hexdigest()

    def wants(self, space_id: str, audience: str, change: str) -> bool:
        """Whether it is told of such a change."""
        return space_id == self.space and change in self.changes and (not self.audiences or audience in self.audiences)


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section as it is written."""

    url: str
    secret_env: Variable
    previous_secret_env: Variable | Literal[""] = ""
    audiences: tuple[str, ...] = ()
    changes: Annotated[tuple[Change, ...], Meta(min_length=1)] = ("enter", "leave")
    timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 10
    space: Annotated[str, Meta(min_length=1)] = DEFAULT_SPACE
    customer_ids: bool = True
    allow_private: bool = False
    ca_file: str = ""
    sentence: str = ""


def read_webhooks(sections: Mapping[str, Any], file: Path, audiences: Mapping[str, Any]) -> dict[str, WebhookConfig]:
    """Read what stands below `webhooks`. `audiences`: what stands below `audiences`, by name. Raises ConfigError."""
    return {name: _read_webhook(name, section, file, audiences) for name, section in sections.items()}


def _read_webhook(name: str, section: Any, file: Path, audiences: Mapping[str, Any]) -> WebhookConfig:
    where = f"webhooks.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(where, str(file), "a name begins with a small letter; then small letters, digits and _")
    if not isinstance(section, dict):
        raise ConfigError(where, str(file), f"must be a section: write [{where}] above its settings")
    if unknown := section.keys() - set(_Said.__struct_fields__):
        known = ", ".join(_Said.__struct_fields__)
        raise ConfigError(f"{where}.{min(unknown)}", str(file), f"a webhook has no such setting; it has {known}")
    try:
        said = msgspec.convert(section, _Said)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(where + path.rstrip("`"), str(file), reason) from None
    origin, target = _read_url(said, where, file)
    for audience in said.audiences:
        _check_audience(audience, said.space, f"{where}.audiences", file, audiences)
    if said.previous_secret_env == said.secret_env:
        reason = "names the same variable as secret_env: give the earlier secret one of its own"
        raise ConfigError(f"{where}.previous_secret_env", str(file), reason)
    return WebhookConfig(
        name=name,
        origin=origin,
        target=target,
        audiences=said.audiences,
        changes=said.changes,
        secret_env=said.secret_env,
        previous_secret_env=said.previous_secret_env,
        timeout_s=said.timeout_s,
        space=said.space,
        customer_ids=said.customer_ids,
        allow_private=said.allow_private,
        ca_file=file.parent / said.ca_file if said.ca_file else None,
        sentence=said.sentence,
    )


def _read_url(said: _Said, where: str, file: Path) -> tuple[Origin, str]:
    """Return origin, and path with query."""
    base, mark, query = said.url.partition("?")
    if not re.fullmatch(r'[!-"$-~]*', said.url):
        raise ConfigError(f"{where}.url", str(file), "write it in plain ASCII, without spaces and without a #fragment")
    try:
        origin, path = parse_base(base)
    except ValueError as error:
        reason = str(error).replace("inside allow_networks", "inside, with allow_private")
        raise ConfigError(f"{where}.url", str(file), reason) from None
    if origin.scheme == "http" and not said.allow_private:
        reason = "must begin with https://: what is told is about people (http only inside, with allow_private = true)"
        raise ConfigError(f"{where}.url", str(file), reason)
    networks = parse_networks(PRIVATE) if said.allow_private else ()
    if _is_address(origin.host):
        standing = judge_address(origin.host, networks)
        if standing is Standing.REFUSED:
            reason = "names an address that is not public: say allow_private = true if it is meant (link-local "
            raise ConfigError(f"{where}.url", str(file), reason + "addresses and metadata services are never reached)")
        if origin.scheme == "http" and standing is not Standing.ALLOWED:
            raise ConfigError(f"{where}.url", str(file), "must begin with https://: this address is a public one")
    return origin, (path or "/") + mark + query


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def _check_audience(audience: str, space: str, place: str, file: Path, audiences: Mapping[str, Any]) -> None:
    if audience not in audiences:
        names = ", ".join(sorted(audiences)) or "none yet: write [audiences.…]"
        raise ConfigError(place, str(file), f"there is no audience {audience!r}; there is {names}; empty: all of them")
    section = audiences[audience]
    of = section.get("space", DEFAULT_SPACE) if isinstance(section, dict) else getattr(section, "space", DEFAULT_SPACE)
    if of != space:
        raise ConfigError(place, str(file), f"{audience} is of space {of}, and the webhook of {space}")
